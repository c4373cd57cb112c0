"""Map elements as sets of points, all at once: the parallel head that vector-map models are compared with.

"MapTR: Structured Modeling and Learning for Online Vectorized HD Map Construction" (Liao et al., ICLR 2023).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.registry import MODELS
from perception.structures import Frame, MapPredictions, Polylines
from perception.structures.vector_map import MAP_CLASSES

from ..inverse_sigmoid import inverse_sigmoid
from ..losses.normalizers import sum_over_ranks, world_size
from ..token_layout import tokens_of
from .map_query_decoder import MapQueryLayer, MemoryMixer
from .point_set_targets import PointSetCriterion
from .true_map import true_map

Layers = list[tuple[Tensor, Tensor]]                         # logits (B, Q, K) and points (B, Q, count, 2) a layer


@MODELS.register_module(role="map_head")
class PointSetMapHead(nn.Module):
    """Queries of an element and of a point add up to a token for each point; layers refine where the points lie.

    Args:
        in_channels: of the BEV map.
        region: x min, y min, x max, y max [m] that the BEV map covers.
        classes: class names.
        channels: width of the tokens.
        num_queries: elements that can be found in a frame.
        num_points: points an element.
        layers: of the decoder.
        heads, points, hidden, dropout: see `MapQueryLayer`; ``hidden`` defaults to twice the channels.
        max_elements: predictions kept a frame, best first.
        memory_mixer: config of a token mixer among the cells of the BEV map, see `MemoryMixer`; None leaves them alone.
        criterion: further arguments of a `PointSetCriterion`.
    """

    def __init__(
        self,
        in_channels: int,
        region: Sequence[float],
        *,
        classes: Sequence[str] = MAP_CLASSES,
        channels: int = 256,
        num_queries: int = 50,
        num_points: int = 20,
        layers: int = 6,
        heads: int = 8,
        points: int = 4,
        hidden: int | None = None,
        dropout: float = 0.1,
        max_elements: int = 50,
        memory_mixer: Mapping[str, Any] | None = None,
        criterion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.classes, self.max_elements = tuple(classes), max_elements
        self.criterion = PointSetCriterion(region, num_points, **(criterion or {}))
        self.input_proj = nn.Conv2d(in_channels, channels, 1)
        self.memory_mixer = None if memory_mixer is None else MemoryMixer(channels, memory_mixer)
        self.element_embedding = nn.Embedding(num_queries, 2 * channels)
        self.point_embedding = nn.Embedding(num_points, 2 * channels)
        self.reference_points = nn.Linear(channels, 2)
        self.layers = nn.ModuleList(
            MapQueryLayer(channels, heads=heads, points=points, hidden=hidden or 2 * channels, dropout=dropout)
            for _ in range(layers)
        )
        self.class_branches = nn.ModuleList(_class_branch(channels, len(self.classes)) for _ in range(layers))
        self.point_branches = nn.ModuleList(_point_branch(channels) for _ in range(layers))

    def forward(self, bev: Tensor, inputs: Mapping[str, Any] | None = None) -> Layers:
        """(B, C, H, W) -> logits (B, Q, K) and points (B, Q, count, 2) in [0, 1], x then y, of every layer."""
        H, W = bev.shape[2:]
        memory = tokens_of(self.input_proj(bev))                                             # (B, H * W, C)
        if self.memory_mixer is not None:
            memory = self.memory_mixer(memory, (H, W))
        queries = self.element_embedding.weight[:, None] + self.point_embedding.weight       # (Q, P, 2 * C)
        position, content = queries.chunk(2, dim=-1)
        reference = self.reference_points(position).sigmoid().expand(len(bev), -1, -1, -1)   # (B, Q, P, 2)
        tokens = content.expand(len(bev), -1, -1, -1)                                        # (B, Q, P, C)
        found: Layers = []
        for layer, classify, locate in zip(self.layers, self.class_branches, self.point_branches, strict=True):
            tokens = layer(tokens, position, memory, (H, W), reference)
            refined = (locate(tokens) + inverse_sigmoid(reference)).sigmoid()
            found.append((classify(tokens.mean(dim=2)), refined))
            reference = refined.detach()
        return found

    def loss(
        self, bev: Tensor, frames: Sequence[Frame], inputs: Mapping[str, Any] | None = None
    ) -> dict[str, Tensor]:
        """Class, point and direction loss of every layer, by name.

        Raises:
            ConfigError: a frame has no vector map, or one of other classes.
        """
        truth = [self.criterion.targets(true_map(frame, self.classes)) for frame in frames]
        count = sum_over_ranks(bev.new_tensor([sum(len(targets.labels) for targets in truth)]))
        normalizer = count.clamp(min=1.0) / world_size()
        losses: dict[str, Tensor] = {}
        for number, (logits, points) in enumerate(self.forward(bev, inputs)):
            sums = bev.new_zeros(3)
            for item, targets in enumerate(truth):
                match = self.criterion.match(logits[item], points[item], targets)
                sums = sums + self.criterion.sums(logits[item], points[item], targets, match)
            for name, value in zip(("class", "points", "direction"), sums / normalizer, strict=True):
                losses[f"layer{number}.loss_{name}"] = value
        return losses

    def decode(self, raw: Layers, frames: Sequence[Frame]) -> list[MapPredictions]:
        """The best pairs of element and class in each frame, best first; lines in metres."""
        logits, points = raw[-1]
        return [self._elements(*entry) for entry in zip(frames, logits.sigmoid(), self.criterion.metric(points),
                                                        strict=True)]

    def _elements(self, frame: Frame, scores: Tensor, points: Tensor) -> MapPredictions:
        K = scores.shape[1]
        best, flat = scores.flatten().topk(min(self.max_elements, scores.numel()))
        lines = points[flat // K]                                                            # (E, count, 2)
        counts = torch.full((len(lines),), lines.shape[1], dtype=torch.int64, device=lines.device)
        return MapPredictions(
            token=frame.token, timestamp_ns=frame.timestamp_ns, lines=Polylines(lines.flatten(0, 1), counts),
            scores=best, labels=flat % K, classes=self.classes, global_from_ego=frame.global_from_ego,
        )


def _class_branch(channels: int, classes: int) -> nn.Sequential:
    """Logits that begin at a probability of 1 %."""
    last = nn.Linear(channels, classes)
    nn.init.constant_(last.bias, -math.log(99))
    return nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(), last)


def _point_branch(channels: int) -> nn.Sequential:
    """Steps from the reference points that begin at zero."""
    last = nn.Linear(channels, 2)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(), last)
