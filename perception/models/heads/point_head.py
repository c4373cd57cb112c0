"""Segmentation of LiDAR points: what a point knows of itself, of its pillar and of the place it lies at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.bev_reading import SAMPLINGS, cell_positions, read_bev
from perception.models.conv_unit import ConvUnit, conv3x3
from perception.models.losses.normalizers import sum_over_ranks, world_size
from perception.models.voxel_encoders.point_norm import PointBatchNorm, PointLayer
from perception.models.voxel_encoders.squashed_heights import checked_heights, squashed_heights
from perception.registry import MODELS
from perception.structures import PointLabels
from perception.structures.segmentation import IGNORE_LABEL

from .gaussian_targets import draw_gaussians
from .point_instances import group_by_centers, heatmap_peaks, instance_centers, majority_classes


@dataclass(frozen=True, eq=False)
class PointMaps:
    """What the head says of a batch; points of the samples stand one after the other.

    Args:
        logits: (P, K) of the classes.
        xy: (P, 2) places of the points [m].
        counts: points of each sample; their sum is P.
        offsets: (P, 2) from each point to the middle of its instance [m]; None without things.
        heatmap: (B, H, W) logits of the middles of instances; None without things.
    """

    logits: Tensor
    xy: Tensor
    counts: tuple[int, ...]
    offsets: Tensor | None = None
    heatmap: Tensor | None = None


@MODELS.register_module(role="head")
class PointHead(nn.Module):
    """A perceptron on each point's own features joined with those of the maps at its place.

    Points outside the region read its border. With ``things`` the head also finds instances: each point votes for the
    middle of its instance, a heatmap tells where middles are, and the points of an instance take their majority's class
    (Panoptic-DeepLab, section 3.2).

    Args:
        in_channels: widths of the maps (B, C_i, H_i, W_i) that it reads, all of which cover ``region``. The last one
            also gives the heatmap.
        sampling: how each map is read: "nearest" for pillars, which have no neighbours worth blending, or "bilinear".
        region: x0, y0, x1, y1 [m].
        point_channels: width of the points, x, y, z first.
        classes: names in the order of the labels.
        things: names of the classes that have instances; none for semantic segmentation only.
        channels: width of the layers.
        momentum: of the running statistics of their batch normalisations.
        heights: scales of `squashed_heights` among a point's own features [m].
        class_weights: of the cross entropy, one a class; equal if None.
        loss_lovasz: config of a further loss on (logits, classes); None leaves it out.
        loss_center: config of the loss of the heatmap.
        loss_weights: factors of "class", "offset" and "center"; 1 if not given.
        center_radius: half-width of the bump at a true middle [cells].
        center_threshold, max_centers: see `heatmap_peaks`.
        max_distance: see `group_by_centers`.

    Raises:
        ValueError: the maps and samplings differ in number, the region is empty, a thing is no class, or there are not
            as many weights as classes.
    """

    class_weights: Tensor
    is_thing: Tensor

    def __init__(
        self,
        in_channels: Sequence[int],
        sampling: Sequence[str],
        region: Sequence[float],
        point_channels: int,
        classes: Sequence[str],
        *,
        things: Sequence[str] = (),
        channels: int = 64,
        momentum: float = 0.01,
        heights: Sequence[float] = (0.1, 0.5, 2.0),
        class_weights: Sequence[float] | None = None,
        loss_lovasz: Mapping[str, Any] | None = None,
        loss_center: Mapping[str, Any] | None = None,
        loss_weights: Mapping[str, float] | None = None,
        center_radius: int = 2,
        center_threshold: float = 0.2,
        max_centers: int = 300,
        max_distance: float = 3.0,
    ) -> None:
        super().__init__()
        if len(in_channels) != len(sampling) or not in_channels or any(name not in SAMPLINGS for name in sampling):
            raise ValueError(f"each of the maps {in_channels} needs a sampling of {SAMPLINGS}, got {sampling}")
        if len(region) != 4 or not (region[0] < region[2] and region[1] < region[3]):
            raise ValueError(f"region must be x0, y0, x1, y1 with x0 < x1 and y0 < y1, got {region}")
        if any(name not in classes for name in things):
            raise ValueError(f"things must be among the classes {classes}, got {things}")
        if class_weights is not None and len(class_weights) != len(classes):
            raise ValueError(f"class_weights must be {len(classes)}, got {len(class_weights)}")
        self.sampling, self.region, self.classes = tuple(sampling), tuple(region), tuple(classes)
        self.heights, self.point_channels = checked_heights(heights), point_channels
        self.center_radius, self.center_threshold, self.max_centers = center_radius, center_threshold, max_centers
        self.max_distance = max_distance
        self.loss_weights = {"class": 1.0, "offset": 1.0, "center": 1.0, **(loss_weights or {})}

        own = point_channels + len(self.heights) + 2
        self.own = nn.Sequential(PointBatchNorm(own, affine=False), PointLayer(own, channels, momentum=momentum))
        self.trunk = nn.Sequential(
            PointLayer(channels + sum(in_channels), channels, momentum=momentum),
            PointLayer(channels, channels, momentum=momentum),
        )
        self.classify = nn.Linear(channels, len(classes))
        weights = [1.0] * len(classes) if class_weights is None else class_weights
        self.register_buffer("class_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        is_thing = torch.tensor([name in things for name in classes])
        self.register_buffer("is_thing", is_thing, persistent=False)
        self.loss_lovasz = None if loss_lovasz is None else MODELS.build(loss_lovasz)
        self.finds_instances = bool(things)
        if self.finds_instances:
            self.vote = nn.Sequential(PointLayer(channels, channels, momentum=momentum), nn.Linear(channels, 2))
            middle = nn.Conv2d(channels, 1, 1)
            assert middle.bias is not None
            nn.init.constant_(middle.bias, -4.0)                       # few cells are a middle: a score of 0.02
            self.middles = nn.Sequential(ConvUnit(conv3x3(in_channels[-1], channels), momentum=momentum), middle)
            self.loss_center = MODELS.build(loss_center or {"type": "GaussianFocalLoss"})

    def forward(self, maps: Sequence[Tensor], points: Sequence[Tensor]) -> PointMaps:
        """Maps (B, C_i, H_i, W_i) and B clouds (P_i, point_channels), ego frame [m] -> what is at the points.

        Raises:
            ValueError: the maps or the width of the points are not those of the constructor.
        """
        if len(maps) != len(self.sampling):
            raise ValueError(f"maps must be {len(self.sampling)}, got {len(maps)}")
        cloud = torch.cat(list(points))                                                  # (P, point_channels)
        if cloud.shape[1] != self.point_channels:
            raise ValueError(f"points must have {self.point_channels} channels, got {cloud.shape[1]}")
        counts = tuple(len(sample) for sample in points)
        sample = torch.repeat_interleave(torch.tensor(counts, device=cloud.device))      # (P,)
        places = [cell_positions(cloud[:, :2], self.region, (bev.shape[2], bev.shape[3])) for bev in maps]
        own = [cloud, squashed_heights(cloud[:, 2], self.heights), places[0] - places[0].round()]
        read = [read_bev(*entry[:2], sample, entry[2]) for entry in zip(maps, places, self.sampling, strict=True)]
        features = self.trunk(torch.cat([self.own(torch.cat(own, dim=1)), *read], dim=1))    # (P, channels)
        logits = self.classify(features).float()
        if not self.finds_instances:
            return PointMaps(logits, cloud[:, :2], counts)
        return PointMaps(
            logits, cloud[:, :2], counts, self.vote(features).float(), self.middles(maps[-1])[:, 0].float()
        )

    def loss(self, raw: PointMaps, labels: Sequence[PointLabels]) -> dict[str, Tensor]:
        """Losses by name; every one is a mean over what it counts on all ranks.

        Args:
            raw: of `forward`.
            labels: of the points of each sample, row by row.

        Raises:
            ValueError: there are not as many labels as points, a class is out of range, or things lack instances.
        """
        for count, rows in zip(raw.counts, labels, strict=True):
            if len(rows) != count:
                raise ValueError(f"there are {len(rows)} labels for {count} points")
            if self.finds_instances and rows.instances is None:
                raise ValueError("to learn instances the labels must have them")
        target = torch.cat([rows.classes for rows in labels])
        known = target != IGNORE_LABEL
        if bool(((target < 0) | (target >= len(self.classes)))[known].any()):
            found = target.unique().tolist()
            raise ValueError(f"classes must lie in [0, {len(self.classes)}) or be {IGNORE_LABEL}, got {found}")
        weight = sum_over_ranks(self.class_weights[target[known]].sum()).clamp(min=1e-6) / world_size()
        entropy = F.cross_entropy(
            raw.logits, target, self.class_weights, ignore_index=IGNORE_LABEL, reduction="sum"
        )
        losses = {"loss_class": self.loss_weights["class"] * entropy / weight}
        if self.loss_lovasz is not None:
            losses["loss_lovasz"] = self.loss_lovasz(raw.logits, target)
        return losses | self._instance_losses(raw, labels) if self.finds_instances else losses

    def _instance_losses(self, raw: PointMaps, labels: Sequence[PointLabels]) -> dict[str, Tensor]:
        assert raw.offsets is not None
        assert raw.heatmap is not None
        B, H, W = raw.heatmap.shape
        ways, middles, planes = [], [], []
        for number, (xy, rows) in enumerate(zip(raw.xy.split(raw.counts), labels, strict=True)):
            assert rows.instances is not None
            instances = torch.where(self._of_things(rows.classes), rows.instances, 0)
            centers, row = instance_centers(xy, instances)                               # (I, 2), (P_i,)
            way = torch.full_like(xy, torch.nan)
            way[row >= 0] = centers[row[row >= 0]] - xy[row >= 0]
            ways.append(way)
            middles.append(centers)
            planes.append(torch.full_like(row[: len(centers)], number))
        way, middle, plane = torch.cat(ways), torch.cat(middles), torch.cat(planes)
        has_way = way.isfinite().all(dim=1)                                              # (P,)
        error = (raw.offsets[has_way] - way[has_way]).abs().sum()
        counts = sum_over_ranks(torch.stack([has_way.sum(), plane.new_tensor(len(plane))])).clamp(min=1) / world_size()
        cells = cell_positions(middle, self.region, (H, W)).round().long()
        cells = cells.clamp(min=0).minimum(cells.new_tensor([W - 1, H - 1]))             # (I, 2) column, row
        low, high = middle.new_tensor(self.region).view(2, 2)
        inside = ((middle >= low) & (middle < high)).all(dim=1)
        radius = torch.full_like(plane, self.center_radius)
        target = draw_gaussians((B, H, W), plane[inside], cells[inside], radius[inside])
        seen = torch.stack([(rows.classes != IGNORE_LABEL).any() for rows in labels])    # else no middle says nothing
        return {
            "loss_offset": self.loss_weights["offset"] * error / counts[0],
            "loss_center": self.loss_weights["center"] * self.loss_center(raw.heatmap[seen], target[seen], counts[1]),
        }

    def decode(self, raw: PointMaps) -> list[tuple[Tensor, Tensor | None]]:
        """Class (P_i,) int64 of the points of each sample, and their instance from 1, 0 for none, or None."""
        classes = raw.logits.argmax(dim=1).split(raw.counts)
        if raw.offsets is None or raw.heatmap is None:
            return [(found, None) for found in classes]
        votes = (raw.xy + raw.offsets).split(raw.counts)
        scores = raw.heatmap.sigmoid()
        return [self._group(*entry) for entry in zip(classes, votes, scores, strict=True)]

    def _group(self, classes: Tensor, votes: Tensor, heatmap: Tensor) -> tuple[Tensor, Tensor]:
        H, W = heatmap.shape
        peaks = heatmap_peaks(heatmap, threshold=self.center_threshold, max_peaks=self.max_centers)
        low, high = votes.new_tensor(self.region).view(2, 2)
        centers = low + (peaks + 0.5) * (high - low) / votes.new_tensor([W, H])          # (Q, 2) metres
        instances = group_by_centers(votes, self.is_thing[classes], centers, self.max_distance)
        return majority_classes(classes, instances, len(self.classes)), instances

    def _of_things(self, classes: Tensor) -> Tensor:
        known = classes != IGNORE_LABEL
        return known & self.is_thing[torch.where(known, classes, 0)]
