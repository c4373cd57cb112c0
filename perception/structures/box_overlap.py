"""Which boxes overlap, seen from above."""

from __future__ import annotations

from torch import Tensor

from .boxes3d import Boxes3D


def overlaps_bev(first: Boxes3D, second: Boxes3D) -> Tensor:
    """Whether the footprints share area, by the separating-axis test.

    Footprints that merely touch share none, and a box with a NaN overlaps nothing.

    Args:
        first: K boxes.
        second: L boxes of the same frame.

    Returns:
        (K, L) bool.
    """
    return _meet_on_axes_of(first, second) & _meet_on_axes_of(second, first).T


def _meet_on_axes_of(base: Boxes3D, other: Boxes3D) -> Tensor:
    """(K, L) bool: do the shadows on both axes of each ``base`` footprint overlap."""
    dx, dy = (other.centers[None, :, :2] - base.centers[:, None, :2]).unbind(-1)  # (K, L) each
    turn = other.yaws[None] - base.yaws[:, None]                                  # (K, L)
    c, s = base.yaws.cos()[:, None], base.yaws.sin()[:, None]                     # (K, 1)
    length, width = other.sizes[None, :, 0] / 2, other.sizes[None, :, 1] / 2      # (1, L)
    reach_along = base.sizes[:, None, 0] / 2 + length * turn.cos().abs() + width * turn.sin().abs()
    reach_across = base.sizes[:, None, 1] / 2 + length * turn.sin().abs() + width * turn.cos().abs()
    return ((c * dx + s * dy).abs() < reach_along) & ((c * dy - s * dx).abs() < reach_across)
