"""Which dimensions of a network's parameters count the same units, and where these can be heard.

Every set of channels that can be put into another order without changing what the network does, as long as all that
write or read it follow, is one set of *units*, with one map: a residual stream is one set from its first embedding to
its last reader, since it is a sum; so are the hidden channels of a feed-forward part, or those of a convolution.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from timm.layers import LayerScale
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.models.metaformer.norm import SampleNorm

Axis = tuple[str, ...]                             # sets of units one behind another; () is what stays as it is
Flow = list[Axis]                                  # of the maps that one part hands to the next
FIXED: Axis = ()


@dataclass(frozen=True)
class Units:
    """One set of units.

    Args:
        size: how many.
        heads: of an attention, whose channels lie one head behind another.
        tied: name of the attention, whose sets go through their heads together; None of other units.
    """

    size: int
    heads: int = 1
    tied: str | None = None


@dataclass(frozen=True)
class Side:
    """One dimension of a parameter.

    Args:
        axis: the units that it counts.
        reads: whether they are what the layer reads, rather than what it gives.
    """

    axis: Axis
    reads: bool = False


@dataclass(frozen=True)
class Observation:
    """A place where units can be heard.

    Args:
        module: name of the module whose call is listened to.
        axis: the units.
        rows: takes the module, the inputs of the call and its output, and gives (S, n) float, channels in the order
            of ``axis``.
    """

    module: str
    axis: Axis
    rows: Callable[[Any, tuple[Any, ...], Any], Tensor]


@dataclass
class FusionPlan:
    """What the declarations of a network's parts say, see `declare`.

    Args:
        units: by name.
        sides: of each dimension of a parameter or buffer, by its name; what is not named is averaged as it is.
        observations: in the order in which they were declared.
        pinned: units that stay in their places, since something reads them that has not been declared.
        undeclared: names of parts that have parameters and no declaration.
    """

    units: dict[str, Units] = field(default_factory=dict)
    sides: dict[str, tuple[Side, ...]] = field(default_factory=dict)
    observations: list[Observation] = field(default_factory=list)
    pinned: set[str] = field(default_factory=set)
    undeclared: list[str] = field(default_factory=list)

    def add(self, name: str, size: int, *, heads: int = 1, tied: str | None = None) -> Axis:
        """A new set of units; gives the axis of them alone."""
        self.units[name] = Units(size, heads, tied)
        return (name,)

    def pin(self, axis: Axis) -> None:
        """Leave units in their places."""
        self.pinned.update(axis)

    def linear(self, name: str, layer: nn.Module, reads: Axis, gives: Axis) -> None:
        """A linear layer, or a convolution, which may be transposed; one in groups leaves its units in their places."""
        inputs, outputs = Side(reads, reads=True), Side(gives)
        pair = (inputs, outputs) if isinstance(layer, nn.ConvTranspose2d) else (outputs, inputs)
        if getattr(layer, "groups", 1) > 1:
            self.pin(reads)
            self.pin(gives)
        self.sides[f"{name}.weight"] = pair
        if layer.bias is not None:
            self.sides[f"{name}.bias"] = (outputs,)

    def vectors(self, name: str, module: nn.Module, axis: Axis) -> None:
        """A norm, or a factor of each channel, that treats all units alike; any other leaves them in their places."""
        if not isinstance(module, (nn.Identity, nn.LayerNorm, _BatchNorm, SampleNorm, LayerScale)):
            self.pin(axis)
        size = sum(self.units[part].size for part in axis)
        for key, value in named_tensors(module).items():
            if axis and value.shape == (size,):
                self.sides[join(name, key)] = (Side(axis),)

    def observe(self, module: str, axis: Axis, rows: Callable[[Any, tuple[Any, ...], Any], Tensor]) -> None:
        """Listen to units at the calls of a module; see `Observation`."""
        if axis:
            self.observations.append(Observation(module, axis, rows))


def rows_of_tokens(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """(..., C) -> (S, C)."""
    return output.flatten(0, -2)


def rows_of_map(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    """(B, C, H, W) -> (S, C)."""
    return output.movedim(1, 3).flatten(0, 2)


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def join(*names: str) -> str:
    """The name of a part of a part; the whole has the name ""."""
    return ".".join(name for name in names if name)

