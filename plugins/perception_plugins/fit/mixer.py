"""FIT's interleaved layers as a token mixer."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.attention.heads import count_heads
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real
from perception.registry import MODELS

from .tiled import TiledFIT


@MODELS.register_module(role="token_mixer")
class FITMixer(nn.Module):
    """Attention inside groups of tokens, and among a few latents of all groups (ours: the paper has whole networks).

    A group is a tile of the map, or a run of as many tokens where they form none. With m latents to n tokens, the part
    of the cost that grows with the square of the tokens is (m / n) ** 2 of that of attention among all.

    Args:
        channels: width C of the tokens, and of the latents, divisible by 4.
        heads: attention heads; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        tile: side of a tile; a run is ``tile ** 2`` tokens.
        latents: m, of a group.
        layers: see `parse_layers`; ends with local layers.
        mlp_ratio: hidden over outer width of the feed-forward nets in it.
        causal: a token sees itself and those before it, of its run all and of earlier runs what their latents tell;
            they then are a sequence, whatever map they form.

    Raises:
        ValueError: as `TiledFIT`.
    """

    TRAITS = MixerTraits(cost="N^2", causal="option")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, tile: int = 8, latents: int = 4,
        layers: str = "(1)1(1)", mlp_ratio: float = 1.0, causal: bool = False,
    ) -> None:
        super().__init__()
        heads = count_heads(channels, heads, head_channels)
        self.causal = causal
        self.body = TiledFIT(
            channels, tile=tile, latents=latents, latent_channels=channels, heads=heads, latent_heads=heads,
            layers=layers, mlp_ratio=mlp_ratio, causal=causal,
        )

    def init_weights(self) -> None:
        """As `TiledFIT` begins."""
        self.body.init_weights()

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        Raises:
            ValueError: ``size`` is that of other than N tokens.
        """
        in_line = self.causal or size is None
        shape = (1, x.shape[1]) if in_line else checked_size(size, x, "FITMixer")
        if x.shape[1] == 0:
            return x
        real = None if mask is None else mask.unflatten(1, shape)
        mixed = self.body(keep_real(x, mask).unflatten(1, shape), real, in_line=in_line)
        return keep_real(mixed.flatten(1, 2), mask)
