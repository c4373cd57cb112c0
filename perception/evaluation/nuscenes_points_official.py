"""nuScenes' scores of points by the devkit's own code."""

from __future__ import annotations

from typing import Any

import numpy as np

from perception.datasets.nuscenes_point_labels import POINT_CLASSES, THINGS

from .nuscenes_point_counts import NUM_CODES, PointCounts


def counted_officially(
    true: np.ndarray, found: np.ndarray, instances: np.ndarray | None, found_instances: np.ndarray | None,
    min_points: int,
) -> PointCounts:
    """As `nuscenes_point_counts.counted`."""
    confusion = _confusion_matrix()
    confusion.update(true, found)
    if instances is None or found_instances is None:
        return PointCounts(confusion.global_cm)
    evaluator = _panoptic_evaluator(min_points)
    evaluator.addBatchPanoptic(found, found_instances, true, instances)
    return PointCounts(
        confusion.global_cm, evaluator.pan_tp, evaluator.pan_fp, evaluator.pan_fn, evaluator.pan_iou
    )


def flat_officially(counts: PointCounts) -> dict[str, float]:
    """As `PointCounts.flat`."""
    confusion = _confusion_matrix()
    confusion.global_cm = counts.confusion
    by_class = confusion.get_per_class_iou()
    flat: dict[str, float] = {}
    if np.isfinite(by_class).any():
        flat |= {"mIoU": confusion.get_mean_iou(), "fwIoU": confusion.get_freqweighted_iou()}
    flat |= {f"{name}_IoU": float(by_class[code]) for code, name in enumerate(POINT_CLASSES, 1)}
    if counts.matched is not None:
        flat |= _panoptic(counts)
    return {name: value for name, value in flat.items() if np.isfinite(value)}


def _panoptic(counts: PointCounts) -> dict[str, float]:
    evaluator = _panoptic_evaluator(min_points=0)          # counts of segments are final: no bound is used
    evaluator.px_iou_conf_matrix = counts.confusion.T
    evaluator.pan_tp, evaluator.pan_fp, evaluator.pan_fn = counts.matched, counts.extra, counts.missed
    evaluator.pan_iou = counts.iou
    mean_pq, mean_sq, mean_rq, pq, sq, rq = evaluator.getPQ()
    _, iou = evaluator.getSemIoU()
    things = len(THINGS)
    dagger = np.concatenate([pq[1 : things + 1], iou[things + 1 :]]).mean()
    flat = {"PQ": mean_pq, "SQ": mean_sq, "RQ": mean_rq, "PQ_dagger": dagger}
    flat |= {"PQ_things": pq[1 : things + 1].mean(), "PQ_stuff": pq[things + 1 :].mean()}
    for code, name in enumerate(POINT_CLASSES, 1):
        flat |= {f"{name}_PQ": pq[code], f"{name}_SQ": sq[code], f"{name}_RQ": rq[code]}
    return {name: float(value) for name, value in flat.items()}


def _confusion_matrix() -> Any:
    from nuscenes.eval.lidarseg.utils import ConfusionMatrix

    return ConfusionMatrix(NUM_CODES, ignore_idx=0)


def _panoptic_evaluator(min_points: int) -> Any:
    from nuscenes.eval.panoptic.panoptic_seg_evaluator import PanopticEval

    return PanopticEval(NUM_CODES, ignore=[0], min_points=min_points)
