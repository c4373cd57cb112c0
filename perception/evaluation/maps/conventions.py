"""In what the published evaluations of vector maps differ: sampling, thresholds, measures of likeness."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .dilated_lines import iou_pairs
from .elements import MapElements
from .point_distances import PointSets, chamfer_pairs, near_share_pairs, undirected_frechet_pairs

THRESHOLDS = {                                             # [m]
    "standard": (0.5, 1.0, 1.5),
    "hard": (0.2, 0.5, 1.0),
    "long_range": (1.0, 1.5, 2.0),
}
RESAMPLED = ("always", "unless_sampled", "never")


@dataclass(frozen=True)
class Convention:
    """What the published evaluations do differently.

    Args:
        num_points: points that a line is resampled to.
        drops_points: predictions of a single vertex are left out; else they are refused.
        prefilter_m: lines whose `dilated` forms do not meet at this radius never match [m]; None for no such filter.
        predictions: "always" resampled, "unless_sampled": not if they have ``num_points`` vertices, or "never".
        dtype: of recall, precision and AP.
    """

    num_points: int = 100
    drops_points: bool = True
    prefilter_m: float | None = 2.0
    predictions: str = "always"
    dtype: type[np.floating] = np.float32

    def __post_init__(self) -> None:
        if self.predictions not in RESAMPLED:
            raise ValueError(f"predictions must be one of {', '.join(RESAMPLED)}, got {self.predictions!r}")

    def sampled(self, elements: MapElements) -> PointSets:
        """The predictions as points, (P, S, D)."""
        if self.predictions == "never":
            return PointSets.padded(elements.lines(), elements.vertices.shape[1])
        points = elements.resampled(self.num_points)
        if self.predictions == "unless_sampled":
            kept = elements.counts == self.num_points
            points[kept] = elements[kept].vertices.reshape(-1, *points.shape[1:])
        return PointSets.full(points)


CONVENTIONS = {
    "vectormapnet": Convention(),
    "maptr": Convention(),
    "maptrv2": Convention(predictions="unless_sampled"),
    "streammapnet": Convention(num_points=200, drops_points=False, prefilter_m=None, dtype=np.float64),
}


@dataclass(frozen=True)
class Measure:
    """How alike two lines are, as a cost that is compared with a threshold.

    Args:
        cost: (predictions, truth, pairs, limit) -> (K,), smaller is better; inf for pairs surely beyond the limit.
        is_distance: the threshold is a distance [m]; else a similarity that must be reached, its cost the negative.
    """

    cost: Callable[[PointSets, PointSets, np.ndarray, float], np.ndarray]
    is_distance: bool = True


MEASURES = {
    "chamfer": Measure(chamfer_pairs),
    "frechet": Measure(undirected_frechet_pairs),
    "near_share": Measure(lambda a, b, pairs, limit: -near_share_pairs(a, b, pairs), is_distance=False),
    "iou": Measure(lambda a, b, pairs, limit: -iou_pairs(a, b, pairs), is_distance=False),
}
