"""MatViT: a vision transformer with nested feed-forward nets.

"MatFormer: Nested Transformer for Elastic Inference" (Devvrit et al., NeurIPS 2024), section 4.2, as published in
google-research/scenic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.columnar import ColumnarFormer
from perception.models.mixers.attention import AttentionMixer
from perception.registry import MODELS

from .elastic import Widths, active_widths, extract
from .nested import NestedFeedForward
from .position import SincosPosition

VARIANTS: dict[str, tuple[int, int, int]] = {            # width, layers, heads
    "ti": (192, 12, 3), "s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "h": (1280, 32, 16),
}


@MODELS.register_module(role="image_backbone")
class MatViT(ColumnarFormer):
    """Pre-norm blocks of softmax attention and nested feed-forward nets; maps of stride 16.

    Args:
        variant: "ti", "s", "b", "l" or "h".
        width, depth, heads: instead of the variant's.
        hidden: hidden units of a block; None takes 4 times the width.
        widths: numbers of them that are trained, see `NestedFeedForward`.
        patch: side of a patch.
        in_channels: of the pictures.
        position: height and width of the map of tokens that positions are learned for, resized for other maps; or
            "sincos", see `SincosPosition`, of which a class token has none; None goes without.
        dropout: in the feed-forward nets; the published recipe has 0.1.
        options: further arguments of a `ColumnarFormer`.

    Raises:
        ValueError: the variant is unknown, or as `ColumnarFormer` and `NestedFeedForward` do.
    """

    def __init__(
        self, variant: str = "b", *, width: int | None = None, depth: int | None = None, heads: int | None = None,
        hidden: int | None = None, widths: Sequence[int] | None = None, patch: int = 16,
        in_channels: int = 3, position: Sequence[int] | str | None = (14, 14), dropout: float = 0.0, **options: Any,
    ) -> None:
        own_width, own_depth, own_heads = variant_of(VARIANTS, variant)
        width, heads = own_width if width is None else width, own_heads if heads is None else heads
        if isinstance(position, str) and position != "sincos":
            raise ValueError(f'position must be a size, "sincos" or None, got {position!r}')
        super().__init__(
            own_depth if depth is None else depth,
            width,
            token_mixer={"type": "AttentionMixer", "heads": heads, "qkv_bias": True},
            channel_mixer={
                "type": "NestedFeedForward", "hidden": hidden, "widths": widths, "activation": "gelu_tanh",
                "dropout": dropout,
            },
            norm_eps=1e-6,
            stem={
                "type": "PatchEmbedding", "in_channels": in_channels, "kernel": patch, "stride": patch, "padding": 0,
            },
            position=None if isinstance(position, str) else position,
            **options,
        )
        if isinstance(position, str):
            self.position = SincosPosition(width)

    def init_weights(self) -> None:
        """As published: weights Xavier uniform, biases 0, or of 1e-6 in feed-forward nets; a class token of 0."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for module in self.modules():
            if isinstance(module, AttentionMixer):
                for part in module.in_proj.weight.chunk(3):              # three layers there
                    nn.init.xavier_uniform_(part)
            if isinstance(module, NestedFeedForward):
                nn.init.normal_(module.fc1.bias, std=1e-6)
                nn.init.normal_(module.fc2.bias, std=1e-6)

    def forward(self, images: Tensor, ffn_dims: Widths = None) -> tuple[Tensor, ...]:
        """Pictures to maps.

        Args:
            images: (B, 3, H, W).
            ffn_dims: hidden units, one number for all blocks or one for each; None uses as many as are active.

        Returns:
            Maps (B, C, H / s, W / s), rounded down.

        Raises:
            ValueError: as `ColumnarFormer`, or as `checked_widths`.
        """
        with active_widths(self, ffn_dims):
            return super().forward(images)

    def pooled(self, images: Tensor, ffn_dims: Widths = None) -> Tensor:
        """The class token, or without one the mean of all tokens, behind the last norm, (B, C); see `forward`."""
        with active_widths(self, ffn_dims):
            found, _ = self.tokens(images)
        return found[-1].mean(dim=1) if self.class_token is None else found[-1][:, 0]

    def extract(self, ffn_dims: int | Sequence[int]) -> nn.Module:
        """A backbone of plain blocks with the same maps; see `perception_plugins.matformer.extract`."""
        return extract(self, ffn_dims)
