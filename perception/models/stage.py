"""The steps of a model's prediction, so that a benchmark can time them one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Stage:
    """One step.

    Args:
        name: as tables show it.
        run: takes what the step before it gave; the first takes the model's inputs.
        parts: modules whose parameters it uses.
    """

    name: str
    run: Callable[[Any], Any]
    parts: tuple[nn.Module, ...] = ()


def stages_of(module: nn.Module, name: str) -> list[Stage]:
    """The stages that a part tells of itself, or the part as one stage."""
    own = getattr(module, "stages", None)
    return [Stage(name, module, (module,))] if own is None else list(own())
