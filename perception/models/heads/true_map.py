"""The true map elements that a head learns from."""

from __future__ import annotations

from collections.abc import Sequence

from perception.errors import ConfigError
from perception.structures import Frame, VectorMap


def true_map(frame: Frame, classes: Sequence[str]) -> VectorMap:
    """The vector map of a frame.

    Args:
        frame: of a training batch.
        classes: those of the head, in its order.

    Raises:
        ConfigError: the frame has no vector map, or one of other classes.
    """
    elements = frame.vector_map
    if elements is None:
        raise ConfigError(f"frame {frame.token} has no vector map to learn from; give the data set a `map`")
    if tuple(elements.classes) != tuple(classes):
        raise ConfigError(
            f"the head names the map classes {', '.join(classes)}; the data set has {', '.join(elements.classes)}"
        )
    return elements
