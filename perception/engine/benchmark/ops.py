"""Each op against its reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from perception_ops.dispatch import is_native

from ...errors import ConfigError, suggestion
from .flops import count_flops
from .memory import peak_mib
from .op_case import Case, TimedOp
from .op_cases import OPS
from .rows import Row, compared
from .setting import Setting
from .timing import interleaved_ms

Plan = list[tuple[str, int]]
REFERENCE_BYTES = 4 << 30                          # more than this is not asked for


def plan_ops(only: Sequence[str] | None = None, sizes: Sequence[int] | None = None) -> Plan:
    """Which op is timed at which size, sizes ascending for each op.

    Args:
        only: names from `OPS`; None takes all.
        sizes: sizes for every op that takes them, larger ones are left out; None takes each op's own.

    Raises:
        ConfigError: a name is unknown, or no op takes any of the sizes.
    """
    for name in only or ():
        if name not in OPS:
            raise ConfigError(f'there is no op "{name}"{suggestion(name, OPS)}; there are {", ".join(OPS)}')
    chosen = {name: OPS[name] for name in (only or OPS)}
    plan = [
        (name, size) for name, op in chosen.items()
        for size in (op.sizes if sizes is None else sorted(set(sizes))) if size <= op.sizes[-1]
    ]
    if not plan:
        largest = max(op.sizes[-1] for op in chosen.values())
        raise ConfigError(f"sizes: expected one of at most {largest}, got {', '.join(map(str, sizes or ()))}")
    return plan


def benchmark_ops(
    plan: Iterable[tuple[str, int]], setting: Setting, *, repeats: int = 11, budget_s: float = 20.0
) -> Iterator[Row]:
    """Time ops and references in turn.

    Args:
        plan: as `plan_ops` gives it.
        setting: dtype of features, device, and the machine's limits.
        repeats: rounds that the medians are taken of.
        budget_s: a reference that is expected to take longer is left out, and no round begins later.

    Yields:
        A row for each, as soon as it is measured.
    """
    slowest_ms: dict[str, tuple[int, float]] = {}                # of each reference: the last size and its time
    for name, size in plan:
        timed = OPS[name]
        case = timed.build(size, setting.dtype, setting.device)
        calls: list[partial] = [case.op]
        last_size, last_ms = slowest_ms.get(name, (size, 0.0))
        expected_s = last_ms * (size / last_size) ** timed.growth / 1e3
        if _is_comparable(timed, case, setting.device) and expected_s <= budget_s:
            calls.append(case.reference)
        with torch.inference_mode():
            times = interleaved_ms(calls, repeats, setting.device, budget_s=budget_s)    # (rounds, 1 or 2)
            memory = [peak_mib(call, setting.device) for call in calls]
            work = _work(case, float(np.median(times[:, 0])), setting)
        columns: dict[str, float] = {"ms": float(np.median(times[:, 0]))}
        if len(calls) == 2:
            columns = compared(times[:, 0], times[:, 1]) | {"reference_peak_mib": memory[1]}
            slowest_ms[name] = (size, columns["reference_ms"])
        own = setting if timed.takes_dtype else replace(setting, dtype=torch.float32)
        yield own.row(name, size, **columns, **work, peak_mib=memory[0])


def _is_comparable(timed: TimedOp, case: Case, device: torch.device) -> bool:
    is_another = is_native(timed.kernel, device) or not timed.is_reference_alike
    return is_another and case.reference_bytes <= REFERENCE_BYTES


def _work(case: Case, ms: float, setting: Setting) -> dict[str, float]:
    """Operations, or bytes where the op has none, in a second, and their share of the machine's limit."""
    flops = count_flops(case.op)
    if flops:
        return setting.achieved(flops / 1e9, ms)
    gbps = _moved_bytes(case) / ms / 1e6
    return {"gbps": gbps, "fraction_of_peak": gbps / setting.gbps}


def _moved_bytes(case: Case) -> int:
    """Each input read once, each result written once."""
    leaves = tree_leaves((case.op.args, case.op()))
    return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor)) - case.unread_bytes
