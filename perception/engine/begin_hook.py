"""What hooks share that change a training from an iteration on."""

from __future__ import annotations

from mmengine.hooks import Hook


class BeginHook(Hook):
    """A hook with a first iteration.

    Args:
        begin: that iteration.

    Raises:
        ValueError: ``begin`` is negative.
    """

    priority = "NORMAL"

    def __init__(self, begin: int) -> None:
        if begin < 0:
            raise ValueError(f"begin must be >= 0, got {begin}")
        self.begin = begin
