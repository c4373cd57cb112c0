"""group_attention on a GPU against its reference in float32, through tensor cores and on plain arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception_ops import cuda_kernels, group_attention
from perception_ops.group_attention import group_attention_backward_reference, group_attention_reference

pytestmark = [
    pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
    pytest.mark.skipif("group_attention" not in cuda_kernels(), reason="built without PERCEPTION_CUDA=ON"),
]
# Sums in another order, and a fast exponential; weights and results are rounded to steps of 2^-8 and 2^-11.
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 3e-3}


def on_a_gpu(size: int, heads: int, width: int, dtype: torch.dtype, is_masked: bool) -> list[Tensor | None]:
    """grad, qk, v, slots, back, valid of 40 groups; the last one is filled up with copies of the one before."""
    draw = torch.Generator().manual_seed(0)
    N, C = 40 * size - size // 2, heads * width
    tables = [torch.randn(N, columns, generator=draw).to(dtype) for columns in (C, 2 * C, C)]
    order = torch.randperm(N, generator=draw)
    slots = torch.cat([order, order[N - size : N - size + size // 2]])
    back = torch.empty_like(order).scatter_(0, order, torch.arange(N))
    valid = torch.rand(len(slots), generator=draw) > 0.2 if is_masked else None
    return [value if value is None else value.cuda() for value in (*tables, slots, back, valid)]


@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("width", [8, 13, 16, 32, 64, 128, 130])
@pytest.mark.parametrize("size", [1, 17, 69, 144, 300])
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_attention_equals_its_reference(dtype, size, width, is_masked):
    grad, qk, v, *groups = on_a_gpu(size, 2, width, dtype, is_masked)
    qk.requires_grad_(), v.requires_grad_()
    out = group_attention(qk, v, *groups, group_size=size, num_heads=2)
    ours = out.detach(), *torch.autograd.grad(out, (qk, v), grad)
    wide = qk.detach().float(), v.detach().float(), *groups, size, 2
    expected = group_attention_reference(*wide), *group_attention_backward_reference(grad.float(), *wide)
    for name, one, other in zip(("out", "grad_qk", "grad_v"), ours, expected, strict=True):
        tolerance = {"atol": TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
        torch.testing.assert_close(one.float(), other, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_two_runs_give_the_same_bits(dtype):
    arguments = *on_a_gpu(144, 8, 16, dtype, is_masked=False), 144, 8
    first, second = (torch.ops.perception.group_attention_backward(*arguments) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_attention_does_not_wait_for_the_device():
    grad, qk, v, *groups = on_a_gpu(69, 8, 16, torch.bfloat16, is_masked=True)
    qk.requires_grad_()
    torch.cuda.set_sync_debug_mode("error")
    try:
        group_attention(qk, v, *groups, group_size=69, num_heads=8).backward(grad)
    finally:
        torch.cuda.set_sync_debug_mode("default")
