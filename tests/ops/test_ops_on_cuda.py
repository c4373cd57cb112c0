"""Every op gives on a GPU what it gives on the CPU, on the CUDA kernels where they were built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from perception_ops import (
    bev_scatter,
    circle_nms,
    cuda_kernels,
    hash_lookup,
    lean_decode,
    lif_scan,
    points_in_boxes,
    rotated_iou_bev,
    rotated_nms,
    segment_reduce,
    selective_scan,
    voxelize,
    window_partition,
)

pytestmark = [
    pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
]
needs_kernels = pytest.mark.skipif(not cuda_kernels(), reason="built without PERCEPTION_CUDA=ON")
RANGE = [-16.0, -16.0, -3.0, 16.0, 16.0, 3.0]


def draw() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def cloud(count: int = 5000) -> Tensor:
    return (torch.rand(count, 3, generator=draw()) - 0.5) * torch.tensor([32.0, 32.0, 6.0])


def cells(count: int = 800) -> Tensor:
    """Distinct cells of a 40 x 40 grid in two samples, ordered by sample."""
    flat = torch.randperm(3200, generator=draw())[:count].sort().values
    return torch.stack([flat // 1600, torch.zeros_like(flat), flat // 40 % 40, flat % 40], dim=1).int()


def boxes(count: int = 200) -> Tensor:
    """(count, 7) boxes of 1 to 5 m that overlap here and there."""
    center = cloud(count)
    return torch.cat([center, 1 + 4 * torch.rand(count, 3, generator=draw()), center[:, :1]], dim=1)


def bev(count: int = 200) -> Tensor:
    return boxes(count)[:, [0, 1, 3, 4, 6]].contiguous()


def scores(count: int = 200) -> Tensor:
    return torch.randperm(count, generator=draw()) / count


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=draw())


def scan_inputs() -> tuple[Tensor, ...]:
    """u, delta, A, B, C of 10 channels in two groups and 700 steps."""
    shapes = ((2, 10, 700), (2, 10, 700), (10, 3), (2, 2, 3, 700), (2, 2, 3, 700))
    u, delta, A, B, C = (torch.randn(shape, generator=draw()) for shape in shapes)
    return u, delta.abs() * 0.3, -A.exp(), B, C


CASES: dict[str, tuple[Callable[..., Any], Sequence[Any]]] = {
    "voxelize": (voxelize, (cloud(), torch.arange(5000) % 3, [0.5, 0.5, 6.0], RANGE, [64, 64, 1])),
    "window_partition": (window_partition, (cells(), 2, (40, 40), (9, 9), 69)),
    "segment_max": (segment_reduce, (cloud(), torch.arange(5000) % 700, 701, "max")),
    "segment_mean": (segment_reduce, (cloud(), torch.arange(5000) % 700, 701, "mean")),
    "bev_scatter": (bev_scatter, (torch.rand(800, 16, generator=draw()), cells(), 2, 40, 40)),
    "rotated_iou_bev": (rotated_iou_bev, (bev(), bev(150))),
    "rotated_nms": (rotated_nms, (bev(), scores(), 0.2)),
    "circle_nms": (circle_nms, (bev()[:, :2].contiguous(), scores(), 4.0)),
    "points_in_boxes": (points_in_boxes, (cloud(), boxes())),
    "lean_decode": (lean_decode, (normal(3, 8, 1, 64), normal(3, 2, 5000, 64), normal(3, 2, 5000, 64))),
    "hash_lookup": (hash_lookup, (scores(300).view(100, 3), torch.arange(300).view(100, 3) % 16, normal(48, 40))),
    "lif_scan": (lif_scan, (2 * normal(2, 700, 40), normal(2, 40))),
    "selective_scan": (selective_scan, scan_inputs()),
}


NATIVE_CASES = (
    "bev_scatter", "circle_nms", "hash_lookup", "lean_decode", "lif_scan", "points_in_boxes", "rotated_iou_bev",
    "rotated_nms", "segment_max", "segment_mean", "selective_scan", "voxelize", "window_partition",
)


def on(device: str, arguments: Sequence[Any]) -> list[Any]:
    return [value.to(device) if isinstance(value, Tensor) else value for value in arguments]


def tensors(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


@pytest.mark.parametrize("name", CASES)
def test_an_op_gives_the_same_on_both_devices(name: str):
    op, arguments = CASES[name]
    for ours, expected in zip(tensors(op(*on("cuda", arguments))), tensors(op(*arguments)), strict=True):
        assert ours.is_cuda
        torch.testing.assert_close(ours.cpu(), expected, atol=1e-5, rtol=1e-5)     # sums in another order


@pytest.mark.parametrize("name", ["segment_max", "segment_mean", "bev_scatter", "lean_decode", "hash_lookup"])
def test_gradients_are_the_same_on_both_devices(name: str):
    op, arguments = CASES[name]
    gradients = []
    for device in ("cuda", "cpu"):
        features, *rest = on(device, arguments)
        features = features.clone().requires_grad_()
        op(features, *rest).square().sum().backward()
        gradients.append(features.grad.cpu())
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["lif_scan", "selective_scan"])
def test_gradients_of_a_scan_are_the_same_on_both_devices(name: str):
    op, arguments = CASES[name]
    gradients = []
    for device in ("cuda", "cpu"):
        leaves = [x.detach().clone().requires_grad_() for x in on(device, arguments)]
        y, last = op(*leaves)
        (y.square().sum() + last.sum()).backward()
        gradients.append([leaf.grad.cpu() for leaf in leaves])
    for ours, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)


@needs_kernels
def test_the_kernels_that_were_built_are_in_use():
    assert {
        "bev_gather", "bev_scatter", "circle_nms", "hash_lookup", "hash_lookup_backward", "lean_decode", "lif_scan",
        "lif_scan_backward", "points_in_boxes", "rotated_iou_bev", "rotated_iou_bev_aligned", "rotated_nms",
        "segment_max", "segment_max_backward", "segment_sum", "selective_scan", "selective_scan_backward", "voxelize",
        "window_partition",
    } <= set(cuda_kernels())


@pytest.mark.parametrize("name", ["segment_max", "segment_mean", "bev_scatter"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_gives_the_same_on_both_devices(name: str, dtype: torch.dtype):
    op, (features, *rest) = CASES[name]
    ours, expected = op(*on("cuda", [features.to(dtype), *rest])), op(features.to(dtype), *rest)
    torch.testing.assert_close(ours.cpu(), expected, atol=2**-7, rtol=2**-7)   # the coarser type's last place near 1


@needs_kernels
@pytest.mark.parametrize("rows", [0, 1, 31, 33, 100_003])
@pytest.mark.parametrize("channels", [1, 5, 128])
def test_segments_of_any_size_equal_the_cpus(rows: int, channels: int):
    features = torch.randn(rows, channels, generator=draw())
    index = torch.randint(7, (rows,), generator=draw())
    for reduce in ("max", "sum", "mean"):
        ours = segment_reduce(features.cuda(), index.cuda(), 9, reduce).cpu()
        expected = segment_reduce(features, index, 9, reduce)
        torch.testing.assert_close(ours, expected, atol=2e-3, rtol=1e-5)   # 15,000 numbers added in another order


@needs_kernels
@pytest.mark.parametrize("channels", [1, 5, 128])
@pytest.mark.parametrize("channels_last", [False, True])
def test_maps_of_either_memory_order_equal_the_cpus(channels: int, channels_last: bool):
    features = torch.randn(800, channels, generator=draw())
    ours = bev_scatter(features.cuda(), cells().cuda(), 2, 40, 40, channels_last=channels_last)
    expected = bev_scatter(features, cells(), 2, 40, 40, channels_last=channels_last)
    assert ours.stride() == expected.stride()
    assert torch.equal(ours.cpu(), expected)


@needs_kernels
@pytest.mark.parametrize("name", NATIVE_CASES)
def test_an_op_runs_on_the_callers_stream(name: str):
    op, arguments = CASES[name]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        moved = on("cuda", arguments)
        torch.cuda._sleep(50_000_000)              # what ran on another stream would see nothing of what follows
        moved = [value.clone() if isinstance(value, Tensor) else value for value in moved]
        results = tensors(op(*moved))
    stream.synchronize()
    for ours, expected in zip(results, tensors(op(*arguments)), strict=True):
        torch.testing.assert_close(ours.cpu(), expected, atol=1e-5, rtol=1e-5)


@needs_kernels
@pytest.mark.parametrize("name", ["segment_max", "segment_mean", "bev_scatter"])
def test_an_op_does_not_wait_for_the_device(name: str):
    op, arguments = CASES[name]
    features, *rest = on("cuda", arguments)
    features.requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        op(features, *rest).sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@needs_kernels
def test_tensors_of_two_devices_are_refused():
    with pytest.raises(ValueError, match=r"index must .*cuda:0.* got cpu"):
        segment_reduce(torch.ones(3, 2, device="cuda"), torch.zeros(3, dtype=torch.int64), 1)
