"""VectorMapNet's head: a detector finds the elements of a BEV map, a generator writes their polylines.

Liu et al., "VectorMapNet: End-to-end Vectorized HD Map Learning", ICML 2023.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perception.errors import ConfigError
from perception.models.losses.normalizers import sum_over_ranks, world_size
from perception.models.stage import Stage
from perception.registry import MODELS
from perception.structures import Frame, MapPredictions, Polylines
from perception.structures.vector_map import MAP_CLASSES

from .augmentation import InputNoise
from .detector import Detections, ElementDetector
from .generator import Condition, PolylineGenerator
from .keypoints import NUM_KEYPOINTS
from .losses import DetectorLoss, length_chunks, weighted_log_loss
from .matching import MatchCosts, Pairs
from .proposal_detector import ProposalDetector
from .sampling import check_mass
from .targets import MapTargets, map_targets
from .tokens import PUBLISHED_MARGIN, Canvas

MARGINS = {"published": PUBLISHED_MARGIN, "true": 0.0}
OUTPUT_FRAMES = ("true", "published")
MIN_VERTICES = 2                                     # fewer are no line


@dataclass(frozen=True)
class WrittenMap:
    """Elements of B images, image after image, best first within each.

    Args:
        scores: (L,) confidence in [0, 1].
        condition: classes, keypoints and images of the elements.
        tokens: (L, T) int64, 0 from the stop on.
    """

    scores: Tensor
    condition: Condition
    tokens: Tensor


@MODELS.register_module(role="map_head")
class VectorMapHead(nn.Module):
    """Map elements as polylines with as many vertices as they need.

    Args:
        in_channels: width of the BEV map.
        classes: class names, in the order of the data set.
        region: least x, least y, greatest x, greatest y [m] of the map, which the BEV map covers too.
        canvas: cells along x and y that vertices are told in.
        keypoints: "box", or of the paper's ablation "start_middle_end" or "extreme".
        normalisation: "published": the region and 2 m more fill the canvas; "true": the region alone does. A released
            checkpoint needs the former.
        output_frame: "true": predictions are in the ego frame; "published": they are shrunken towards the region's
            corner as in the release, whose figures compare them with a truth shrunken alike (`Canvas.shrunken`).
        bin_offset: see `Canvas`.
        detector: arguments of `ElementDetector` beyond these, or of `ProposalDetector` if there are ``proposals``.
        generator: arguments of `PolylineGenerator` beyond these.
        detector_loss: arguments of `DetectorLoss`; its ``costs`` are those of `MatchCosts`.
        generator_weight: weight of the generator's loss.
        noise: arguments of `InputNoise`.
        joint: the generator learns from the keypoints that the detector gives to the matched elements (the paper's
            second stage), in place of the true ones.
        repeated: with ``joint``, share of the elements that it learns from the true keypoints as well.
        top_k: elements kept of an image, over queries and classes together.
        min_score: elements of a lower score are not written; the release writes all.
        max_vertices: a line has at most so many; longer true lines are thinned to what the generator can count.
        nucleus: share of the probability that tokens are drawn from; 0 takes the likeliest.
        median: with a ``nucleus`` of 0, take the median token, see `median_token`.
        seed: of these draws. Every image begins anew, so it does not depend on the others of its batch.

    Raises:
        ConfigError: a choice is unknown, or a number out of range.
        ValueError: an argument of a part is out of range.
    """

    def __init__(
        self,
        in_channels: int = 128,
        *,
        classes: Sequence[str] = MAP_CLASSES,
        region: Sequence[float] = (-30.0, -15.0, 30.0, 15.0),
        canvas: Sequence[int] = (200, 100),
        keypoints: str = "box",
        normalisation: str = "published",
        output_frame: str = "true",
        bin_offset: float = 0.0,
        detector: Mapping[str, Any] | None = None,
        generator: Mapping[str, Any] | None = None,
        detector_loss: Mapping[str, Any] | None = None,
        generator_weight: float = 1.0,
        noise: Mapping[str, Any] | None = None,
        joint: bool = False,
        repeated: float = 0.2,
        top_k: int = 35,
        min_score: float = 0.0,
        max_vertices: int = 64,
        nucleus: float = 0.9,
        median: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.classes = tuple(classes)
        _check_choice("keypoints", keypoints, NUM_KEYPOINTS)
        _check_choice("normalisation", normalisation, MARGINS)
        _check_choice("output_frame", output_frame, OUTPUT_FRAMES)
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"classes must name at least one class and none twice, got {self.classes}")
        if top_k < 1 or not 0 <= repeated <= 1:
            raise ConfigError(f"top_k must be >= 1 and repeated lie in [0, 1], got {top_k} and {repeated}")
        check_mass(nucleus)
        self.canvas = Canvas(_four(region), (canvas[0], canvas[1]), MARGINS[normalisation], bin_offset)
        self.keypoints, self.output_frame = keypoints, output_frame
        self.top_k, self.min_score, self.max_vertices = top_k, min_score, max_vertices
        self.nucleus, self.median, self.seed = nucleus, median, seed
        self.joint, self.repeated, self.generator_weight = joint, repeated, generator_weight
        self.noise = InputNoise(**(noise or {}))
        options = dict(detector_loss or {})
        self.detector_loss = DetectorLoss(MatchCosts(**options.pop("costs", {})), **options)
        K, P = len(self.classes), NUM_KEYPOINTS[keypoints]
        detector_type = ProposalDetector if "proposals" in (detector or {}) else ElementDetector
        self.detector = detector_type(in_channels, K, self.canvas.size, num_keypoints=P, **(detector or {}))
        self.generator = PolylineGenerator(in_channels, K, self.canvas, num_keypoints=P, **(generator or {}))

    def loss(self, bev: Tensor, frames: Sequence[Frame], inputs: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses by name against the vector maps of the frames.

        Args:
            bev: (B, C, H, W) map.
            frames: B frames with a `VectorMap`, which may be empty.
            inputs: not read.

        Raises:
            ConfigError: a frame has no vector map, or one of other classes.
        """
        targets = map_targets(
            frames, self.canvas, classes=self.classes, kind=self.keypoints,
            max_vertices=self.generator.max_positions, device=bev.device,
        )
        found = self.detector(bev)
        with torch.autocast(bev.device.type, enabled=False):
            losses, pairs = self.detector_loss(found, targets.labels, targets.keypoints)
            if found.dense is not None and isinstance(self.detector, ProposalDetector):
                points = [cells.unflatten(1, (-1, 2)) / self.detector.canvas for cells in targets.keypoints]
                losses |= self.detector.proposals.loss(found.dense, targets.labels, points)
        losses = {f"loss_det_{name}": value for name, value in losses.items()}
        return losses | {"loss_gen_seq": self.generator_weight * self.generator_loss(bev, targets, found, pairs)}

    def generator_loss(self, bev: Tensor, targets: MapTargets, found: Detections, pairs: Sequence[Pairs]) -> Tensor:
        """Weighted mean of the negative log probability of the true tokens; 0 if the batch has no element."""
        rows, condition = self.conditions(targets, found, pairs)
        if not len(rows):                            # with a gradient of 0 for all, as other ranks may have elements
            return torch.stack([weight.sum() for weight in self.generator.parameters()]).sum() * 0.0
        memory, total = self.generator.read(bev), bev.new_zeros((), dtype=torch.float32)
        tokens, mask, weights = targets.tokens[rows], targets.mask[rows], targets.weights[rows]
        for chunk in length_chunks(mask.sum(dim=1)):
            longest = int(mask[chunk].sum(dim=1).max())
            true, counted = tokens[chunk, :longest], mask[chunk, :longest]
            given = self.noise.on_tokens(true, self.canvas.size) if self.training else true
            logits = self.generator(memory, condition[chunk], given)
            with torch.autocast(bev.device.type, enabled=False):
                total = total + weighted_log_loss(logits, true, counted, weights[chunk, :longest])
        return total / (sum_over_ranks(weights.sum()) / world_size())

    def conditions(self, targets: MapTargets, found: Detections, pairs: Sequence[Pairs]) -> tuple[Tensor, Condition]:
        """Which true elements the generator learns, (L,) int64 rows of the targets, and what it is told of each."""
        keypoints, images = targets.conditions, targets.images
        rows = torch.arange(len(keypoints), device=keypoints.device)
        if self.joint:
            detected = keypoints.clone()                       # an element without a query keeps its true keypoints
            first = 0
            for b, (queries, truths) in enumerate(pairs):
                detected[first + truths] = rounded(found.keypoints[-1, b, queries].detach())
                first += len(targets.labels[b])
            again = rows[torch.rand(len(rows), device=rows.device) < self.repeated]
            rows, keypoints = torch.cat([rows, again]), torch.cat([detected, keypoints[again]])
        if self.training:
            keypoints = self.noise.on_keypoints(keypoints, self.canvas.size)
        return rows, Condition(torch.cat(list(targets.labels))[rows], keypoints, images[rows])

    def forward(self, bev: Tensor, inputs: Mapping[str, Any] | None = None) -> WrittenMap:
        """(B, C, H, W) map -> its elements; ``inputs`` is not read."""
        return self.write(bev, *self.select(self.detector(bev)))

    def stages(self, inputs: Mapping[str, Any]) -> list[Stage]:
        """The two steps of `forward`, to be timed one by one."""
        return [
            Stage("element detector", lambda bev: (bev, *self.select(self.detector(bev))), (self.detector,)),
            Stage("polyline generator", lambda found: self.write(*found), (self.generator,)),
        ]

    def write(self, bev: Tensor, scores: Tensor, condition: Condition) -> WrittenMap:
        """The polylines of selected elements, L in all."""
        noise = None if self.nucleus == 0 else self.draws(condition.images)
        tokens = self.generator.generate(
            self.generator.read(bev), condition, max_vertices=self.max_vertices, mass=self.nucleus, noise=noise,
            median=self.median,
        )
        return WrittenMap(scores, condition, tokens)

    def select(self, found: Detections) -> tuple[Tensor, Condition]:
        """The best ``top_k`` pairs of query and class of each image: (L,) scores, and what the generator is told."""
        scores, queries, labels = best_elements(found.scores[-1], self.top_k)            # (B, k) each
        images = torch.arange(len(scores), device=scores.device)[:, None].expand_as(labels)
        keypoints = rounded(found.keypoints[-1].float()[images, queries])                 # (B, k, 2 P)
        kept = scores >= self.min_score
        return scores[kept], Condition(labels[kept], keypoints[kept], images[kept])

    def draws(self, images: Tensor) -> Tensor:
        """(L, T) uniform numbers in [0, 1): the same for the first element of every image, and so on."""
        steps = 2 * self.max_vertices + 1
        numbers = torch.rand(self.top_k, steps, generator=torch.Generator().manual_seed(self.seed)).to(images.device)
        rank = torch.arange(len(images), device=images.device) - torch.searchsorted(images, images)
        return numbers[rank]

    def decode(self, raw: WrittenMap, frames: Sequence[Frame]) -> list[MapPredictions]:
        """Predictions of each frame, on the CPU, best first; what has fewer than two vertices is left out."""
        images, scores, labels, tokens = (
            column.cpu() for column in (raw.condition.images, raw.scores, raw.condition.labels, raw.tokens)
        )
        predictions = []
        for b, frame in enumerate(frames):
            rows = (images == b).nonzero()[:, 0]
            lines = [self.canvas.denormalise(self.canvas.vertices_of(line)) for line in tokens[rows]]
            if self.output_frame == "published":
                lines = [self.canvas.shrunken(line) for line in lines]
            rows = rows[torch.tensor([len(line) >= MIN_VERTICES for line in lines], dtype=torch.bool)]
            predictions.append(
                MapPredictions(
                    token=frame.token,
                    timestamp_ns=frame.timestamp_ns,
                    lines=Polylines.from_lines([line for line in lines if len(line) >= MIN_VERTICES]),
                    scores=scores[rows],
                    labels=labels[rows],
                    classes=self.classes,
                    global_from_ego=frame.global_from_ego,
                )
            )
        return predictions


def best_elements(logits: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, Q, K) logits -> scores, queries and classes (B, k) of the k best pairs, best first; k = min(count, Q * K)."""
    K = logits.shape[2]
    scores = logits.float().sigmoid().flatten(1)                                          # (B, Q * K)
    best, index = scores.topk(min(count, scores.shape[1]), dim=1)
    return best, torch.div(index, K, rounding_mode="floor"), index % K


def rounded(keypoints: Tensor) -> Tensor:
    """Keypoints in cells to the nearest whole ones, halves to the even one; int64."""
    return keypoints.round().long()


def _check_choice(name: str, value: str, choices: Mapping[str, Any] | Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _four(region: Sequence[float]) -> tuple[float, float, float, float]:
    if len(region) != 4:
        raise ConfigError(f"region must have four numbers, got {region}")
    x0, y0, x1, y1 = (float(value) for value in region)
    return x0, y0, x1, y1
