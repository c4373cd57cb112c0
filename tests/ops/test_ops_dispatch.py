import importlib.util
import os
import subprocess
import sys

import pytest
import torch

import perception_ops
from perception_ops.checks import check_device

KERNELS = (
    "bev_gather", "bev_scatter", "circle_nms", "group_attention", "group_attention_backward", "group_layer",
    "hash_lookup", "hash_lookup_backward", "lean_decode", "lif_scan", "lif_scan_backward", "points_in_boxes",
    "rotated_iou_bev", "rotated_iou_bev_aligned", "rotated_nms", "segment_max", "segment_max_backward", "segment_sum",
    "selective_scan", "selective_scan_backward", "voxelize", "window_partition",
)
REPORT = "import perception_ops as ops; print(ops.native_available(), ops.native_kernels())"


def run_python(code: str, mode: str | None) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if key != "PERCEPTION_OPS"}
    return subprocess.run(
        [sys.executable, "-c", code], env=env | ({} if mode is None else {"PERCEPTION_OPS": mode}),
        capture_output=True, text=True, check=False,
    )


def test_reference_mode_attaches_no_kernel_and_gives_the_same_groups():
    code = f"""{REPORT}
import torch
coords = torch.tensor([[0, 0, 1, 2], [0, 0, 0, 3], [1, 0, 2, 2]], dtype=torch.int32)
print(ops.window_partition(coords, 2, (4, 4), (2, 2), 2).orders.tolist())
"""
    coords = torch.tensor([[0, 0, 1, 2], [0, 0, 0, 3], [1, 0, 2, 2]], dtype=torch.int32)
    here = perception_ops.window_partition(coords, 2, (4, 4), (2, 2), 2).orders.tolist()
    assert run_python(code, "reference").stdout.splitlines() == ["False ()", str(here)]


@pytest.mark.skipif(importlib.util.find_spec("perception_ops._native") is None, reason="installed without a compiler")
@pytest.mark.parametrize("mode", [None, ""])
def test_built_kernels_are_used_unless_switched_off(mode):
    assert run_python(REPORT, mode).stdout.strip() == f"True {KERNELS}"


def test_an_unknown_mode_is_refused():
    failed = run_python(REPORT, "refrence")
    assert failed.returncode == 1
    assert "ValueError: PERCEPTION_OPS must be one of auto, reference or unset, got 'refrence'" in failed.stderr


def test_tensors_of_two_devices_are_refused_by_name():
    with pytest.raises(ValueError, match="index must lie on cpu as features does, got meta"):
        check_device("features", torch.zeros(2), index=torch.zeros(2, device="meta"), valid=None)


def test_listed_kernels_are_ops():
    listed = perception_ops.native_kernels() + perception_ops.cuda_kernels()
    assert all(hasattr(torch.ops.perception, name) for name in listed)
    assert perception_ops.native_available() == bool(perception_ops.native_kernels())
