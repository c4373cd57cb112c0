"""A trained model with more parameter tokens, which goes on from the same outputs (TokenFormer, section 3.3)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from perception.registry import MODELS

from .mixers import scaled_slots
from .pattention import Pattention

FACTOR = "slot_factor"


def grow_model(
    model: nn.Module, *, factor: float | None = None, rows: int | None = None, zero_keys: bool = True,
    pin_scale: bool = True,
) -> dict[nn.Parameter, nn.Parameter]:
    """Enlarge every `Pattention` of a model, in place; with the defaults its outputs change by rounding alone.

    Args:
        model: any; widths stay as they are, only tables grow.
        factor: times as many rows of each table, rounded; above 1. Or
        rows: as many more of each.
        zero_keys, pin_scale: see `Pattention.grow`.

    Returns:
        What each parameter has been replaced by, for `grow_optimizer`.

    Raises:
        ValueError: not one of ``factor`` and ``rows``, nothing grows by it, the model has no `Pattention`, or as
            `Pattention.grow`.
    """
    if (factor is None) == (rows is None):
        raise ValueError(f"give either factor or rows, got {factor} and {rows}")
    tables = [module for module in model.modules() if isinstance(module, Pattention)]
    if not tables:
        raise ValueError(f"{type(model).__name__} has no Pattention that could grow")
    replaced: dict[nn.Parameter, nn.Parameter] = {}
    for table in tables:
        more = rows if factor is None else scaled_slots(table.slots, factor) - table.slots
        assert more is not None
        replaced |= table.grow(more, zero_keys=zero_keys, pin_scale=pin_scale)
    return replaced


def grow_optimizer(optimizer: torch.optim.Optimizer, replaced: Mapping[nn.Parameter, nn.Parameter]) -> None:
    """Let an optimizer go on with grown parameters: its state of old rows is kept, that of new ones is 0.

    Args:
        optimizer: changed in place; it may hold other parameters too.
        replaced: as `grow_model` gives it.
    """
    for group in optimizer.param_groups:
        group["params"] = [replaced.get(parameter, parameter) for parameter in group["params"]]
    for old, new in replaced.items():
        if old in optimizer.state:
            state = optimizer.state.pop(old)
            optimizer.state[new] = {key: _like(value, old, new) for key, value in state.items()}


def _like(value: Any, old: Tensor, new: Tensor) -> Any:
    """A moment of an optimizer with rows of 0 for the new ones; numbers of steps and the like as they are."""
    if not isinstance(value, Tensor) or value.shape != old.shape:
        return value
    return torch.cat([value, value.new_zeros(len(new) - len(old), *old.shape[1:])])


def grow_config(config: Any, factor: float) -> Any:
    """The config of a model with times as many rows in each table.

    Args:
        config: nested dictionaries and lists; left as it is. Every registered type that takes a ``slot_factor`` gets
            one, times that which it has.
        factor: > 0.

    Raises:
        ValueError: as `scaled_slots`.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(grow_config(part, factor) for part in config)
    if not isinstance(config, Mapping):
        return config
    grown = {key: grow_config(part, factor) for key, part in config.items()}
    if isinstance(grown.get("type"), str) and _takes_factor(grown["type"]):
        grown[FACTOR] = grown.get(FACTOR, 1.0) * factor
    return grown


def _takes_factor(name: str) -> bool:
    found = MODELS.get(name)
    return found is not None and FACTOR in inspect.signature(found).parameters


def grow_checkpoint(
    config: Mapping[str, Any], state: Mapping[str, Tensor], factor: float, *, zero_keys: bool = True,
    pin_scale: bool = True,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and weights of a model whose tables have grown; new values are drawn by torch's global generator.

    Args:
        config: of the model.
        state: its state_dict.
        factor: times as many rows of each table, rounded; above 1.
        zero_keys, pin_scale: see `Pattention.grow`.

    Returns:
        The config and the state_dict of the larger model.

    Raises:
        ValueError: the config has no part that could grow, or as `Pattention.grow`.
    """
    larger = grow_config(config, factor)
    with torch.device("meta"):
        sizes = {
            name: part.slots for name, part in MODELS.build(larger).named_modules() if isinstance(part, Pattention)
        }
    if not sizes:
        raise ValueError("the config has no part with parameter tokens that could grow")
    model = MODELS.build(config)
    model.load_state_dict(state)
    for name, slots in sizes.items():
        table = model.get_submodule(name)
        assert isinstance(table, Pattention)
        table.grow(slots - table.slots, zero_keys=zero_keys, pin_scale=pin_scale)
    return larger, model.state_dict()
