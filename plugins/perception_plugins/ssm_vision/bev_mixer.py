"""A mixer of BEV maps by selective scans, which leaves out cells that nothing was seen of (ours, not published)."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size
from perception.registry import MODELS

from .ss2d import SS2D
from .vss_block import VSSBlock, keep_places


@MODELS.register_module()
class BEVSS2D(nn.Module):
    """`VSSBlock`s at constant resolution, of the light kind: one number a channel as state, no gate. O(H * W) time.

    Args:
        channels: width C.
        depth: blocks.
        mlp_ratio: hidden over outer width of the feed-forward nets.
        state, ratio: see `SS2D`.

    Raises:
        ValueError: ``depth`` is below 1.
    """

    def __init__(
        self, channels: int, *, depth: int = 2, mlp_ratio: float = 2.0, state: int = 1, ratio: float = 1.0
    ) -> None:
        super().__init__()
        if depth < 1:
            raise ValueError(f"depth must be >= 1, got {depth}")
        self.channels = channels
        self.blocks = nn.ModuleList(
            VSSBlock(channels, SS2D(channels, state=state, ratio=ratio), mlp_ratio=mlp_ratio) for _ in range(depth)
        )

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix a map.

        Args:
            x: (B, C, H, W).
            mask: (B, 1, H, W) bool, True where a cell is valid; None takes all. States pass through the others
                unchanged, so what they hold changes no valid cell.

        Returns:
            (B, C, H, W), in memory channels last; 0 where the mask is False.
        """
        places = None if mask is None else mask[:, 0]
        return self._mix(x.movedim(1, -1), places).movedim(-1, 1)

    def _mix(self, x: Tensor, places: Tensor | None) -> Tensor:
        for block in self.blocks:
            x = block(x, places)
        return keep_places(x, places)


@MODELS.register_module(role="token_mixer")
class BEVSS2DMixer(BEVSS2D):
    """`BEVSS2D` of the tokens of a map, as the memory of a map decoder has them; without a size they are one row.

    Args:
        channels, depth, mlp_ratio, state, ratio: see `BEVSS2D`.
    """

    TRAITS = MixerTraits(cost="N", causal="never", streaming=False, masked=True)

    def forward(    # type: ignore[override]  # of tokens
        self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False change no other and become 0.

        Raises:
            ValueError: the size is not that of the tokens.
        """
        size = checked_size((1, x.shape[1]) if size is None else size, x, type(self).__name__)
        return self._mix(x.unflatten(1, size), None if mask is None else mask.unflatten(1, size)).flatten(1, 2)
