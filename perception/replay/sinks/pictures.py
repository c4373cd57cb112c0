"""Pictures of a replay: the scene from above and, where there are cameras, what they saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...atomic_write import atomic_path
from ...errors import DataError
from ...structures import Frame, Predictions


class PictureSink:
    """Writes some frames as PNG: ``NNNN_bev.png``, and ``NNNN_cameras.png`` if the frame has pictures.

    Args:
        folder: where to.
        count: pictures at most.
        every: frames from one picture to the next.
        min_score: boxes below it are not drawn.

    Raises:
        ValueError: ``count`` or ``every`` is below 1.
    """

    def __init__(self, folder: Path | str, count: int, every: int = 1, min_score: float = 0.3) -> None:
        if count < 1 or every < 1:
            raise ValueError(f"count and every must be >= 1, got {count} and {every}")
        self.folder, self.count, self.every, self.min_score = Path(folder), count, every, min_score
        self.paths: list[Path] = []
        self._seen = self._drawn = 0

    def write(self, frame: Frame, predictions: Predictions) -> None:
        number, self._seen = self._seen, self._seen + 1
        if number % self.every or self._drawn == self.count:
            return
        from ...visualization.bev import render_bev

        self._drawn += 1
        self._save(f"{number:04d}_bev.png", render_bev(frame, predictions, min_score=self.min_score))
        cameras = self._camera_mosaic(frame, predictions)
        if cameras is not None:
            self._save(f"{number:04d}_cameras.png", cameras)

    def _camera_mosaic(self, frame: Frame, predictions: Predictions) -> np.ndarray | None:
        from ...transforms.load_images import LoadImages
        from ...visualization.camera_overlay import mosaic, render_camera

        if not frame.cameras:
            return None
        decoded = LoadImages()(frame, np.random.default_rng(0))
        views = [render_camera(decoded, name, predictions, min_score=self.min_score) for name in decoded.cameras]
        return mosaic(views, columns=min(3, len(views)), width=640 if len(views) == 1 else 400)

    def _save(self, name: str, picture: np.ndarray) -> None:
        from PIL import Image

        path = self.folder / name
        try:
            with atomic_path(path) as temporary:
                Image.fromarray(picture).save(temporary)
        except OSError as error:
            raise DataError(path, "picture", "a file that can be written", error.strerror or error) from error
        self.paths.append(path)
