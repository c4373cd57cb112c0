"""Small TNT backbones."""

from __future__ import annotations

from typing import Any

from torch import nn

from perception_plugins.tnt import TNT, PyramidTNT

NAMES = ("TNT", "PyramidTNT")
MULTIPLES = {"TNT": 16, "PyramidTNT": 32}
TNT_SIZES: dict[str, Any] = {
    "img_size": (32, 48), "channels": 16, "word_channels": 4, "depth": 2, "heads": 2, "word_heads": 2,
}
PYRAMID_SIZES: dict[str, Any] = {
    "img_size": (128, 64), "depths": (1, 2, 1, 1), "channels": (8, 16, 16, 16), "word_channels": (2, 4, 6, 6),
    "heads": (1, 2, 4, 4), "word_heads": (1, 2, 2, 2),
}


def small_tnt(**options: Any) -> TNT:
    """Two blocks for pictures of 32 x 48."""
    return TNT(**{**TNT_SIZES, **options}).eval()


def small_pyramid(**options: Any) -> PyramidTNT:
    """One or two blocks a stage for pictures of 128 x 64."""
    return PyramidTNT(**{**PYRAMID_SIZES, **options}).eval()


def small(name: str, **options: Any) -> nn.Module:
    """One of the two by its registered name."""
    return {"TNT": small_tnt, "PyramidTNT": small_pyramid}[name](**options)
