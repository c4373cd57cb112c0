"""Pictures joined to an MP4 file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from perception.atomic_write import atomic_path


def same_size(pictures: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Pictures (H, W, 3) uint8 with black added at the right and below the smaller ones, so that a video takes them."""
    height, width = (max((picture.shape[axis] for picture in pictures), default=0) for axis in (0, 1))
    return [
        np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)))
        for picture in pictures
    ]


def write_video(path: Path, pictures: Sequence[np.ndarray], rate: float) -> Path:
    """Write pictures as H.264, whole or not at all; returns the path.

    Args:
        path: an ``.mp4`` file.
        pictures: (H, W, 3) uint8 RGB, all of one size; an odd last row or column is cut off.
        rate: pictures a second.

    Raises:
        ValueError: there is no picture, their sizes differ, or the rate is not positive.
    """
    import av

    sizes = {picture.shape for picture in pictures}
    if len(sizes) != 1 or not rate > 0:
        raise ValueError(f"a video needs pictures of one size and a rate > 0, got sizes {sorted(sizes)} and {rate}")
    height, width = pictures[0].shape[0] // 2 * 2, pictures[0].shape[1] // 2 * 2
    with atomic_path(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            even = np.ascontiguousarray(picture[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    return path
