"""What a head gives as named tensors, as a graph must give it, and back again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

from torch import Tensor

ALONE = "output"                                   # the name of a tensor that is in no container


def named_tensors(raw: Any) -> dict[str, Tensor]:
    """The tensors of a container of containers by their places, such as ``0.heatmap``, in a fixed order.

    Args:
        raw: mappings, sequences, named tuples, dataclasses of tensors, or one tensor; what is none of these is left
            out.
    """
    return {place.removeprefix(".") or ALONE: tensor for place, tensor in _walk(raw, "")}


def with_tensors(form: Any, tensors: Sequence[Tensor]) -> Any:
    """A container like ``form`` whose tensors are others, in the order of `named_tensors`.

    Raises:
        ValueError: there are more or fewer of them.
    """
    expected = len(named_tensors(form))
    if len(tensors) != expected:
        raise ValueError(f"tensors must be {expected}, as many as the form has, got {len(tensors)}")
    given = iter(tensors)
    return _mapped(form, lambda _: next(given))


def _walk(raw: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(raw, Tensor):
        yield place, raw
        return
    for name, part in _parts(raw):
        yield from _walk(part, f"{place}.{name}")


def _parts(raw: Any) -> list[tuple[str, Any]]:
    if isinstance(raw, Mapping):
        return [(str(key), value) for key, value in raw.items()]
    if isinstance(raw, (list, tuple)):
        return list(zip(getattr(raw, "_fields", map(str, range(len(raw)))), raw, strict=True))
    if is_dataclass(raw) and not isinstance(raw, type):
        return [(field.name, getattr(raw, field.name)) for field in fields(raw)]
    return []


def _mapped(raw: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(raw, Tensor):
        return change(raw)
    parts = [(name, _mapped(part, change)) for name, part in _parts(raw)]
    if isinstance(raw, Mapping):
        return dict(zip(raw, (part for _, part in parts), strict=True))
    if hasattr(raw, "_fields"):
        return type(raw)(**dict(parts))
    if isinstance(raw, (list, tuple)):
        return type(raw)(part for _, part in parts)
    return replace(raw, **dict(parts)) if parts else raw
