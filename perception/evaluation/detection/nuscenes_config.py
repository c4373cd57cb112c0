"""The settings of the nuScenes detection benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..nuscenes_results import DETECTION_NAMES, MAX_BOXES_PER_SAMPLE


def _ranges() -> dict[str, float]:
    return {
        "car": 50, "truck": 50, "bus": 50, "trailer": 50, "construction_vehicle": 50, "pedestrian": 40,
        "motorcycle": 40, "bicycle": 40, "traffic_cone": 30, "barrier": 30,
    }


@dataclass(frozen=True)
class NuScenesConfig:
    """``detection_cvpr_2019`` of the devkit, field by field.

    Args:
        class_range: range up to which boxes of a class count [m]; its order is that of the classes in the scores.
        dist_fcn: what is compared with the thresholds; only "center_distance".
        dist_ths: matching thresholds [m].
        dist_th_tp: the one of them at which the true-positive errors are taken [m].
        min_recall: operating points up to this recall do not count.
        min_precision: precision up to this does not count.
        max_boxes_per_sample: most predictions that a sample may have.
        mean_ap_weight: of mAP in NDS, where each of the five errors has 1.

    Raises:
        ValueError: classes, thresholds or limits that the devkit does not take either.
    """

    class_range: Mapping[str, float] = field(default_factory=_ranges)
    dist_fcn: str = "center_distance"
    dist_ths: Sequence[float] = (0.5, 1.0, 2.0, 4.0)
    dist_th_tp: float = 2.0
    min_recall: float = 0.1
    min_precision: float = 0.1
    max_boxes_per_sample: int = MAX_BOXES_PER_SAMPLE
    mean_ap_weight: float = 5

    def __post_init__(self) -> None:
        if set(self.class_range) != set(DETECTION_NAMES):
            raise ValueError(f"class_range must have the classes {DETECTION_NAMES}, got {tuple(self.class_range)}")
        if self.dist_th_tp not in self.dist_ths:
            raise ValueError(f"dist_th_tp must be one of {list(self.dist_ths)} m, got {self.dist_th_tp}")
        if self.dist_fcn != "center_distance":
            raise ValueError(f"dist_fcn must be 'center_distance', got {self.dist_fcn!r}")
        if not 0 <= self.min_recall <= 1:
            raise ValueError(f"min_recall must lie in [0, 1], got {self.min_recall}")
        if not 0 <= self.min_precision < 1:
            raise ValueError(f"min_precision must lie in [0, 1), got {self.min_precision}")

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any] | None) -> NuScenesConfig:
        """Of a serialized config of the devkit; None stands for the default. Raises ValueError if a field is absent."""
        if config is None:
            return cls()
        names = [setting.name for setting in fields(cls)]
        absent = [name for name in names if name not in config]
        if absent:
            raise ValueError(f"config must have the fields {names}, got none of the name {absent[0]!r}")
        return cls(**{name: config[name] for name in names})

    def serialize(self) -> dict[str, Any]:
        """As the devkit writes it."""
        return {**asdict(self), "class_range": dict(self.class_range), "dist_ths": list(self.dist_ths)}
