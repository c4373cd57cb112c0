"""What tests of the ops share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import torch


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
