"""What is done to the input of a layer before the layer sees it, and what its inputs look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from .compressor import Calibration
from .fake_quantize import fake_quantize_range
from .int8 import Range, range_of


class InputRange(nn.Module):
    """Rounds to the 8-bit codes of a range, with a straight-through gradient."""

    scale: Tensor
    zero: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("zero", torch.zeros(()))

    def set_range(self, lowest: Tensor, highest: Tensor) -> None:
        """Take the range of two scalars, widened to hold 0."""
        found = range_of(lowest.float(), highest.float())
        self.scale.copy_(found.scale)
        self.zero.copy_(found.zero)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return fake_quantize_range(x, Range(self.scale.to(x.dtype), self.zero.to(x.dtype)))


class InputScale(nn.Module):
    """Divides each channel by a number.

    Args:
        channels: K.
    """

    scale: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., K)."""
        return x / self.scale.to(x.dtype)


def put_before(layer: nn.Module, name: str, module: nn.Module) -> None:
    """Let ``module``, which becomes the layer's part ``name``, change the layer's first input.

    Raises:
        ValueError: the layer has a part of that name already.
    """
    if hasattr(layer, name):
        raise ValueError(f"{type(layer).__name__} has {name!r} already: is it compressed twice?")
    layer.add_module(name, module)
    layer.register_forward_pre_hook(lambda owner, inputs: (getattr(owner, name)(inputs[0]), *inputs[1:]))


def watch_inputs(
    model: nn.Module, kinds: tuple[type[nn.Module], ...], calibration: Calibration, note: Callable[[str, Tensor], Any]
) -> None:
    """Call ``note(name of the layer, its first input)`` for each layer of the kinds that runs on the data."""
    hooks = []
    for name, layer in model.named_modules():
        if isinstance(layer, kinds):
            def look(_: nn.Module, inputs: Sequence[Any], name: str = name) -> None:
                note(name, cast(Tensor, inputs[0]).detach())

            hooks.append(layer.register_forward_pre_hook(look))
    try:
        calibration.run(model)
    finally:
        for hook in hooks:
            hook.remove()
