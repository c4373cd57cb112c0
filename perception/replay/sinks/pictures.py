"""Pictures of a replay: the scene from above and, where there are cameras, what they saw."""

from __future__ import annotations

from pathlib import Path

from ...structures import Frame, FramePredictions, SegmentationPredictions


class PictureSink:
    """Writes some frames as PNG: ``NNNN_bev.png``, and ``NNNN_cameras.png`` if the frame has pictures.

    Of a model that sees one picture at a time, the picture alone is drawn.

    Args:
        folder: where to.
        count: pictures at most.
        every: frames from one picture to the next.
        min_score: boxes, map elements and objects below it are not drawn.

    Raises:
        ValueError: ``count`` or ``every`` is below 1.
    """

    def __init__(self, folder: Path | str, count: int, every: int = 1, min_score: float = 0.3) -> None:
        if count < 1 or every < 1:
            raise ValueError(f"count and every must be >= 1, got {count} and {every}")
        self.folder, self.count, self.every, self.min_score = Path(folder), count, every, min_score
        self.paths: list[Path] = []
        self._seen = self._drawn = 0

    def write(self, frame: Frame, predictions: FramePredictions) -> None:
        """Draw the frame if it is one of the chosen."""
        number, self._seen = self._seen, self._seen + 1
        if number % self.every or self._drawn == self.count:
            return
        from ...visualization.frame_pictures import frame_pictures, save_picture

        self._drawn += 1
        views = ("cameras",) if isinstance(predictions, SegmentationPredictions) else ("bev", "cameras")
        pictures = frame_pictures(frame, predictions, views=views, min_score=self.min_score)
        self.paths += [save_picture(self.folder / f"{number:04d}_{view}.png", pictures[view]) for view in pictures]
