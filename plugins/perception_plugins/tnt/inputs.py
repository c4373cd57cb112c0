"""Refusals that the backbones have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor

V = TypeVar("V", bound=tuple[Any, ...])


def variant_of(variants: Mapping[str, V], name: str) -> V:
    """The sizes of a published variant. Raises ValueError that lists the known ones."""
    if name not in variants:
        raise ValueError(f"variant must be one of {', '.join(variants)}, got {name!r}")
    return variants[name]


def checked_indices(out_indices: Sequence[int], count: int, kind: str) -> tuple[int, ...]:
    """Numbers of ``count`` blocks or stages whose maps are wanted.

    Raises:
        ValueError: there are none, or they are not ascending numbers below ``count``.
    """
    ascending = list(out_indices) == sorted(set(out_indices))
    if not out_indices or not ascending or out_indices[0] < 0 or out_indices[-1] >= count:
        raise ValueError(f"out_indices must be ascending {kind} 0 to {count - 1}, got {tuple(out_indices)}")
    return tuple(out_indices)


def check_multiple(name: str, size: Sequence[int], divisor: int) -> None:
    """Raise ValueError unless height and width are multiples of ``divisor`` above 0."""
    if any(length < 1 or length % divisor for length in size):
        raise ValueError(f"{name} must be multiples of {divisor} in height and width, got {size[0]} x {size[1]}")


def check_images(images: Tensor, channels: int, divisor: int) -> None:
    """Raise ValueError unless pictures are (B, ``channels``, H, W) with sides that ``divisor`` divides."""
    if images.dim() != 4 or images.shape[1] != channels:
        raise ValueError(f"images must be (B, {channels}, H, W), got {tuple(images.shape)}")
    check_multiple("images", images.shape[2:], divisor)
