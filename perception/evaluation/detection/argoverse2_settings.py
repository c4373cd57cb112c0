"""What Argoverse 2's detection scores depend on: the fields of av2's ``DetectionCfg`` that change a number."""

from __future__ import annotations

import math
from dataclasses import dataclass

CATEGORIES = (
    "ARTICULATED_BUS", "BICYCLE", "BICYCLIST", "BOLLARD", "BOX_TRUCK", "BUS", "CONSTRUCTION_BARREL",
    "CONSTRUCTION_CONE", "DOG", "LARGE_VEHICLE", "MESSAGE_BOARD_TRAILER", "MOBILE_PEDESTRIAN_CROSSING_SIGN",
    "MOTORCYCLE", "MOTORCYCLIST", "PEDESTRIAN", "REGULAR_VEHICLE", "SCHOOL_BUS", "SIGN", "STOP_SIGN", "STROLLER",
    "TRUCK", "TRUCK_CAB", "VEHICULAR_TRAILER", "WHEELCHAIR", "WHEELED_DEVICE", "WHEELED_RIDER",
)
NUM_THRESHOLDS = 4                                         # av2 writes its errors behind four columns of flags
WORST_SCALE = 1.0
WORST_YAW_RAD = math.pi


@dataclass(frozen=True)
class Argoverse2Settings:
    """Thresholds and limits, by av2's names.

    Args:
        affinity_thresholds_m: four distances of centres below which a detection is right [m].
        categories: those in the table and in the average.
        max_num_dts_per_category: detections of a category in a sweep that count, the best ones.
        max_range_m: boxes from there on do not count [m].
        num_recall_samples: recalls in [0, 1] at which the precision is read.
        tp_threshold_m: the threshold of which detections have errors, and the worst translation error [m].

    Raises:
        ValueError: a field is out of its range.
    """

    affinity_thresholds_m: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    categories: tuple[str, ...] = CATEGORIES
    max_num_dts_per_category: int = 100
    max_range_m: float = 150.0
    num_recall_samples: int = 101
    tp_threshold_m: float = 2.0

    def __post_init__(self) -> None:
        limits = self.affinity_thresholds_m
        if len(limits) != NUM_THRESHOLDS or len(set(limits)) != NUM_THRESHOLDS or not all(t > 0.0 for t in limits):
            raise ValueError(f"affinity_thresholds_m must be {NUM_THRESHOLDS} different numbers above 0, got {limits}")
        if not self.categories or len(set(self.categories)) != len(self.categories):
            raise ValueError(f"categories must be different names, one or more, got {self.categories}")
        for name, least in (("max_num_dts_per_category", 1), ("num_recall_samples", 2)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be >= {least}, got {getattr(self, name)}")
        for name in ("max_range_m", "tp_threshold_m"):
            if not getattr(self, name) > 0.0:
                raise ValueError(f"{name} must be > 0, got {getattr(self, name)}")

    @property
    def worst_errors(self) -> tuple[float, float, float]:
        """ATE [m], ASE and AOE [rad] of a category without a true positive."""
        return self.tp_threshold_m, WORST_SCALE, WORST_YAW_RAD
