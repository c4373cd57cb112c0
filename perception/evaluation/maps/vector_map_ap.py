"""Average precision of vector maps, in the conventions of VectorMapNet, MapTR, MapTRv2 and StreamMapNet.

In each frame and class a prediction looks only at the true element that is nearest to it, the first one on ties. By
falling score it takes that element if the distance is at most the threshold and nobody took it before; otherwise it is
a false positive, even if another element is near enough. The area under the precision-recall curve of all frames
together is the AP; mAP is the mean over all classes and thresholds, a class without truth counting as 0.
Liu et al., "VectorMapNet", ICML 2023; Liao et al., "MapTR", ICLR 2023; Yuan et al., "StreamMapNet", WACV 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from perception.errors import suggestion
from perception.structures.vector_map import MAP_CLASSES

from .conventions import CONVENTIONS, MEASURES, THRESHOLDS, Convention, Measure
from .dilated_lines import dilations_meet
from .elements import MapElements
from .matching import Nearest, area_under_curve, pairs_of_groups
from .point_distances import PointSets

Choice = TypeVar("Choice")
BLOCK_FRAMES = 64                                          # of which the sampled lines are in memory together


@dataclass(frozen=True, eq=False)
class ElementHits:
    """The P predictions that counted, of all frames.

    Args:
        labels: (P,) int64 class.
        scores: (P,) float64 confidence.
        hits: (P, T) bool, whether a prediction took a true element at each threshold.
    """

    labels: np.ndarray
    scores: np.ndarray
    hits: np.ndarray


@dataclass(frozen=True, eq=False)
class VectorMapScores:
    """Average precisions.

    Args:
        ap: (C, T) by class and threshold.
        classes: C names.
        thresholds: T thresholds, [m] for distances.
        num_truth: (C,) true elements.
        num_predictions: (C,) predictions that counted.
        unit: "m" for distances, else empty.
        predictions: what the precisions are computed from, for curves.
    """

    ap: np.ndarray
    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    num_truth: np.ndarray
    num_predictions: np.ndarray
    unit: str = "m"
    predictions: ElementHits | None = None

    @property
    def mean_ap(self) -> float:
        """Over all classes and thresholds."""
        return float(self.ap.mean())

    def flat(self) -> dict[str, float]:
        """One number a name: mAP, divider_AP, divider_AP_0.5m ..."""
        flat = {"mAP": self.mean_ap}
        for name, row in zip(self.classes, self.ap, strict=True):
            flat[f"{name}_AP"] = float(row.mean())
            flat |= {f"{name}_AP_{value}{self.unit}": float(ap) for value, ap in zip(self.thresholds, row, strict=True)}
        return flat


def evaluate_vector_map(
    truth: Sequence[MapElements],
    predictions: Sequence[MapElements],
    classes: Sequence[str] = MAP_CLASSES,
    *,
    thresholds: str | Sequence[float] = "standard",
    convention: str | Convention = "maptr",
    measure: str = "chamfer",
    dim: int = 2,
    skip_frames_without_truth: bool = False,
) -> VectorMapScores:
    """Score the map elements of some frames.

    Args:
        truth: one a frame; a closed element repeats its first vertex.
        predictions: of the same frames in the same order, with scores.
        classes: names of the labels.
        thresholds: name of a set in `THRESHOLDS`, or numbers: metres, or the similarities to reach.
        convention: name in `CONVENTIONS` or one of your own.
        measure: "chamfer"; "frechet" (discrete, the better of both directions); "near_share" (share of the points with
            one of the other line within 1 m, VectorMapNet's POR); "iou" of lines dilated by 1 m (MapTR).
        dim: 2 compares in the xy plane, 3 in space; lines are resampled by their length in the xy plane in any case.
        skip_frames_without_truth: leave out frames without any true element, false positives included, as the release
            of VectorMapNet does around its evaluation.

    Raises:
        ValueError: the frames differ in number, a frame is malformed, or a name is unknown.
    """
    rules = named("convention", convention, CONVENTIONS)
    how = named("measure", measure, MEASURES)
    limits = tuple(float(value) for value in named("thresholds", thresholds, THRESHOLDS))
    if not limits or not np.isfinite(limits).all():
        raise ValueError(f"thresholds must be finite numbers, at least one, got {limits}")
    if dim not in (2, 3):
        raise ValueError(f"dim must be 2 or 3, got {dim}")
    if len(truth) != len(predictions):
        raise ValueError(f"predictions must be those of the {len(truth)} frames of truth, got {len(predictions)}")
    if skip_frames_without_truth:
        kept = [number for number, elements in enumerate(truth) if len(elements)]
        truth, predictions = [truth[number] for number in kept], [predictions[number] for number in kept]
    true, true_frames = _gathered("truth", truth, len(classes), dim)
    found, frames = _gathered("predictions", predictions, len(classes), dim)
    _refuse_single_vertices("truth", true)
    if rules.drops_points:
        frames, found = frames[found.counts > 1], found[found.counts > 1]
    else:
        _refuse_single_vertices("predictions", found)
    nearest = _nearest(found, frames, true, true_frames, rules, how, max(limits))
    ap = np.zeros((len(classes), len(limits)))
    num_truth = np.bincount(true.labels, minlength=len(classes))
    hits = np.zeros((len(found), len(limits)), bool)                                     # (P, T)
    for column, limit in enumerate(limits):
        hits[:, column] = nearest.matched(limit if how.is_distance else -limit) >= 0
        for label in range(len(classes)):
            own = found.labels == label
            ap[label, column] = area_under_curve(
                nearest.scores[own], hits[own, column], int(num_truth[label]), rules.dtype
            )
    num_predictions = np.bincount(found.labels, minlength=len(classes))
    return VectorMapScores(
        ap, tuple(classes), limits, num_truth, num_predictions, "m" if how.is_distance else "",
        ElementHits(found.labels, nearest.scores, hits),
    )


def evaluate_by_token(
    truth: Mapping[str, MapElements], predictions: Mapping[str, MapElements], **options: Any
) -> VectorMapScores:
    """`evaluate_vector_map` of frames by name: a frame that is missing in the predictions has none.

    Raises:
        ValueError: predictions of a frame that is not in the truth, and what `evaluate_vector_map` refuses.
    """
    unknown = sorted(set(predictions) - set(truth))
    if unknown:
        raise ValueError(f"predictions of {unknown[0]!r}, not one of the {len(truth)} frames of truth")
    nothing = MapElements.from_lines([], [], [])
    return evaluate_vector_map(list(truth.values()), [predictions.get(token, nothing) for token in truth], **options)


def _nearest(
    found: MapElements, frames: np.ndarray, true: MapElements, true_frames: np.ndarray,
    rules: Convention, how: Measure, limit: float,
) -> Nearest:
    """The nearest true element of every prediction, among those of its frame and class within the limit.

    Sampled lines are held of `BLOCK_FRAMES` frames at a time.
    """
    pairs, costs = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for start in range(0, int(frames[-1]) + 1 if len(frames) else 0, BLOCK_FRAMES):
        begin, end = np.searchsorted(frames, [start, start + BLOCK_FRAMES])
        true_begin, true_end = np.searchsorted(true_frames, [start, start + BLOCK_FRAMES])
        some, some_true = found.between(begin, end), true.between(true_begin, true_end)
        num_labels = max(some.labels.max(initial=0), some_true.labels.max(initial=0)) + 1
        block = pairs_of_groups(
            frames[begin:end] * num_labels + some.labels,
            true_frames[true_begin:true_end] * num_labels + some_true.labels,
        )
        cost = _costs(some, some_true, block, rules, how, limit)
        reached = cost < np.inf
        pairs.append(block[reached] + [begin, true_begin])
        costs.append(cost[reached])
    assert found.scores is not None                        # seen by `_gathered`
    return Nearest.of_pairs(np.concatenate(pairs), np.concatenate(costs), found.scores)


def _costs(
    found: MapElements, true: MapElements, pairs: np.ndarray, rules: Convention, how: Measure, limit: float
) -> np.ndarray:
    """(K,) cost of each pair; inf beyond the limit and where the dilated lines do not meet."""
    sampled, sampled_truth = rules.sampled(found), PointSets.full(true.resampled(rules.num_points))
    costs = how.cost(sampled, sampled_truth, pairs, limit)
    if how.is_distance and rules.prefilter_m is not None:
        rows = np.flatnonzero(costs < np.inf)
        meets = dilations_meet(sampled, sampled_truth, pairs[rows], rules.prefilter_m)
        costs[rows[~meets]] = np.inf
    return costs


def _gathered(name: str, frames: Sequence[MapElements], num_classes: int, dim: int) -> tuple[MapElements, np.ndarray]:
    """The elements of all frames, and the (P,) int64 number of the frame of each."""
    needs_scores = name == "predictions"
    parts = [MapElements.from_lines([], [], [] if needs_scores else None, dim)]
    for number, elements in enumerate(frames):
        place = f"{name}[{number}]"
        if len(elements) and elements.labels.max() >= num_classes:
            raise ValueError(f"{place}.labels must lie in [0, {num_classes}), got {elements.labels.max()}")
        if needs_scores and elements.scores is None:
            raise ValueError(f"{place}.scores must be given, got None")
        if len(elements) and elements.vertices.shape[1] < dim:
            raise ValueError(f"{place}.vertices must be (V, {dim}), got {elements.vertices.shape}")
        if len(elements):
            scores = elements.scores if needs_scores else None
            parts.append(replace(elements, vertices=elements.vertices[:, :dim], scores=scores))
    return MapElements.cat(parts), np.repeat(np.arange(len(frames)), [len(elements) for elements in frames])


def _refuse_single_vertices(name: str, elements: MapElements) -> None:
    if len(elements) and elements.counts.min() < 2:
        raise ValueError(f"{name} must have lines of two vertices or more, got one of {elements.counts.min()}")


def named(argument: str, value: str | Choice, known: Mapping[str, Choice]) -> Choice:
    """The entry of that name, or the value itself if it is no name. Raises ValueError if there is none."""
    if not isinstance(value, str):
        return value
    if value not in known:
        raise ValueError(f"{argument} must be one of {', '.join(known)}, got {value!r}{suggestion(value, known)}")
    return known[value]
