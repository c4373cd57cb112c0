"""The map element detector: queries that read a BEV map and give a class and a few keypoints for each element.

VectorMapNet (Liu et al., ICML 2023), section 3.3; after Deformable DETR (Zhu et al., ICLR 2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.deformable import DeformableAttention
from perception.models.attention.packed import PackedAttention
from perception.models.heads.element_proposals import DenseElements
from perception.models.inverse_sigmoid import inverse_sigmoid

from .memory import BEVMemory

CLASS_BIAS = -math.log(99.0)                         # every class begins with a score of 0.01


@dataclass(frozen=True)
class Detections:
    """What each decoder layer found, earliest first.

    Args:
        scores: (layers, B, Q, K) logits.
        keypoints: (layers, B, Q, 2 P), x1 y1 x2 y2 ... in cells of the canvas.
        dense: what the queries began from; None if they are learned.
    """

    scores: Tensor
    keypoints: Tensor
    dense: DenseElements | None = None


class DetectorLayer(nn.Module):
    """Self-attention among the tokens, deformable attention to the map, feed-forward; each normalised beforehand.

    Args:
        channels: token width C.
        heads: attention heads.
        hidden: width of the feed-forward part.
        points: places that a token and head read.
        dropout: share dropped in training.
    """

    def __init__(self, channels: int, *, heads: int, hidden: int, points: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attn = PackedAttention(channels, heads=heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attn = DeformableAttention(channels, heads=heads, points=points)
        self.norm3 = nn.LayerNorm(channels)
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.dropout = nn.Dropout(dropout)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        self.cross_attn.init_weights()

    def forward(
        self, tokens: Tensor, position: Tensor, memory: Tensor, shape: tuple[int, int], reference: Tensor
    ) -> Tensor:
        """One layer.

        Args:
            tokens: (B, T, C).
            position: (T, C) or (B, T, C) code that is added to queries and keys.
            memory: (B, H * W, C), row by row.
            shape: H, W.
            reference: (T, 2) or (B, T, 2) reference points in (0, 1), x then y.

        Returns:
            (B, T, C).
        """
        normed = self.norm1(tokens)
        q, k = self.self_attn.query_key(normed + position)
        mixed = self.self_attn.mix(q, k, self.self_attn.value(normed))
        tokens = tokens + self.dropout(self.dropout(mixed))
        query = self.norm2(tokens) + position
        places = reference.view(-1, reference.shape[-2], 1, 1, 1, 2)
        mixed = self.cross_attn(query, self.cross_attn.project(memory), [shape], places)
        tokens = tokens + self.dropout(mixed)
        hidden = self.dropout(F.relu(self.linear1(self.norm3(tokens))))
        return tokens + self.dropout(self.linear2(hidden))


class Detector(nn.Module):
    """What finds map elements with Q queries of P tokens each, one token a keypoint, wherever the queries come from.

    Args:
        in_channels: width of the BEV map.
        num_classes: classes K.
        canvas: cells along x and y, in which keypoints are given.
        num_queries: elements Q that can be found.
        num_keypoints: keypoints P of an element.
        channels: token width C.
        heads: attention heads.
        layers: decoder layers.
        hidden: width of the feed-forward part.
        points: places that a token and head read.
        dropout: share dropped in training.
        frequencies: of `BEVMemory`.

    Raises:
        ValueError: there is no query or layer.
    """

    canvas: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        canvas: tuple[int, int],
        *,
        num_queries: int = 120,
        num_keypoints: int = 2,
        channels: int = 256,
        heads: int = 8,
        layers: int = 6,
        hidden: int = 512,
        points: int = 4,
        dropout: float = 0.1,
        frequencies: int = 0,
    ) -> None:
        super().__init__()
        if num_queries < 1 or layers < 1:
            raise ValueError(f"num_queries and layers must be >= 1, got {num_queries} and {layers}")
        self.num_queries, self.num_keypoints = num_queries, num_keypoints
        self.register_buffer("canvas", torch.tensor(canvas, dtype=torch.float32), persistent=False)
        self.memory = BEVMemory(in_channels, channels, frequencies=frequencies)
        self.keypoint_queries = nn.Embedding(num_keypoints, 2 * channels)
        self.layers = nn.ModuleList(
            DetectorLayer(channels, heads=heads, hidden=hidden, points=points, dropout=dropout) for _ in range(layers)
        )
        self.class_head = nn.Linear(num_keypoints * channels, num_classes)
        offset = nn.Linear(channels, 2)
        self.keypoint_head = nn.Sequential(
            nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(),
            nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(),
            offset,
        )
        nn.init.constant_(self.class_head.bias, CLASS_BIAS)
        for zero in (offset.weight, offset.bias):                             # keypoints begin at the reference points
            nn.init.zeros_(zero)

    def moved(self, tokens: Tensor, reference: Tensor) -> Tensor:
        """(..., Q, P, C) tokens and (..., Q, P, 2) reference points -> (..., Q, P, 2) keypoints, both in (0, 1)."""
        return (self.keypoint_head(tokens) + inverse_sigmoid(reference)).sigmoid()


class ElementDetector(Detector):
    """Finds map elements with queries that are the same for every map; arguments as of `Detector`."""

    def __init__(self, in_channels: int, num_classes: int, canvas: tuple[int, int], **options: Any) -> None:
        super().__init__(in_channels, num_classes, canvas, **options)
        channels = self.keypoint_queries.embedding_dim // 2
        self.queries = nn.Embedding(self.num_queries, 2 * channels)
        self.reference = nn.Linear(channels, 2)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)

    def forward(self, bev: Tensor) -> Detections:
        """(B, C, H, W) map -> what every layer found."""
        tokens, reference = self.decode(bev)                                  # (layers, B, Q, P, C), (Q * P, 2)
        keypoints = self.moved(tokens, reference.view(self.num_queries, self.num_keypoints, 2)) * self.canvas
        return Detections(self.class_head(tokens.flatten(3)), keypoints.flatten(3))

    def decode(self, bev: Tensor) -> tuple[Tensor, Tensor]:
        """The tokens behind every layer (layers, B, Q, P, C), and their reference points (Q * P, 2)."""
        B, shape = len(bev), (bev.shape[2], bev.shape[3])
        memory = self.memory(bev)                                             # (B, H * W, C)
        queries = self.queries.weight[:, None] + self.keypoint_queries.weight # (Q, P, 2 C)
        position, content = queries.flatten(0, 1).chunk(2, dim=1)             # (Q * P, C) each
        reference = self.reference(position).sigmoid()
        tokens, found = content.expand(B, -1, -1), []
        for layer in self.layers:
            tokens = layer(tokens, position, memory, shape, reference)
            found.append(tokens)
        return torch.stack(found).unflatten(2, (self.num_queries, self.num_keypoints)), reference
