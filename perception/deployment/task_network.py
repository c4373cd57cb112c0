"""The network of a task model as a function of tensors alone, which a graph can be traced of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from .output_form import named_tensors

CLOUDS = "points"                                  # the one input whose length differs from frame to frame


class TaskNetwork(nn.Module):
    """A task model in its mode "tensor", for batches of one frame.

    Decoding, suppression included, stays outside: it is the model's own, whatever runs the network.

    Args:
        model: in evaluation mode.

    Raises:
        ConfigError: the model has a memory, whose state a graph of one frame does not carry.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if getattr(model, "memory", None) is not None:
            raise ConfigError(
                f"a {type(model).__name__} with a memory (model.memory) is not exported: a graph sees one frame"
            )
        self.model = model

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """What `tensor_inputs` gave -> the tensors of what the head gives, in the order of `named_tensors`."""
        return tuple(named_tensors(self.raw(inputs)).values())

    def raw(self, inputs: Mapping[str, Tensor]) -> Any:
        """The same as the head gives it."""
        return self.model({name: [x] if name == CLOUDS else x for name, x in inputs.items()}, mode="tensor")


def tensor_inputs(inputs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The inputs of a batch of one frame, by name, as tensors that a tracer takes.

    Args:
        inputs: as a data preprocessor gives them: tensors, and lists with an entry a frame; those of None are left out.

    Returns:
        Tensors in the order of their names; ``points`` (P, C) is the cloud of the frame.

    Raises:
        ConfigError: the batch is of several frames, or an input is no tensor.
    """
    found = {}
    for name, value in sorted(inputs.items()):
        if isinstance(value, (list, tuple)):
            if len(value) != 1:
                raise ConfigError(f"a graph takes one frame at a time, got {len(value)} under {name!r}")
            (value,) = value
        if value is None:
            continue
        if not isinstance(value, Tensor):
            raise ConfigError(f"input {name!r} of the model is no tensor but {type(value).__name__}: no graph takes it")
        found[name] = value.clone()                # of a tensor made for inference alone, a tracer can't make use
    return found


def open_sizes(inputs: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    """The dynamic shapes of `torch.export.export`: the number of points is open, pictures keep their size."""
    return {name: {0: torch.export.Dim.DYNAMIC} if name == CLOUDS else {} for name in inputs}
