"""Queries that become masks, one attention to a level of the picture after the other.

"PEM: Prototype-based Efficient MaskFormer for Image Segmentation" (Cavagnero et al., CVPR 2024), section 3; the order
of the layers is that of Mask2Former (Cheng et al., CVPR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.feed_forward import feed_forward
from perception.models.attention.packed import PackedAttention
from perception.models.attention.sine_position import sine_position

from .attention import PrototypeAttention


@dataclass(frozen=True)
class MaskPredictions:
    """What the queries say.

    Args:
        logits: (B, Q, K + 1) of the classes, the last one of no object.
        masks: (B, Q, h, w) logits, a sigmoid each.
        auxiliary: the same after each stage before the last, beginning with the bare queries; empty outside training.
        semantic: (B, K, h, w) logits of a `PixelClassifier`, if there is one; in training alone.
    """

    logits: Tensor
    masks: Tensor
    auxiliary: tuple[MaskPredictions, ...] = ()
    semantic: Tensor | None = None


class PrototypeLayer(nn.Module):
    """Attention to the picture, attention among the queries, and two linear layers, each with a residual.

    Args:
        channels: width C of the queries.
        heads: of both attentions.
        hidden: width between the linear layers.
        pre_norm: normalise before the second and third part; otherwise after them.
    """

    def __init__(self, channels: int, *, heads: int, hidden: int, pre_norm: bool) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.cross_attention = PrototypeAttention(channels, heads=heads)
        self.self_attention, self.self_norm = PackedAttention(channels, heads=heads), nn.LayerNorm(channels)
        self.ffn, self.ffn_norm = feed_forward(channels, hidden), nn.LayerNorm(channels)
        for linear in (*self.self_attention.children(), *self.ffn):
            if isinstance(linear, nn.Linear):
                nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(self.self_attention.in_proj.bias)
        nn.init.zeros_(self.self_attention.out_proj.bias)

    def forward(self, query: Tensor, query_code: Tensor, memory: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, Q, C) -> (B, Q, C); arguments as of `PrototypeAttention.forward`."""
        query = self.cross_attention(query, query_code, memory, hidden)
        if self.pre_norm:
            query = query + self._among_queries(self.self_norm(query), query_code)
            return query + self.ffn(self.ffn_norm(query))
        query = self.self_norm(query + self._among_queries(query, query_code))
        return self.ffn_norm(query + self.ffn(query))

    def _among_queries(self, query: Tensor, query_code: Tensor) -> Tensor:
        attention = self.self_attention
        return attention.mix(*attention.query_key(query + query_code), attention.value(query))


class PrototypeDecoder(nn.Module):
    """Learned queries, and a class and a mask of each.

    A query looks only where its mask so far is; masks are read at the size of the level that is looked at.

    Args:
        in_channels: width of the levels.
        mask_channels: width of the mask features.
        num_classes: K.
        channels: width C of the queries.
        num_queries: Q.
        levels: how many levels there are; the layers take them in turn, coarsest first.
        layers: number of layers.
        heads: attention heads.
        hidden: width of the linear layers in between.
        pre_norm: see `PrototypeLayer`.
        always_project: give levels that are as wide as the queries a convolution too.
    """

    def __init__(
        self,
        in_channels: int,
        mask_channels: int,
        num_classes: int,
        *,
        channels: int = 256,
        num_queries: int = 100,
        levels: int = 3,
        layers: int = 6,
        heads: int = 8,
        hidden: int = 2048,
        pre_norm: bool = True,
        always_project: bool = True,
    ) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(num_queries, channels))
        self.query_code = nn.Parameter(torch.randn(num_queries, channels))
        self.level_code = nn.Parameter(torch.randn(levels, channels))
        is_projected = always_project or in_channels != channels
        self.projections = nn.ModuleList(
            nn.Conv2d(in_channels, channels, 1) if is_projected else nn.Identity() for _ in range(levels)
        )
        self.layers = nn.ModuleList(
            PrototypeLayer(channels, heads=heads, hidden=hidden, pre_norm=pre_norm) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(channels)
        self.label = nn.Linear(channels, num_classes + 1)
        self.mask = nn.Sequential(
            nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(),
            nn.Linear(channels, mask_channels),
        )
        for projection in self.projections:
            if isinstance(projection, nn.Conv2d) and projection.bias is not None:
                nn.init.kaiming_uniform_(projection.weight, a=1)
                nn.init.zeros_(projection.bias)

    def forward(self, mask_features: Tensor, levels: Sequence[Tensor], *, auxiliary: bool = False) -> MaskPredictions:
        """Decode.

        Args:
            mask_features: (B, mask_channels, h, w).
            levels: (B, in_channels, H_i, W_i), coarsest first.
            auxiliary: give the predictions after each stage too.
        """
        memories = [self._memory(level, number) for number, level in enumerate(levels)]
        with torch.no_grad():
            shrunk = [_resized(mask_features, level) for level in levels]
        query = self.query.expand(len(mask_features), -1, -1)                           # (B, Q, C)
        stages = []
        for number, layer in enumerate(self.layers):
            norm = self.norm(query)
            if auxiliary:
                stages.append(self._predict(norm, mask_features))
            place = number % len(levels)
            with torch.no_grad():                    # resizing is linear, so the features are resized, not the masks
                hidden = self._masks(norm, shrunk[place]).flatten(2) < 0                # (B, Q, H_i * W_i)
            query = layer(query, self.query_code, memories[place], hidden)
        last = self._predict(self.norm(query), mask_features)
        return MaskPredictions(last.logits, last.masks, tuple(stages))

    def _memory(self, level: Tensor, number: int) -> Tensor:
        """(B, C, H, W), with the codes of the level and of the place."""
        memory = self.projections[number](level) + self.level_code[number][:, None, None]
        return memory + sine_position((level.shape[2], level.shape[3]), memory.shape[1], device=level.device)

    def _predict(self, query: Tensor, mask_features: Tensor) -> MaskPredictions:
        return MaskPredictions(self.label(query), self._masks(query, mask_features))

    def _masks(self, query: Tensor, mask_features: Tensor) -> Tensor:
        return torch.einsum("bqc,bchw->bqhw", self.mask(query), mask_features)


def _resized(features: Tensor, level: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, C, H, W), the size of a level."""
    return F.interpolate(features, size=level.shape[2:], mode="bilinear", align_corners=False)
