"""Golden cases that FlatFormer and CenterPoint share: reading a file, and the centre head built from its config."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from perception.models.heads.center_head import CenterHead
from perception.structures import Annotations, Boxes3D
from perception.structures.boxes3d import wrap_angle

UNKNOWN = -999.0                                     # stands for NaN in the files


@dataclass(frozen=True)
class Golden:
    """One golden file: its tensors without prefix, by kind, and its config."""

    case: str
    config: dict[str, Any]
    inputs: dict[str, Tensor]
    state: dict[str, Tensor]
    out: dict[str, Tensor]
    grad: dict[str, Tensor]


def read_golden(path: Path) -> Golden:
    """The file, with the state of another one if its config says so."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # safe_open is no dictionary
    kinds = {kind: _of_kind(tensors, kind) for kind in ("in", "state", "out", "grad")}
    if "state_from" in config:
        kinds["state"] = read_golden(path.with_name(f"{config['state_from']}.safetensors")).state
    return Golden(path.stem.split("__")[0], config, kinds["in"], kinds["state"], kinds["out"], kinds["grad"])


def _of_kind(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {key[len(kind) + 1 :]: value for key, value in tensors.items() if key.startswith(f"{kind}.")}


def load_state(module: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load every tensor, refuse any that is left over or absent, and go to eval mode."""
    module.load_state_dict(dict(state), strict=True)
    module.eval()


def task_maps(tensors: Mapping[str, Tensor], prefix: str = "") -> list[dict[str, Tensor]]:
    """``{prefix}task{t}.{branch}`` tensors as one dictionary a task."""
    tasks: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(f"{prefix}task") and key.count(".") == prefix.count(".") + 1:
            task, branch = key.removeprefix(f"{prefix}task").split(".")
            tasks.setdefault(int(task), {})[branch] = value
    return [tasks[task] for task in sorted(tasks)]


def coder_config(coder: Mapping[str, Any], iou_power: Any = 2.0) -> dict[str, Any]:
    return {
        "type": "CenterCoder", "box_convention": "legacy", "voxel_size": coder["voxel_size"],
        "point_range": coder["pc_range"], "out_size_factor": coder["out_size_factor"], "max_num": coder["max_num"],
        "score_threshold": coder["score_threshold"], "post_center_range": coder["post_center_range"],
        "iou_power": iou_power,
    }


def coder_from_train(train: Mapping[str, Any]) -> dict[str, Any]:
    """Coder of the files that hold no decoding config."""
    return {
        "type": "CenterCoder", "box_convention": "legacy", "voxel_size": train["voxel_size"],
        "point_range": train["point_cloud_range"], "out_size_factor": train["out_size_factor"],
    }


def nms_config(test: Mapping[str, Any]) -> dict[str, Any]:
    if test["nms_type"] == "circle":
        return {"type": "CircleNMS", "squared_radius": test["min_radius"], "post_max": test["post_max_size"]}
    return {
        "type": "RotateNMS", "threshold": test["nms_thr"], "pre_max": test["pre_max_size"],
        "post_max": test["post_max_size"], "score_threshold": test["score_threshold"],
        "center_range": test["post_center_limit_range"],
    }


def build_head(
    config: Mapping[str, Any],
    *,
    coder: Mapping[str, Any],
    common: Mapping[str, Any] | None = None,
    box_weight: float = 1.0,
    **arguments: Any,
) -> CenterHead:
    """The head of a file; ``config`` has at least "tasks", and "train" or "test" where the case needs them."""
    train = config.get("train", {})
    has_iou = "iou" in (common or {})
    if train:
        arguments |= {
            "max_objects": train["max_objs"],
            "min_overlap": train["gaussian_overlap"],
            "min_radius": train["min_radius"],
            "loss_box": {"type": "L1BoxLoss", "code_weights": train["code_weights"], "loss_weight": box_weight},
        }
    if has_iou:
        arguments["loss_iou"] = {"type": "IoUBranchLoss", "loss_weight": train.get("iou_weight", 1.0)}
        arguments["raised_iou"] = True
    nms = nms_config(config["test"]) if "test" in config else {"type": "RotateNMS"}
    tasks = [task["class_names"] for task in config["tasks"]]
    return CenterHead(tasks=tasks, coder=coder, nms=nms, common_heads=common, **{"in_channels": 8, **arguments})


def modern_boxes(rows: Tensor) -> Tensor:
    """Rows (K, 9) of a file, bottom z, width before length, clockwise yaw, as `Boxes3D` rows; -999 becomes NaN."""
    rows = torch.where(rows == UNKNOWN, torch.nan, rows)
    center_z = rows[:, 2:3] + rows[:, 5:6] / 2
    yaw = -rows[:, 6:7] - math.pi / 2
    return torch.cat([rows[:, :2], center_z, rows[:, [4, 3, 5]], yaw, rows[:, 7:]], dim=1)


def annotations_of(golden: Golden) -> list[Annotations]:
    """Ground truth of each sample of a file."""
    classes = tuple(name for task in golden.config["tasks"] for name in task["class_names"])
    count = sum(key.startswith("gt_boxes") for key in golden.inputs)
    return [
        Annotations(Boxes3D(modern_boxes(golden.inputs[f"gt_boxes{i}"])), golden.inputs[f"gt_labels{i}"], classes)
        for i in range(count)
    ]


def assert_same_boxes(boxes: Tensor, expected: Tensor, *, is_bottom: bool, atol: float = 1e-5) -> None:
    """Compare `Boxes3D` rows with rows of a file, in the file's convention."""
    z = boxes[:, 2:3] - boxes[:, 5:6] / 2 if is_bottom else boxes[:, 2:3]
    ours = torch.cat([boxes[:, :2], z, boxes[:, [4, 3, 5]], boxes[:, 7:]], dim=1)
    columns = [0, 1, 2, 3, 4, 5, 7, 8]
    torch.testing.assert_close(ours, expected[:, columns], atol=atol, rtol=1e-4)
    turn = wrap_angle(-boxes[:, 6] - math.pi / 2 - expected[:, 6])
    torch.testing.assert_close(turn, torch.zeros_like(turn), atol=max(atol, 1e-5), rtol=0)


def check_targets(golden: Golden) -> None:
    """Heatmaps, codes, cells and masks of every task."""
    H, W = golden.out["task0.heatmap"].shape[2:]
    head = build_head(golden.config, coder=coder_from_train(golden.config["train"]))
    for target, expected in zip(head.targets(annotations_of(golden), (H, W)), task_maps(golden.out), strict=True):
        torch.testing.assert_close(target.heatmap, expected["heatmap"], atol=1e-5, rtol=1e-4)
        assert torch.equal(target.index, expected["ind"])
        assert torch.equal(target.mask, expected["mask"].bool())
        codes = torch.where(expected["anno_box"] == UNKNOWN, torch.nan, expected["anno_box"])
        torch.testing.assert_close(target.codes, codes, atol=1e-5, rtol=1e-4, equal_nan=True)


def check_losses(golden: Golden) -> None:
    """Losses of every task and the gradients of their sum with respect to the maps."""
    maps = [{k: v.requires_grad_() for k, v in task.items()} for task in task_maps(golden.inputs, "pred.")]
    H, W = maps[0]["heatmap"].shape[2:]
    common = {name: (plane.shape[1], 2) for name, plane in maps[0].items() if name != "heatmap"}
    head = build_head(
        golden.config, coder=coder_from_train(golden.config["train"]), common=common,
        box_weight=golden.config["loss_bbox_weight"],
    )
    losses = head.loss(maps, head.targets(annotations_of(golden), (H, W)))
    names = {"loss_heatmap": "loss_heatmap", "loss_bbox": "loss_box", "loss_iou": "loss_iou"}
    for key, expected in golden.out.items():
        if key.startswith("task"):
            task, name = key.split(".")
            torch.testing.assert_close(losses[f"{task}.{names[name]}"], expected[0], atol=1e-5, rtol=1e-4)
    sum(losses.values()).backward()
    for key, expected in golden.grad.items():
        task, branch = key.removeprefix("task").split(".")
        grad = maps[int(task)][branch].grad
        torch.testing.assert_close(torch.zeros_like(expected) if grad is None else grad, expected, atol=1e-5, rtol=1e-4)
    if "iou_target_lasttask" in golden.out:
        _check_iou_target(head, golden, maps[-1])


def _check_iou_target(head: CenterHead, golden: Golden, maps: dict[str, Tensor]) -> None:
    expected = golden.out["iou_target_lasttask"]
    H, W = maps["heatmap"].shape[2:]
    target = head.targets(annotations_of(golden), (H, W))[-1]
    iou = head.iou_targets(maps, target)
    torch.testing.assert_close(iou, expected, atol=1e-4, rtol=1e-4)


def check_decode(golden: Golden) -> None:
    """Boxes of every task before suppression, and the final ones of each sample in the order of the file."""
    maps = task_maps(golden.inputs)
    common = {name: (plane.shape[1], 2) for name, plane in maps[0].items() if name != "heatmap"}
    coder = coder_config(golden.config["coder"], golden.config["test"].get("iou_pow", 2.0))
    head = build_head(golden.config, coder=coder, common=common)
    for t, task in enumerate(maps):
        for i, decoded in enumerate(head.coder.decode(task)):
            prefix = f"decoded.task{t}."
            assert torch.equal(decoded.labels, golden.out[f"{prefix}labels{i}"])
            torch.testing.assert_close(decoded.scores, golden.out[f"{prefix}scores{i}"], atol=1e-5, rtol=1e-4)
            assert_same_boxes(decoded.boxes, golden.out[f"{prefix}boxes{i}"], is_bottom=False)
    check_detections(head, maps, golden)


def check_detections(head: CenterHead, maps: list[dict[str, Tensor]], golden: Golden, atol: float = 1e-5) -> None:
    """Final boxes, scores and labels of each sample."""
    for i, detections in enumerate(head.decode(maps)):
        assert torch.equal(detections.labels, golden.out[f"labels{i}"])
        torch.testing.assert_close(detections.scores, golden.out[f"scores{i}"], atol=atol, rtol=1e-4)
        assert_same_boxes(detections.boxes, golden.out[f"boxes{i}"], is_bottom=True, atol=atol)


def check_head(golden: Golden, state: Mapping[str, Tensor]) -> None:
    """The shared map and every branch of every task."""
    config = golden.config
    head = build_head(
        config, coder=coder_config(config["coder"]), common=config["common"], box_weight=config["lw"],
        in_channels=config["cin"], shared_channels=config["share"], head_channels=config["head_conv"],
        shared_eps=config.get("shared_bn_eps", 1e-3),
    )
    load_state(head, state)
    shared = head.shared(golden.inputs["x"])
    torch.testing.assert_close(shared, golden.out["shared"], atol=1e-5, rtol=1e-4)
    for ours, expected in zip(head(golden.inputs["x"]), task_maps(golden.out), strict=True):
        assert set(ours) == set(expected)
        for branch, plane in expected.items():
            torch.testing.assert_close(ours[branch], plane, atol=1e-5, rtol=1e-4)
