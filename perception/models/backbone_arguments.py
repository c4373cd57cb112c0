"""What image backbones refuse: pictures, sizes, variants and levels that there cannot be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from perception.errors import suggestion

V = TypeVar("V")


def check_images(images: Tensor, *, channels: int = 3, least: int = 1, multiple: int = 1) -> None:
    """Raise ValueError unless pictures are as a backbone needs them.

    Args:
        images: (B, ``channels``, H, W).
        channels: of a picture.
        least: pixels that both sides have at least.
        multiple: divides both sides.
    """
    if images.dim() != 4 or images.shape[1] != channels:
        raise ValueError(f"images must be (B, {channels}, H, W), got {tuple(images.shape)}")
    height, width = images.shape[2:]
    if min(height, width) < least:
        raise ValueError(f"images must be at least {least} x {least} pixels, got {height} x {width}")
    check_multiple("images", (height, width), multiple)


def check_multiple(name: str, size: Sequence[int], divisor: int) -> None:
    """Raise ValueError unless height and width are multiples of ``divisor`` above 0."""
    if any(length < 1 or length % divisor for length in size):
        raise ValueError(f"{name} must be multiples of {divisor} in height and width, got {size[0]} x {size[1]}")


def variant_of(variants: Mapping[str, V], name: str) -> V:
    """The sizes of a published variant. Raises ValueError that lists the known ones."""
    if name not in variants:
        known = ", ".join(variants)
        raise ValueError(f"variant must be one of {known}, got {name!r}{suggestion(name, variants)}")
    return variants[name]


def checked_indices(out_indices: Sequence[int], count: int, kind: str) -> tuple[int, ...]:
    """Numbers of the ``count`` blocks or stages whose maps are wanted.

    Raises:
        ValueError: there are none, or they are not ascending numbers below ``count``.
    """
    if not out_indices or list(out_indices) != sorted({*out_indices} & {*range(count)}):
        raise ValueError(f"out_indices must be ascending {kind} 0 to {count - 1}, got {tuple(out_indices)}")
    return tuple(out_indices)
