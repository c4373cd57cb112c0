"""The block of every MetaFormer: one branch mixes tokens, the other their channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from timm.layers import DropPath, LayerScale, trunc_normal_
from torch import Tensor, nn

from perception.compression.batch_norm import fold_into_next
from perception.registry import MODELS

from ..checkpointed import checkpointed
from .norm import token_norm


class MetaFormerBlock(nn.Module):
    """Token mixer and channel mixer, each behind a norm and beside a shortcut (section 3.1).

    Args:
        channels: width C of the tokens.
        token_mixer: config of it; it is given ``channels``.
        channel_mixer: likewise.
        norm, norm_eps: of both branches, see `token_norm`.
        layer_scale: first value of the learned factor of each channel of a branch; 0 goes without.
        drop_path: probability that a sample goes without a branch in training.
    """

    def __init__(
        self,
        channels: int,
        token_mixer: Mapping[str, Any],
        channel_mixer: Mapping[str, Any],
        *,
        norm: str | Mapping[str, Any] | None = "layer",
        norm_eps: float = 1e-5,
        layer_scale: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = token_norm(norm, channels, norm_eps)
        self.token_mixer = MODELS.build({"channels": channels, **token_mixer})
        self.norm2 = token_norm(norm, channels, norm_eps)
        self.channel_mixer = MODELS.build({"channels": channels, **channel_mixer})
        self.scale1, self.scale2 = (
            LayerScale(channels, layer_scale) if layer_scale else nn.Identity() for _ in range(2)
        )
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """Mix once.

        Args:
            tokens: (B, N, C).
            size: H, W of the map that they form; None if they form none.
            mask: (B, N) bool, False where there is no real token: no real one looks at it.

        Returns:
            (B, N, C).
        """
        tokens = tokens + self.drop_path(self.scale1(self.token_mixer(self.norm1(tokens), size, mask)))
        return tokens + self.drop_path(self.scale2(self.channel_mixer(self.norm2(tokens), size, mask)))

    def fold_batch_norm(self) -> None:
        """Give norms of channels to the mixers that read them, where these can take a scale and a shift over."""
        fold_into_next(self, "norm1", self.token_mixer)
        fold_into_next(self, "norm2", self.channel_mixer)


def run_blocks(
    blocks: Iterable[nn.Module], tokens: Tensor, size: tuple[int, int] | None, mask: Tensor | None = None, *,
    checkpointing: bool = False,
) -> Tensor:
    """Tokens (B, N, C) through blocks; with ``checkpointing`` these are run again for the gradient instead of kept."""
    for block in blocks:
        if checkpointing:
            tokens = checkpointed(block, tokens, size, mask)
        else:
            tokens = block(tokens, size, mask)
    return tokens


def init_linear_layers(network: nn.Module) -> None:
    """Linear layers truncated normal, their biases zero; a mixer with ``init_weights`` has the last word on its own."""
    for module in network.modules():
        if isinstance(module, nn.Linear) and not module.weight.is_meta:     # which takes long to fill with nothing
            trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for block in network.modules():
        if isinstance(block, MetaFormerBlock):
            for mixer in (block.token_mixer, block.channel_mixer):
                getattr(mixer, "init_weights", lambda: None)()
