"""Segmentation metrics against the values that the official evaluation code gave."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from perception.datasets.cityscapes_labels import CATEGORIES, LABELS, PICTURE_LABELS
from perception.datasets.cityscapes_panoptic import ids_to_rgb, panoptic_truth, rgb_to_ids
from perception.evaluation.segmentation.cityscapes_iou import CityscapesIoU
from perception.evaluation.segmentation.instance_ap import InstanceAP
from perception.evaluation.segmentation.lidar_panoptic import LidarPanopticQuality
from perception.evaluation.segmentation.lidar_tracking import LidarPanopticTracking
from perception.evaluation.segmentation.panoptic_quality import GROUPS, PanopticQuality, SegmentTable
from perception.evaluation.segmentation.semantic_iou import LidarsegIoU, SemanticIoU

Arrays = Mapping[str, np.ndarray]
Config = Mapping[str, Any]


def _panoptic_quality(config: Config, inputs: Arrays) -> dict[str, Any]:
    assert config["void_id"] == 0
    quality = PanopticQuality({int(category): bool(thing) for category, thing in config["categories"].items()})
    for truth, segments, predictions, predicted in _numbered(inputs, "gt", "gt_segments", "pred", "pred_segments"):
        table = SegmentTable(segments[:, 0], segments[:, 1], is_crowd=segments[:, 2] > 0)
        quality.update(truth, table, predictions, SegmentTable(predicted[:, 0], predicted[:, 1]))
    scores = quality.compute()
    averages = [scores.averages[group] for group in GROUPS]
    return {
        "category_ids": scores.categories, "tp": scores.tp, "fp": scores.fp, "fn": scores.fn,
        "iou_sum": scores.iou_sum, "per_class": np.stack([scores.pq, scores.sq, scores.rq], axis=1),
        "average": [[average.pq, average.sq, average.rq, average.num_averaged] for average in averages],
    }


def _cityscapes_pixel(config: Config, inputs: Arrays) -> dict[str, Any]:
    assert config["class_names"] == [label.name for label in PICTURE_LABELS]
    assert config["category_names"] == list(CATEGORIES)
    assert config["avg_class_size"] == {label.name: label.average_size for label in LABELS if label.average_size}
    iou = CityscapesIoU()
    for truth, instances, predictions in _numbered(inputs, "gt_label", "gt_instance", "pred_label"):
        iou.update(truth, instances, predictions)
    scores = iou.compute()
    return {
        "class_iou": scores.class_iou, "class_iiou": scores.class_iiou, "category_iou": scores.category_iou,
        "category_iiou": scores.category_iiou, "averages": scores.averages(), "confusion": iou.counts,
    }


def _cityscapes_instance(config: Config, inputs: Arrays) -> dict[str, Any]:
    ids = {label.name: label.id for label in LABELS}
    precision = InstanceAP(
        [ids[name] for name in config["instance_labels"]], overlaps=config["overlaps"],
        min_region=config["min_region_size"],
    )
    height, width = config["shape"]
    for truth, packed, labels, scores in _numbered(inputs, "gt_instance", "pred_masks", "pred_label", "pred_score"):
        masks = np.unpackbits(packed, axis=1, count=height * width).reshape(-1, height, width)
        precision.update(truth, masks, labels, scores)
    found = precision.compute()
    return {"ap": found.ap, "mean_ap": [found.mean, found.mean50]}


def _cityscapes_panoptic_conversion(config: Config, inputs: Arrays) -> dict[str, Any]:
    assert config["columns"] == ["id", "category_id", "iscrowd", "area", "x", "y", "w", "h"]
    truth = panoptic_truth(inputs["instance"])
    rest = [truth.is_crowd, truth.areas, *truth.boxes.T]
    colours = ids_to_rgb(truth.ids)
    np.testing.assert_array_equal(rgb_to_ids(colours), truth.ids)
    return {
        "segments": np.stack([truth.segment_ids, truth.label_ids, *rest], axis=1),
        "segments_trainid": np.stack([truth.segment_ids, truth.train_ids, *rest], axis=1), "png": colours,
    }


def _semantic_miou(config: Config, inputs: Arrays) -> dict[str, Any]:
    iou = SemanticIoU(config["num_classes"], config["ignore_label"])
    for truth, predictions in _numbered(inputs, "gt", "pred"):
        iou.update(truth, predictions)
    scores = iou.compute()
    means = scores.percent()
    return {
        "iou": 100 * scores.iou, "acc": 100 * scores.accuracy, "summary": [means[name] for name in config["summary"]],
    }


def _nuscenes_lidarseg(config: Config, inputs: Arrays) -> dict[str, Any]:
    assert config["ignore_idx"] == 0
    iou = LidarsegIoU(config["num_classes"])
    for truth, predictions in _numbered(inputs, "gt", "pred"):
        iou.update(truth, predictions)
    scores = iou.compute()
    return {"iou": scores.iou, "miou_fwiou": [scores.miou, scores.fwiou], "confusion": iou.counts}


def _nuscenes_panoptic(config: Config, inputs: Arrays) -> dict[str, Any]:
    assert config["ignore"] == [0]
    quality = LidarPanopticQuality(config["n_classes"], min_points=config["min_points"])
    for truth, predictions in _numbered(inputs, "gt", "pred"):
        quality.update(truth, predictions)
    scores = quality.compute()
    means = scores.means()
    return {
        "mean": [means[name] for name in config["mean"]],
        "per_class": [getattr(scores, name) for name in config["per_class"]],
        "tp_fp_fn": [scores.tp, scores.fp, scores.fn],
    }


def _nuscenes_panoptic_tracking(config: Config, inputs: Arrays) -> dict[str, Any]:
    assert (config["ignore"], config["iou_thr"]) == ([0], 0.5)
    tracking = LidarPanopticTracking(config["n_classes"], config["min_stuff_cls_id"], config["min_points"])
    for scene in range(config["scenes"]):
        frames = range(config["frames"])
        tracking.update(*([inputs[f"s{scene}.{kind}{frame}"] for frame in frames] for kind in ("gt", "pred")))
    scores = tracking.compute()
    summary = scores.summary()
    return {
        "summary": [summary[name] for name in config["summary"]], "ids": scores.id_switches,
        "iou": scores.panoptic.iou, "ptq": scores.ptq, "sptq": scores.sptq,
    }


CASES: dict[str, Callable[[Config, Arrays], dict[str, Any]]] = {
    "pq": _panoptic_quality,
    "cityscapes_pixel": _cityscapes_pixel,
    "cityscapes_instance": _cityscapes_instance,
    "cityscapes_panoptic_conversion": _cityscapes_panoptic_conversion,
    "semantic_miou": _semantic_miou,
    "nuscenes_lidarseg": _nuscenes_lidarseg,
    "nuscenes_panoptic": _nuscenes_panoptic,
    "nuscenes_panoptic_tracking": _nuscenes_panoptic_tracking,
}


@pytest.mark.golden_files("seg_eval", pattern="*.*")
def test_every_value_equals_the_official_scripts(golden_file: Path):
    case = golden_file.stem.split("__")[0]
    with safe_open(golden_file, "np") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no dictionary
    inputs, expected = ({key[len(kind) :]: value for key, value in tensors.items() if key.startswith(kind)}
                        for kind in ("in.", "out."))
    found = CASES[case](config, inputs)
    assert expected
    tolerance = 1e-6 if case == "nuscenes_panoptic_tracking" else 1e-9     # there the official IoUs are float32
    for name, value in expected.items():
        ours = np.asarray(found[name])
        if ours.dtype.kind == "f":
            ours = np.where(np.isnan(ours), config.get("nan_code", np.nan), ours)
        atol = 0 if value.dtype.kind in "iu" else tolerance
        np.testing.assert_allclose(ours, value, rtol=0, atol=atol, err_msg=name)


def _numbered(inputs: Arrays, *names: str) -> list[tuple[np.ndarray, ...]]:
    """The tensors of these names and the numbers 0, 1, ..., as many as there are."""
    count = sum(key.removeprefix(names[0]).isdigit() for key in inputs if key.startswith(names[0]))
    assert count
    return [tuple(inputs[f"{name}{number}"] for name in names) for number in range(count)]
