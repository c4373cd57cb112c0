"""Models of any kind with nested feed-forward nets: as many hidden units as are asked for, for a while or for good."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from .nested import NestedFeedForward

Widths = int | Sequence[int] | None


def nested_layers(model: nn.Module) -> dict[str, NestedFeedForward]:
    """The nested nets of a model by name, in the order in which it was built. Raises ValueError if it has none."""
    found = {name: part for name, part in model.named_modules() if isinstance(part, NestedFeedForward)}
    if not found:
        raise ValueError(f"{type(model).__name__} has no NestedFeedForward")
    return found


def checked_widths(model: nn.Module, widths: int | Sequence[int]) -> list[int]:
    """A width for each nested net.

    Args:
        model: has L nested nets.
        widths: one for all of them, or L.

    Raises:
        ValueError: there are not L, one is more than a net has, or the model has no nested net.
    """
    layers = list(nested_layers(model).values())
    each = [widths] * len(layers) if isinstance(widths, int) else list(widths)
    if len(each) != len(layers):
        raise ValueError(f"widths must be one, or one for each of the {len(layers)} nested nets, got {len(each)}")
    return [layer.checked(width) for layer, width in zip(layers, each, strict=True)]


def level_widths(model: nn.Module, level: int) -> list[int]:
    """The widths of all nested nets at one of those that they are trained at, 0 the smallest.

    Raises:
        ValueError: a net has no such level, or the model has no nested net.
    """
    layers = nested_layers(model)
    for name, layer in layers.items():
        if not 0 <= level < len(layer.widths):
            raise ValueError(f"{name} has the levels 0 to {len(layer.widths) - 1}, got {level}")
    return [layer.widths[level] for layer in layers.values()]


@contextmanager
def active_widths(model: nn.Module, widths: Widths) -> Iterator[None]:
    """Within it the nested nets of a model use so many hidden units; behind it as many as before, errors or not.

    Where blocks run again for the gradient, call ``backward`` within it too.

    Args:
        model: any.
        widths: see `checked_widths`; None changes nothing.

    Raises:
        ValueError: as `checked_widths`.
    """
    if widths is None:
        yield
        return
    chosen, layers = checked_widths(model, widths), list(nested_layers(model).values())
    before = [layer.active for layer in layers]
    try:
        for layer, width in zip(layers, chosen, strict=True):
            layer.active = width
        yield
    finally:
        for layer, active in zip(layers, before, strict=True):
            layer.active = active


def extract(model: nn.Module, widths: int | Sequence[int]) -> nn.Module:
    """A model whose nested nets are plain ones of the chosen widths, with the outputs of the large one at these.

    Running statistics of batch normalisation are copied as they are, a mean over all widths that were trained. Unless
    training froze them, take them anew by `perception.compression.norm_statistics.estimate_statistics`.

    Args:
        model: left as it is.
        widths: see `checked_widths`.

    Raises:
        ValueError: as `checked_widths`.
    """
    chosen = dict(zip(nested_layers(model), checked_widths(model, widths), strict=True))
    if isinstance(model, NestedFeedForward):
        return model.extract(chosen[""])
    small = copy.deepcopy(model)
    for name, width in chosen.items():
        layer = small.get_submodule(name)
        assert isinstance(layer, NestedFeedForward)
        parent, _, attribute = name.rpartition(".")
        setattr(small.get_submodule(parent), attribute, layer.extract(width))
    return small


def parameters_at(model: nn.Module, widths: int | Sequence[int]) -> int:
    """Parameters of what `extract` gives. Raises ValueError as `checked_widths`."""
    layers = nested_layers(model).values()
    pairs = zip(layers, checked_widths(model, widths), strict=True)
    saved = sum(layer.parameters_at(layer.hidden) - layer.parameters_at(width) for layer, width in pairs)
    return sum(parameter.numel() for parameter in model.parameters()) - saved
