"""What tests of the ops share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch

from perception_ops.dispatch import NATIVE


@pytest.fixture
def num_threads() -> Callable[[int], AbstractContextManager[None]]:
    """``with num_threads(2):`` runs what is inside on two threads."""

    @contextmanager
    def limited(threads: int) -> Iterator[None]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    return limited


@pytest.fixture(params=[0, 1, 2], ids=["baseline", "avx2", "avx512"])
def instruction_set(request: pytest.FixtureRequest) -> Iterator[int]:
    """The one that the native kernels use meanwhile."""
    if NATIVE is None:
        pytest.skip("native kernels are not in use")
    try:
        if NATIVE.limit_instruction_set(request.param) != request.param:
            pytest.skip("the processor lacks it")
        yield request.param
    finally:
        NATIVE.limit_instruction_set(2)
