"""What `forward` of a task model is asked for, and the frames that it takes for it."""

from __future__ import annotations

from collections.abc import Sequence

from perception.structures import Frame

MODES = ("loss", "predict", "tensor")


def frames_for(mode: str, data_samples: Sequence[Frame] | None, num_clouds: int | None = None) -> Sequence[Frame]:
    """The frames of a batch; none if none were given, which "tensor" allows.

    Args:
        mode: one of `MODES`.
        data_samples: the frames, or None.
        num_clouds: point clouds of the batch, as many as there must be frames; None for models that read no points.

    Raises:
        ValueError: the mode is another, or the frames are missing or not as many as the clouds.
    """
    if mode not in MODES:
        raise ValueError(f'mode must be "loss", "predict" or "tensor", got {mode!r}')
    frames = data_samples or ()
    if mode == "tensor":
        return frames
    if num_clouds is not None and len(frames) != num_clouds:
        raise ValueError(f'mode "{mode}" needs one frame for each of the {num_clouds} point clouds')
    if num_clouds is None and not frames:
        raise ValueError(f'mode "{mode}" needs the frames of the batch')
    return frames
