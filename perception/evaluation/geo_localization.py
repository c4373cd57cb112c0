"""Metrics of geo-localization: how far off places are, in kilometres along great circles.

The shares within 1, 25, 200, 750 and 2,500 km (street, city, region, country, continent) are those of Hays and Efros,
"Large-scale image geolocalization", 2015, and of the papers since; those within 25 m, 100 m and 1 km tell a vehicle
whether the right map tile was found.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.evaluator import BaseMetric
from numpy.typing import ArrayLike

from perception.atomic_write import write_json
from perception.geo import checked_latlng, great_circle_km
from perception.geo.s2_cells import id_ranges, leaf_ids
from perception.registry import METRICS
from perception.structures import Frame, GeoPrediction
from perception.structures.geo import UNKNOWN_SCENE

logger = logging.getLogger(__name__)
WORLD_KM = (1.0, 25.0, 200.0, 750.0, 2500.0)
STREET_KM = (0.025, 0.1, 1.0)


def accuracy_within(distances_km: ArrayLike, thresholds_km: Sequence[float] = WORLD_KM) -> np.ndarray:
    """Share of distances that are at most as long as each threshold, which itself counts as within.

    Args:
        distances_km: (N,) great-circle distances.
        thresholds_km: T lengths >= 0.

    Returns:
        (T,) float64 in [0, 1]; NaN if there is no distance.

    Raises:
        ValueError: a distance is NaN, or a threshold is negative.
    """
    distances = np.asarray(distances_km, np.float64)
    if np.isnan(distances).any():
        raise ValueError(f"distances_km must be numbers, got NaN in {int(np.isnan(distances).sum())} places")
    if min(thresholds_km, default=0.0) < 0:
        raise ValueError(f"thresholds_km must be >= 0, got {tuple(thresholds_km)}")
    if not distances.size:
        return np.full(len(thresholds_km), np.nan)
    return (distances[None] <= np.asarray(thresholds_km)[:, None]).mean(axis=1)


@dataclass(frozen=True, eq=False)
class LocatedFrame:
    """What one frame leaves behind.

    Args:
        predicted, true: latitude and longitude [deg].
        inside: whether the true place lies in the predicted cell of each hierarchy.
        scene: predicted and true kind of scene; None if one of them is unknown.
    """

    predicted: tuple[float, float]
    true: tuple[float, float]
    inside: tuple[bool, ...]
    scene: tuple[int, int] | None = None


@METRICS.register_module()
class GeoLocalizationMetric(BaseMetric):
    """Shares of the frames by distance, the median distance, and shares whose cells hold the true place.

    Names: ``acc_25m``, ``acc_1km``, ...; ``median_km``; ``cell_accuracy_0``, ... by hierarchy, coarse to fine, the last
    of which is ``tile_accuracy`` too; ``scene_accuracy`` of the frames whose kind of scene is known. A frame outside
    all cells is scored like any other. Under distributed testing a frame that came twice counts once.

    Args:
        thresholds_km: of the shares.
        output_dir: folder for the file of the scores.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names.
    """

    default_prefix = "geo"

    def __init__(
        self,
        thresholds_km: Sequence[float] = (*STREET_KM, *WORLD_KM[1:]),
        *,
        output_dir: str = "work_dirs/geo_localization",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        accuracy_within([], thresholds_km)                           # a bad threshold shall be told at once
        self.thresholds_km, self.output_dir = tuple(thresholds_km), Path(output_dir)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[GeoPrediction]) -> None:
        """Compare the places of a batch.

        Raises:
            ValueError: a prediction is of another frame, or a frame's place is unknown.
        """
        for frame, sample in zip(data_batch, data_samples, strict=True):
            if frame.token != sample.token:
                raise ValueError(f"predictions of frame {sample.token!r} came with frame {frame.token!r}")
            if frame.wgs84 is None:
                raise ValueError(f"frame {frame.token!r} has no wgs84 to score against")
            self.results.append((frame.token, located(frame.wgs84[:2], sample, frame)))

    def compute_metrics(self, results: list[tuple[str, LocatedFrame]]) -> dict[str, float]:
        """Scores over the frames that were tested; writes them to a file."""
        scores = geo_scores(list(dict(results).values()), self.thresholds_km)
        path = write_json(self.output_dir / "metrics_geo_localization.json", scores)
        logger.info("wrote %s", path)
        return scores


def located(true: tuple[float, float], prediction: GeoPrediction, frame: Frame) -> LocatedFrame:
    """The comparison of one frame. Raises ValueError if the true place is none on Earth."""
    leaf = leaf_ids(checked_latlng([true]))
    low, high = id_ranges(np.array([cell.id for cell in prediction.cells], np.uint64))
    label = UNKNOWN_SCENE if frame.geo_label is None else frame.geo_label.scene
    scene = (prediction.scene, label) if min(prediction.scene, label) >= 0 else None
    inside = tuple(((low <= leaf) & (leaf <= high)).tolist())
    return LocatedFrame((prediction.latitude, prediction.longitude), true, inside, scene)


def geo_scores(frames: Sequence[LocatedFrame], thresholds_km: Sequence[float]) -> dict[str, float]:
    """Scores by name as `GeoLocalizationMetric` tells; none of no frames.

    Raises:
        ValueError: frames have different numbers of hierarchies.
    """
    if not frames:
        return {}
    if len({len(frame.inside) for frame in frames}) > 1:
        raise ValueError("frames must have cells of equally many hierarchies")
    distances = great_circle_km([frame.predicted for frame in frames], [frame.true for frame in frames])
    shares = accuracy_within(distances, thresholds_km)
    scores = {f"acc_{length(km)}": float(share) for km, share in zip(thresholds_km, shares, strict=True)}
    scores["median_km"] = float(np.median(distances))
    inside = np.array([frame.inside for frame in frames]).mean(axis=0)                     # (H,)
    scores |= {f"cell_accuracy_{number}": float(share) for number, share in enumerate(inside)}
    scores["tile_accuracy"] = float(inside[-1])
    scenes = np.array([frame.scene for frame in frames if frame.scene is not None]).reshape(-1, 2)
    if len(scenes):
        scores["scene_accuracy"] = float((scenes[:, 0] == scenes[:, 1]).mean())
    return scores


def length(km: float) -> str:
    """A length in words: 0.025 -> "25m", 2500 -> "2500km"."""
    return f"{km:g}km" if km >= 1 else f"{km * 1000:g}m"
