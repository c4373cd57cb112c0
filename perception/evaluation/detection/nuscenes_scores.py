"""The numbers of the nuScenes detection benchmark: AP and true-positive errors by class, mAP and NDS."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .nuscenes_ap import Curves
from .nuscenes_config import NuScenesConfig

ERRORS = {                                                 # devkit's name: ours, with the unit
    "trans_err": "ATE_m", "scale_err": "ASE", "orient_err": "AOE_rad", "vel_err": "AVE_mps", "attr_err": "AAE",
}
WITHOUT_MEANING = {"traffic_cone": ("attr_err", "vel_err", "orient_err"), "barrier": ("attr_err", "vel_err")}


@dataclass(frozen=True)
class NuScenesScores:
    """What the devkit says of a set of predictions.

    Args:
        summary: the devkit's ``metrics_summary.json``: mean_ap, nd_score, label_aps, label_tp_errors ...
        curves: its ``metrics_details.json``: 101 samples of precision, confidence and errors by "class:threshold".
        num_ground_truth: boxes that were left by the filters.
        num_predictions: boxes that were left by the filters.
    """

    summary: dict[str, Any]
    curves: dict[str, Any]
    num_ground_truth: int
    num_predictions: int

    def flat(self) -> dict[str, float]:
        """One number a name: NDS, mAP, mATE_m ..., then car_AP, car_AP_0.5m ..., car_ATE_m ... as far as defined."""
        flat = {"NDS": self.summary["nd_score"], "mAP": self.summary["mean_ap"]}
        flat |= {f"m{ours}": self.summary["tp_errors"][devkit] for devkit, ours in ERRORS.items()}
        for name in self.summary["mean_dist_aps"]:
            flat[f"{name}_AP"] = self.summary["mean_dist_aps"][name]
            flat |= {f"{name}_AP_{distance}m": ap for distance, ap in self.summary["label_aps"][name].items()}
            flat |= {f"{name}_{ours}": self.summary["label_tp_errors"][name][devkit] for devkit, ours in ERRORS.items()}
        return {name: float(value) for name, value in flat.items() if not math.isnan(value)}


def summarize(curves: Mapping[str, Mapping[float, Curves]], config: NuScenesConfig) -> dict[str, Any]:
    """The devkit's summary of the curves by class and threshold, without the time that it took."""
    aps = {
        name: {distance: _average_precision(curves[name][distance], config) for distance in config.dist_ths}
        for name in config.class_range
    }
    errors = {
        name: {error: _mean_error(curves[name][config.dist_th_tp], name, error, config) for error in ERRORS}
        for name in config.class_range
    }
    mean_aps = {name: np.mean(list(by_distance.values())) for name, by_distance in aps.items()}
    mean_ap = float(np.mean(list(mean_aps.values())))
    mean_errors = {error: float(np.nanmean([errors[name][error] for name in errors])) for error in ERRORS}
    scores = {error: max(0.0, 1.0 - mean) for error, mean in mean_errors.items()}
    total = float(config.mean_ap_weight * mean_ap + np.sum(list(scores.values())))
    return {
        "label_aps": aps, "mean_dist_aps": mean_aps, "mean_ap": mean_ap, "label_tp_errors": errors,
        "tp_errors": mean_errors, "tp_scores": scores,
        "nd_score": total / float(config.mean_ap_weight + len(scores)), "eval_time": None, "cfg": config.serialize(),
    }


def _first_index(config: NuScenesConfig) -> int:
    """Of the operating points that count: the first behind the least recall."""
    return round(100 * config.min_recall) + 1


def _average_precision(curves: Curves, config: NuScenesConfig) -> float:
    precision = curves["precision"][_first_index(config) :] - config.min_precision
    precision[precision < 0] = 0
    return float(np.mean(precision)) / (1.0 - config.min_precision)


def _mean_error(curves: Curves, name: str, error: str, config: NuScenesConfig) -> float:
    """Up to the largest recall that was reached, which is where the confidence is not 0; 1 if that is not enough."""
    if error in WITHOUT_MEANING.get(name, ()):
        return math.nan
    reached = np.flatnonzero(curves["confidence"])
    last = reached[-1] if len(reached) else 0
    first = _first_index(config)
    return 1.0 if last < first else float(np.mean(curves[error][first : last + 1]))
