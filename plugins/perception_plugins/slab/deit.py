"""SLAB on DeiT ("Training Data-Efficient Image Transformers", Touvron et al., ICML 2021): one column of blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from perception.compression.batch_norm import fold_into_next
from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.columnar import ColumnarFormer
from perception.models.metaformer.norm import token_norm
from perception.registry import MODELS

from .pyramid import Norm

VARIANTS: dict[str, tuple[int, int, int]] = {"tiny": (192, 12, 3), "small": (384, 12, 6)}     # width, blocks, heads
NORM: dict[str, Any] = {"type": "PRepBN", "steps": 60_000, "eps": 1e-6}


@MODELS.register_module(role="image_backbone")
class SlabDeiT(ColumnarFormer):
    """Blocks of simplified linear attention, or of softmax attention with a class token; maps of stride 16.

    Args:
        variant: "tiny" or "small".
        width, depth, heads: instead of the variant's.
        linear: simplified linear attention; else softmax attention, with a class token, which is for classifiers.
        patch: side of a patch.
        position: height and width of the map of tokens that positions are learned for; resized for other maps.
        ratio: hidden over outer width of the feed-forward nets.
        qkv_bias: the projections to queries, keys and values have a bias.
        norm: of the blocks, see `token_norm`.
        out_norm: a layer norm, one for all maps that are given.
        options: further arguments of a `ColumnarFormer`.

    Raises:
        ValueError: the variant is unknown, or as `ColumnarFormer` does.
    """

    def __init__(
        self, variant: str = "tiny", *, width: int | None = None, depth: int | None = None, heads: int | None = None,
        linear: bool = True, patch: int = 16, position: Sequence[int] = (14, 14), ratio: float = 4.0,
        qkv_bias: bool = True, norm: Norm = NORM, out_norm: bool = False, **options: Any,
    ) -> None:
        own_width, own_depth, own_heads = variant_of(VARIANTS, variant)
        width, heads = own_width if width is None else width, own_heads if heads is None else heads
        mixer: dict[str, Any] = {"type": "AttentionMixer"}
        if linear:
            mixer = {"type": "SimplifiedLinearAttention", "position": tuple(position)}
        super().__init__(
            own_depth if depth is None else depth,
            width,
            token_mixer={**mixer, "heads": heads, "qkv_bias": qkv_bias},
            channel_mixer={"type": "FeedForward", "ratio": ratio},
            norm=norm,
            stem={"type": "PatchEmbedding", "kernel": patch, "stride": patch, "padding": 0},
            position=position,
            class_token=not linear,
            out_norm=False,
            **options,
        )
        if out_norm:
            self.norm = nn.LayerNorm(width, eps=1e-6)


@MODELS.register_module(role="image_classifier")
class ClassTokenClassifier(nn.Module):
    """A norm of the tokens of a `ColumnarFormer` with a class token, and a linear layer that reads that token.

    Args:
        backbone: config of the backbone.
        num_classes: K.
        norm, norm_eps: of the tokens, see `token_norm`.

    Raises:
        ValueError: the backbone has no class token, or ``num_classes`` is below 1.
    """

    def __init__(
        self, backbone: Mapping[str, Any], num_classes: int = 1000, norm: Norm | None = "layer", *,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        if getattr(self.backbone, "class_token", None) is None:
            raise ValueError(f"backbone must have a class token, got {type(self.backbone).__name__} without")
        if num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {num_classes}")
        self.norm = token_norm(norm, self.backbone.channels[-1], norm_eps)
        self.head = nn.Linear(self.backbone.channels[-1], num_classes)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.head.out_features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        return self.head(self.class_feature(images))

    def class_feature(self, images: Tensor) -> Tensor:
        """The normed class token of pictures (B, 3, H, W), (B, C); statistics of a norm are those of all tokens."""
        found, _ = self.backbone.tokens(images)
        return self.norm(found[-1])[:, 0]

    def fold_batch_norm(self) -> None:
        """Give a norm of channels to the linear layer."""
        fold_into_next(self, "norm", self.head)
