"""The random-number generators of a process as plain values that a checkpoint can hold."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """State of Python's, NumPy's and torch's global generators; only numbers, tuples and tensors."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()            # noqa: NPY002  # others may draw from it
    words_of_numpy = torch.from_numpy(np.asarray(keys, dtype=np.int64))        # torch has no arithmetic on uint32
    return {
        "python": (version, words, gauss),
        "numpy": (str(name), words_of_numpy, int(position), int(has_gauss), float(cached)),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` gave; GPUs that are absent now are left out."""
    random.setstate(state["python"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))     # noqa: NPY002
    torch.set_rng_state(state["torch"].cpu())
    for device, cuda_state in enumerate(state["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(cuda_state.cpu(), device)


@contextmanager
def untouched_random_state() -> Iterator[None]:
    """Whatever is drawn inside, the generators are as before afterwards."""
    state = random_state()
    try:
        yield
    finally:
        set_random_state(state)
