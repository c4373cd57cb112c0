"""The map head of LaneSegNet: lane segments with boundary types, pedestrian crossings, connections of lanes.

"LaneSegNet" (Li et al., ICLR 2024). With an `MQBankDecoder` it is MQBank's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from perception.errors import ConfigError
from perception.models.inverse_sigmoid import inverse_sigmoid
from perception.registry import MODELS
from perception.structures import Frame, MapPredictions
from perception.structures.vector_map import LANE_CLASSES, LINE_TYPES, MAP_CLASSES

from .bank_decoder import MQBankDecoder
from .lane_decoder import LaneDecoder, LaneLayerOutput, point_branch
from .lane_denoising import LaneDenoising
from .lane_loss import LaneMaps, LaneWeights, lane_losses, match, topology_loss
from .lane_predictions import lane_predictions
from .lane_targets import CrossingEdges, LaneTargets, lane_targets
from .topology_head import RelationshipHead

PRIOR_SCORE = 0.01                                   # of every class at the beginning


class LaneBranches(nn.Module):
    """What one layer's queries say, except for the lines themselves.

    Args:
        channels: width C.
        with_masks: whether there is a mask.
    """

    def __init__(self, channels: int, *, with_masks: bool) -> None:
        super().__init__()
        self.label = _class_branch(channels, len(LANE_CLASSES), bias=-math.log(1 / PRIOR_SCORE - 1))
        self.left_type = _class_branch(channels, len(LINE_TYPES))
        self.right_type = _class_branch(channels, len(LINE_TYPES))
        self.mask = point_branch(channels, channels) if with_masks else None
        nn.init.constant_(cast(nn.Linear, self.label[-1]).bias, -math.log(1 / PRIOR_SCORE - 1))


    def forward(self, query: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, Q, C) -> logits of the class, of the left and of the right boundary's type."""
        return self.label(query), self.left_type(query), self.right_type(query)

    def masks(self, query: Tensor, bev: Tensor) -> Tensor | None:
        """(B, Q, C) queries and (B, C, H, W) map -> (B, Q, H, W) logits; None without masks."""
        return None if self.mask is None else torch.einsum("bqc,bchw->bqhw", self.mask(query), bev)


def _class_branch(channels: int, classes: int, bias: float | None = None) -> nn.Sequential:
    last = nn.Linear(channels, classes)
    if bias is not None:
        nn.init.constant_(last.bias, bias)
    return nn.Sequential(
        nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(),
        nn.Linear(channels, channels), nn.LayerNorm(channels), nn.ReLU(), last,
    )


@MODELS.register_module(role="map_head")
class LaneSegmentHead(nn.Module):
    """Finds lane segments and crossings in a bird's-eye-view map.

    Args:
        decoder: config of a `LaneDecoder`, `LaneSegDecoder` or `MQBankDecoder`.
        weights: factors that differ from those of `LaneWeights`; with "mask" and "dice" 0 there is no mask branch.
        with_topology: whether connections of lanes are learned.
        double_last_refine: add the last regression to the reference twice when predicting, as the release does; its
            published figures are of that.
        crossing_edges: which edges of a crossing are its boundaries, "annotated" or "long".
        mask_region: x y of the lower, then of the upper corner that the map's cells are taken to cover when masks are
            drawn [m]; the release's is smaller than the map's own.
        denoising: arguments of a `LaneDenoising`, for a decoder that takes anchors; None does without, as published.
        min_line_score: least score of what `MapPredictions.lines` shows; the lanes are all given, as the scores need.

    Raises:
        ValueError: a weight has no such name.
        ConfigError: the decoder takes no anchors, and there is ``denoising``.
    """

    classes = MAP_CLASSES

    def __init__(
        self,
        decoder: Mapping[str, Any],
        *,
        weights: Mapping[str, Any] | None = None,
        with_topology: bool = True,
        double_last_refine: bool = True,
        crossing_edges: CrossingEdges = "annotated",
        mask_region: Sequence[float] = (-50.0, -25.0, 50.0, 25.0),
        denoising: Mapping[str, Any] | None = None,
        min_line_score: float = 0.3,
    ) -> None:
        super().__init__()
        unknown = set(weights or {}) - set(vars(LaneWeights()))
        if unknown:
            raise ValueError(f"weights has no {', '.join(sorted(unknown))}; known: {', '.join(vars(LaneWeights()))}")
        if crossing_edges not in ("annotated", "long"):
            raise ValueError(f'crossing_edges must be "annotated" or "long", got {crossing_edges!r}')
        self.weights = LaneWeights(**(weights or {}))
        self.decoder: LaneDecoder = MODELS.build(decoder)
        if denoising is not None and not isinstance(self.decoder, MQBankDecoder):
            raise ConfigError(f"denoising needs a decoder that takes anchors, not {type(self.decoder).__name__}")
        channels = self.decoder.channels
        self.branches = nn.ModuleList(
            LaneBranches(channels, with_masks=self.weights.needs_masks) for _ in self.decoder.layers
        )
        self.topology = RelationshipHead(channels) if with_topology else None
        self.double_last_refine, self.crossing_edges = double_last_refine, crossing_edges
        self.denoising = None if denoising is None else LaneDenoising(**denoising)
        self.mask_region, self.min_line_score = tuple(mask_region), min_line_score

    def forward(self, bev: Tensor, inputs: Mapping[str, Any]) -> LaneMaps:
        """(B, C, H, W) map and ``sd_maps`` of the inputs -> what the last layer predicts."""
        output = self.decoder(bev, inputs.get("sd_maps"))[-1]
        if self.double_last_refine:
            again = (output.regression + inverse_sigmoid(output.reference)).sigmoid()
            output = replace(output, reference=again)
        return self.layer_maps(len(self.branches) - 1, output)

    def layer_maps(self, layer: int, output: LaneLayerOutput, bev: Tensor | None = None) -> LaneMaps:
        """What one layer's branches say of its queries; masks only with the map (B, C, H, W)."""
        branches, query = cast(LaneBranches, self.branches[layer]), output.query
        masks = None
        if bev is not None and branches.mask is not None:
            masks = torch.einsum("bqc,bchw->bqhw", branches.mask(query), bev)
        centers, lefts, rights = self.decoder.lines(output.reference, output.offset)
        logits, left_types, right_types = branches(output.query)
        return LaneMaps(output.query, centers, lefts, rights, logits, left_types, right_types, masks)

    def loss(self, bev: Tensor, frames: Sequence[Frame], inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses by name, summed over the layers, against the lane graphs of the frames; those of denoising have "dn".

        Raises:
            ConfigError: a frame has no lane graph.
        """
        mask_size = (bev.shape[2], bev.shape[3]) if self.weights.needs_masks else None
        targets = [self.targets(frame, mask_size) for frame in frames]
        losses: dict[str, Tensor] = {}
        for layer, output in enumerate(self.decoder(bev, inputs.get("sd_maps"))):
            maps = self.layer_maps(layer, output, bev)
            matches = match(maps, targets, self.weights)
            for name, value in lane_losses(maps, targets, matches, self.weights).items():
                losses[name] = losses[name] + value if name in losses else value
        if self.topology is not None:
            connections = topology_loss(self.topology(maps.query).float(), targets, matches)
            losses["loss_topology"] = self.weights.topology * connections
        return losses if self.denoising is None else losses | self.denoising_loss(bev, targets)

    def denoising_loss(self, bev: Tensor, targets: Sequence[LaneTargets]) -> dict[str, Tensor]:
        """Losses of true elements that begin out of place, by name."""
        decoder = cast(MQBankDecoder, self.decoder)
        anchors, matches = cast(LaneDenoising, self.denoising).anchors(targets, decoder.max_queries)
        queries = decoder.start(anchors).first(max(1, *(len(some) for some in anchors)))
        losses: dict[str, Tensor] = {}
        for layer, output in enumerate(decoder.refine(bev, queries)):
            maps = self.layer_maps(layer, output)
            for name, value in lane_losses(maps, targets, matches, self.weights).items():
                losses[f"{name}_dn"] = losses.get(f"{name}_dn", 0.0) + value
        return losses

    def targets(self, frame: Frame, mask_size: tuple[int, int] | None = None) -> LaneTargets:
        """What the head should say of a frame; see `lane_targets`."""
        if frame.lane_graph is None:
            raise ConfigError(f"frame {frame.token} has no lane graph to learn from; give the data set lane graphs")
        return lane_targets(
            frame.lane_graph, self.decoder.line_points, mask_size=mask_size, mask_region=self.mask_region,
            crossing_edges=self.crossing_edges,
        )

    def decode(self, raw: LaneMaps, frames: Sequence[Frame]) -> list[MapPredictions]:
        """What `forward` gave, to lanes, areas and lines of each frame; see `lane_predictions`."""
        connections = None if self.topology is None else self.topology(raw.query).float().sigmoid()
        return [
            lane_predictions(raw, connections, sample, frame, self.min_line_score)
            for sample, frame in enumerate(frames)
        ]
