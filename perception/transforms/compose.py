"""A pipeline of transforms, each a callable ``(frame, rng) -> frame``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import ConfigError
from ..registry import TRANSFORMS
from ..structures import Frame


class FrameTransform(Protocol):
    """Maps a frame to another one; leaves the given frame alone and draws from ``rng`` only."""

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The transformed frame."""
        ...


@TRANSFORMS.register_module()
class Compose:
    """Transforms one after the other.

    Args:
        transforms: configs (``dict(type="GlobalRotation", ...)``) or callables.

    Raises:
        ConfigError: an entry is neither, or its type is unknown.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any] | FrameTransform]) -> None:
        self.transforms: list[FrameTransform] = [_built(entry, place) for place, entry in enumerate(transforms)]

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """Apply all. Raises TypeError if one of them gives anything but a Frame."""
        for transform in self.transforms:
            result = transform(frame, rng)
            if not isinstance(result, Frame):
                raise TypeError(f"{transform!r} returned {type(result).__name__}, a transform returns a Frame")
            frame = result
        return frame

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


def _built(entry: Mapping[str, Any] | FrameTransform, place: int) -> FrameTransform:
    if isinstance(entry, Mapping):
        return TRANSFORMS.build(dict(entry))
    if not callable(entry):
        raise ConfigError(f"transforms[{place}]: expected a config or a callable, got {entry!r}")
    return entry
