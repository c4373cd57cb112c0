"""Every op and its reference, side by side; `make bench-tests` reads the clock, `make test` only compares results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from perception.engine.benchmark.op_cases import OPS

CASES = [(name, size) for name, op in OPS.items() for size in op.sizes[:2]]
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


@pytest.mark.parametrize(("name", "size"), CASES)
def test_an_op(name: str, size: int, benchmark: Any):
    case = OPS[name].build(size, torch.float32, CPU)
    benchmark.group = f"{name}, {size}"
    result = benchmark(case.op)
    if OPS[name].is_reference_alike:
        for ours, expected in zip(tensors(result), tensors(case.reference()), strict=True):
            torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)       # sums in another order


@pytest.mark.parametrize(("name", "size"), CASES)
def test_its_reference(name: str, size: int, benchmark: Callable[[Any], Any]):
    case = OPS[name].build(size, torch.float32, CPU)
    benchmark.group = f"{name}, {size}"
    assert all(len(tensor) for tensor in tensors(benchmark(case.reference)))


def tensors(result: Any) -> list[torch.Tensor]:
    """The tensors of a result that can be None somewhere."""
    return [result] if isinstance(result, torch.Tensor) else [tensor for tensor in result if tensor is not None]
