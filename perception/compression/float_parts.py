"""Which weights a quantiser takes, and which it leaves in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import nn

from .compressor import Calibration
from .last_layers import last_layers
from .stored_tensor import Slot, opaque_names, slots

SMALLEST = 256                                     # numbers of a tensor below which a scale is not worth it


class Choice(NamedTuple):
    """Parameters that are compressed, and the names of all other float parameters."""

    taken: list[Slot]
    left: list[str]


def layers_to_keep(model: nn.Module, calibration: Calibration, keep: Sequence[str] | None) -> list[str]:
    """Names of the modules that stay in float: those given, or by default the model's last layers.

    Box regression and map coordinates lose first, so what gives them stays. Without data they cannot be found, and
    none are kept.
    """
    if keep is not None:
        return list(keep)
    if not calibration.batches:
        return []
    with torch.enable_grad():
        return last_layers(model, lambda: model(**calibration.batches[0], mode="tensor"))


def choose(model: nn.Module, keep: Sequence[str], *, smallest: int = SMALLEST, vectors: bool = False) -> Choice:
    """Matrices and kernels of a size worth it, outside the modules whose names begin with one of ``keep``.

    Args:
        model: searched in a fixed order, so that a model built again gives the same.
        keep: modules, such as ``"head.shared"``, or parameters.
        smallest: numbers that a tensor must have.
        vectors: take tensors of one dimension too, such as biases.
    """
    taken, left = [], opaque_names(model)
    for slot in slots(model):
        is_kept = any(slot.name == name or slot.name.startswith(f"{name}.") for name in keep)
        is_worth_it = slot.parameter.numel() >= smallest and (vectors or slot.parameter.dim() > 1)
        if is_kept or not is_worth_it:
            left.append(slot.name)
        else:
            taken.append(slot)
    return Choice(taken, left)
