"""Which ops are timed at which sizes, and what a row of one holds."""

from __future__ import annotations

import pytest
import torch

import perception_ops
from perception.engine.benchmark.op_cases import OPS
from perception.engine.benchmark.ops import benchmark_ops, plan_ops
from perception.engine.benchmark.setting import Setting
from perception.errors import ConfigError

SETTING = Setting(torch.bfloat16, torch.device("cpu"), gbps=10.0, gflops=100.0)


def test_every_public_op_is_timed():
    kinds = {name.partition("/")[0] for name in OPS}
    facts = {
        "cuda", "cuda_kernels", "is_portable", "native_available", "native_kernels", "portable_ops",
        "serves_group_layer",
    }
    no_ops = facts | {"GroupLayerWeights", "WindowPartition"}
    for name in set(perception_ops.__all__) - no_ops:
        assert name in kinds or (name == "segment_reduce" and {"segment_max", "segment_mean"} <= kinds), name


def test_every_kernel_is_timed():
    assert set(perception_ops.native_kernels()) <= {op.kernel for op in OPS.values()}


def test_sizes_beyond_an_ops_largest_are_left_out_and_the_rest_ascend():
    plan = plan_ops(["rotated_nms", "voxelize"], [20_000, 500, 500])
    assert plan == [("rotated_nms", 500), ("voxelize", 500), ("voxelize", 20_000)]


def test_each_op_has_sizes_of_its_own():
    assert {name: [size for other, size in plan_ops() if other == name] for name in OPS} == {
        name: list(op.sizes) for name, op in OPS.items()
    }


@pytest.mark.parametrize(
    ("only", "sizes", "message"),
    [
        (["rotated_mns"], None, r'there is no op "rotated_mns" \(did you mean "rotated_nms"\?\)'),
        (["circle_nms"], [20_000], "sizes: expected one of at most 10000, got 20000"),
    ],
)
def test_what_cannot_be_timed_is_refused(only: list[str], sizes: list[int] | None, message: str):
    with pytest.raises(ConfigError, match=message):
        plan_ops(only, sizes)


@pytest.mark.skipif(not perception_ops.native_available(), reason="no native kernels: nothing to compare")
def test_a_row_compares_an_op_with_its_reference():
    geometry, attention = benchmark_ops([("voxelize", 500), ("group_attention/69", 500)], SETTING, repeats=1)
    assert (geometry.name, geometry.size, geometry.dtype) == ("voxelize", 500, "float32")
    assert (attention.name, attention.size, attention.dtype) == ("group_attention/69", 500, "bfloat16")
    assert geometry.ratio == pytest.approx(geometry.reference_ms / geometry.ms)
    moved = 500 * (12 + 8 + 8)                             # points, samples and inverse [bytes], besides the cells
    assert geometry.gbps > moved / geometry.ms / 1e6
    assert geometry.fraction_of_peak == pytest.approx(geometry.gbps / 10.0)
    assert attention.gflops == pytest.approx(attention.gflop / attention.ms * 1e3)
    assert attention.fraction_of_peak == pytest.approx(attention.gflops / 100.0)
    assert 0.0 < attention.peak_mib < attention.reference_peak_mib


def test_a_reference_beyond_the_budget_is_left_out():
    plan = [("voxelize/unique", 1_000), ("voxelize/unique", 10_000)]
    small, large = benchmark_ops(plan, SETTING, repeats=1, budget_s=1e-6)
    assert small.reference_ms is not None                  # what it would take is not known yet
    assert (large.reference_ms, large.ratio, large.reference_peak_mib) == (None, None, None)
    assert large.ms > 0


@pytest.mark.skipif("rotated_nms" in perception_ops.native_kernels(), reason="rotated_nms has a kernel of its own")
def test_an_op_without_a_kernel_is_not_compared_with_itself():
    (row,) = benchmark_ops([("rotated_nms", 50)], SETTING, repeats=1)
    assert row.reference_ms is None
