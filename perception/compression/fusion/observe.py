"""What the units of a plan say while a network runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from .activations import standardised
from .plan import FusionPlan, Observation

Run = Callable[[nn.Module, Any], object]


def features_by_units(
    model: nn.Module, plan: FusionPlan, batches: Iterable[Any], run: Run, *, rows: int = 1024
) -> dict[str, Tensor]:
    """Features (n, F) float32 of each set of units that is heard; standardised at each place and joined.

    Args:
        model: in evaluation mode.
        plan: of it.
        batches: what to run it on.
        run: calls the model with a batch.
        rows: tokens or cells that are kept of each call, drawn alike for every model that has as many.
    """
    heard: list[list[Tensor]] = [[] for _ in plan.observations]
    modules = dict(model.named_modules())
    hooks = [
        modules[place.module].register_forward_hook(_listener(place, heard[number], rows))
        for number, place in enumerate(plan.observations)
    ]
    try:
        with torch.enable_grad():                          # kernels that do a whole layer at once call no parts of it
            for batch in batches:
                run(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return _joined(plan, heard)


def _listener(place: Observation, heard: list[Tensor], rows: int) -> Callable[..., None]:
    def listen(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        with torch.no_grad():
            found = place.rows(module, inputs, output)                                       # (S, n)
            if len(found) > rows:
                draw = torch.Generator().manual_seed(len(heard))
                found = found[torch.randperm(len(found), generator=draw)[:rows].to(found.device)]
            heard.append(found.float())
    return listen


def _joined(plan: FusionPlan, heard: list[list[Tensor]]) -> dict[str, Tensor]:
    features: dict[str, list[Tensor]] = {}
    for place, parts in zip(plan.observations, heard, strict=True):
        if parts:
            columns = standardised(torch.cat(parts)).split([plan.units[name].size for name in place.axis], dim=1)
            for name, part in zip(place.axis, columns, strict=True):
                features.setdefault(name, []).append(part)
    return {name: torch.cat(parts).T for name, parts in features.items()}
