"""How the parts of a network use their units.

A part is declared by a function for its type; a plugin declares its own parts so, with `declares`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .plan import FIXED, Flow, FusionPlan, join

Declaration = Callable[[Any, FusionPlan, str, Flow], Flow]
_DECLARATIONS: dict[type[nn.Module], Declaration] = {}


def declares(*kinds: type[nn.Module]) -> Callable[[Declaration], Declaration]:
    """Register what declares modules of these types, and of those derived from them that keep their ``forward``."""

    def register(declaration: Declaration) -> Declaration:
        _DECLARATIONS.update(dict.fromkeys(kinds, declaration))
        return declaration

    return register


def declare(module: nn.Module, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    """Add a part to a plan.

    A part of a type that is not declared leaves the units that come in in their places, and those that go out of any
    part of it; what is hidden within these, such as heads and the inner channels of a feed-forward part, is matched all
    the same. So every network of known parts can be fused, though its residual streams stay as they are.

    Args:
        module: the part.
        plan: is added to.
        name: of the part in the whole network.
        reads: the axis of each map that comes in.

    Returns:
        The axis of each map that goes out.
    """
    for kind in type(module).__mro__:
        if kind in _DECLARATIONS and type(module).forward is kind.forward:
            return _DECLARATIONS[kind](module, plan, name, reads)
    for axis in reads:
        plan.pin(axis)
    for child_name, child in module.named_children():
        for axis in declare(child, plan, join(name, child_name), [FIXED]):
            plan.pin(axis)
    if next(module.parameters(recurse=False), None) is not None:
        plan.undeclared.append(name)
    return [FIXED]


def plan_of(model: nn.Module) -> FusionPlan:
    """The plan of a network."""
    from . import known_parts  # noqa: F401  # declares the parts of the core

    plan = FusionPlan()
    for axis in declare(model, plan, "", [FIXED]):
        plan.pin(axis)
    return plan


def in_turn(parts: dict[str, nn.Module], plan: FusionPlan, name: str, reads: Flow) -> Flow:
    """Parts by name, each of which reads what the one before it gives."""
    for part, module in parts.items():
        reads = declare(module, plan, join(name, part), reads)
    return reads
