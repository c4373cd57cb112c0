"""Parameters that are kept in another form and turned into numbers whenever they are read.

A `StoredTensor` takes the place of a parameter: ``layer.weight`` still gives the tensor, whoever asks, be it the
layer's own forward or an op that is handed the weights of several layers. It is the layer's part ``stored_weight``, so
the state dict has ``layer.stored_weight.codes`` and so on.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from math import prod
from typing import NamedTuple, cast

from torch import Tensor, nn


class StoredTensor(nn.Module):
    """Gives a tensor of a shape from what is stored of it.

    Args:
        shape: of the tensor.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    @abstractmethod
    def forward(self) -> Tensor:
        """The tensor."""

    def numel(self) -> int:
        """Numbers of it that are stored."""
        return prod(self.shape)


class Slot(NamedTuple):
    """A parameter in its place.

    Args:
        name: dotted, as in the state dict.
        owner: the module that has it.
        key: its name there.
    """

    name: str
    owner: nn.Module
    key: str

    @property
    def parameter(self) -> nn.Parameter:
        """The parameter."""
        return cast(nn.Parameter, self.owner._parameters[self.key])

    @property
    def row_dim(self) -> int:
        """The dimension of outputs: 1 of transposed convolutions, 0 of all else."""
        return 1 if isinstance(self.owner, TRANSPOSED) else 0


TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
OPAQUE = (nn.RNNBase,)                             # read their weights from a list of their own
OPAQUE_PACKAGES = ("spconv",)                      # whose kernels want their own layout


def slots(model: nn.Module) -> Iterator[Slot]:
    """All float parameters that may be stored otherwise, in order; none of `OPAQUE` modules, nor of sparse kernels."""
    for path, owner in model.named_modules():
        if isinstance(owner, OPAQUE) or type(owner).__module__.partition(".")[0] in OPAQUE_PACKAGES:
            continue
        for key, parameter in owner._parameters.items():
            if parameter is not None and parameter.is_floating_point():
                yield Slot(f"{path}.{key}".lstrip("."), owner, key)


def opaque_names(model: nn.Module) -> list[str]:
    """Names of the float parameters that `slots` passes over."""
    known = {slot.name for slot in slots(model)}
    return [name for name, value in model.named_parameters() if value.is_floating_point() and name not in known]


def store(slot: Slot, stored: StoredTensor) -> None:
    """Put ``stored`` in the place of a parameter."""
    del slot.owner._parameters[slot.key]
    slot.owner.add_module(f"stored_{slot.key}", stored)
    slot.owner.__class__ = _reading(type(slot.owner), slot.key)  # type: ignore[arg-type]  # a class is hashable


def store_all(chosen: Sequence[Slot], make: Callable[[Slot], StoredTensor]) -> None:
    """`store` what ``make`` gives for each parameter; one that stands in several places is made once."""
    made: dict[int, StoredTensor] = {}
    kept = [slot.parameter for slot in chosen]      # alive, so that no two have one id
    for slot, parameter in zip(chosen, kept, strict=True):
        if id(parameter) not in made:
            made[id(parameter)] = make(slot)
        store(slot, made[id(parameter)])


@cache
def _reading(kind: type[nn.Module], key: str) -> type[nn.Module]:
    """A class as ``kind`` whose attribute ``key`` is what the stored tensor of that name gives."""
    def read(owner: nn.Module) -> Tensor:
        return cast(StoredTensor, owner._modules[f"stored_{key}"])()

    return type(kind.__name__, (kind,), {key: property(read), "__module__": kind.__module__})
