"""Peak memory of a call, as torch's allocators saw it."""

from __future__ import annotations

import os

import torch
from torch.profiler import ProfilerActivity, profile

from .timing import Call

MIB = 2**20

os.environ.setdefault("KINETO_LOG_LEVEL", "99")    # read at the first profile, which writes to stderr otherwise


def peak_mib(call: Call, device: torch.device) -> float:
    """Most memory that a call holds at one time beyond what was held before it, its result included [MiB].

    On a CPU every allocation and release of a tensor is summed up, those inside operators too; what a kernel takes from
    the C library by itself (buffers of a thread, scratch of oneDNN's convolutions) is not seen. The resident size of
    the process would see it, but is blind to memory that was freed before and is used again.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / MIB
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    assert recorded.profiler is not None
    events = recorded.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = highest = 0
    for _, change in changes:
        held += change
        highest = max(highest, held)
    return highest / MIB
