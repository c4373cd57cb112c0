"""Map elements as columns of numbers, of one frame or of many in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from perception.datasets.maps.line_clipping import Region, clip_line
from perception.structures import Polylines

from .resampling import resample_lines

PUBLISHED_MARGIN_M = 2.0                                   # by which VectorMapNet's targets were divided too much


@dataclass(frozen=True, eq=False)
class MapElements:
    """Polylines with labels, and scores where a model gives them; ego frame, metres.

    Args:
        vertices: (V, 2) or (V, 3) float64, x y (z), line after line.
        counts: (P,) int64 number of vertices of each line.
        labels: (P,) int64 class, >= 0.
        scores: (P,) float64 confidence; None for the truth.

    Raises:
        ValueError: a shape is wrong, the counts do not add up, a number is not finite or a label is negative.
    """

    vertices: np.ndarray
    counts: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.vertices.ndim != 2 or self.vertices.shape[1] not in (2, 3):
            raise ValueError(f"vertices must be (V, 2) or (V, 3), got {self.vertices.shape}")
        if int(self.counts.sum()) != len(self.vertices):
            raise ValueError(f"counts add up to {int(self.counts.sum())} for {len(self.vertices)} vertices")
        for name in ("labels", "scores"):
            column = getattr(self, name)
            if column is not None and column.shape != self.counts.shape:
                raise ValueError(f"{name} must be ({len(self.counts)},), got {column.shape}")
        for name in ("vertices", "scores"):
            column = getattr(self, name)
            if column is not None and not np.isfinite(column).all():
                raise ValueError(f"{name} must be finite, got {(~np.isfinite(column)).sum()} numbers that are not")
        if (self.labels < 0).any():
            raise ValueError(f"labels must be >= 0, got {self.labels.min()}")

    @classmethod
    def from_lines(
        cls,
        lines: Sequence[npt.ArrayLike],
        labels: npt.ArrayLike,
        scores: npt.ArrayLike | None = None,
        dim: int = 2,
    ) -> MapElements:
        """From P lists of (V_i, 2 or 3) vertices; ``dim`` is the number of coordinates if there is no line."""
        arrays = [np.asarray(line, np.float64) for line in lines]
        for number, line in enumerate(arrays):
            if line.ndim != 2 or line.shape[1:] != arrays[0].shape[1:]:
                raise ValueError(f"lines[{number}] must be (V, 2) or (V, 3) like all others, got {line.shape}")
        return cls(
            np.concatenate(arrays) if arrays else np.zeros((0, dim)),
            np.array([len(line) for line in arrays], np.int64),
            np.asarray(labels, np.int64).reshape(-1),
            None if scores is None else np.asarray(scores, np.float64).reshape(-1),
        )

    @classmethod
    def from_polylines(cls, lines: Polylines, labels: np.ndarray, scores: np.ndarray | None = None) -> MapElements:
        """From the tensors of a `VectorMap` or of `MapPredictions`."""
        vertices = lines.vertices.detach().cpu().double().numpy()
        return cls(vertices, lines.counts.cpu().numpy(), labels, None if scores is None else scores.astype(np.float64))

    @classmethod
    def cat(cls, parts: Sequence[MapElements]) -> MapElements:
        """The elements of all parts, one or more; they have the same number of coordinates."""
        scores = [part.scores for part in parts if part.scores is not None]
        return cls(
            np.concatenate([part.vertices for part in parts]),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate(scores) if scores else None,
        )

    def __len__(self) -> int:
        return len(self.counts)

    def __getitem__(self, keep: np.ndarray) -> MapElements:
        """Those where the (P,) bool mask holds."""
        scores = None if self.scores is None else self.scores[keep]
        return MapElements(self.vertices[np.repeat(keep, self.counts)], self.counts[keep], self.labels[keep], scores)

    def between(self, begin: int, end: int) -> MapElements:
        """Those from one number to before another, without a copy."""
        first, last = self.counts[:begin].sum(), self.counts[:end].sum()
        scores = None if self.scores is None else self.scores[begin:end]
        return MapElements(self.vertices[first:last], self.counts[begin:end], self.labels[begin:end], scores)

    def lines(self) -> list[np.ndarray]:
        """P arrays (V_i, 2 or 3)."""
        return np.split(self.vertices, np.cumsum(self.counts)[:-1]) if len(self) else []

    def resampled(self, num_points: int) -> np.ndarray:
        """(P, num_points, 2 or 3), see `resample_lines`."""
        return resample_lines(self.vertices, self.counts, num_points)

    def shrunken(self, region: Region) -> MapElements:
        """As VectorMapNet's release scored them: the region and two metres more are squeezed into the region.

        Its targets divide by the extent plus 2 m, its metric multiplies by the extent alone (60/62 and 30/32).
        """
        low = np.array(region[:2])
        extent = np.array(region[2:]) - low
        vertices = self.vertices.copy()
        vertices[:, :2] = low + (vertices[:, :2] - low) * extent / (extent + PUBLISHED_MARGIN_M)
        return replace(self, vertices=vertices)

    def clipped(self, region: Region) -> MapElements:
        """What lies within a region: each piece of a line is an element of its own, lines inside stay as they are."""
        pieces = [clip_line(line, region) if len(line) > 1 else [] for line in self.lines()]
        of_line = np.repeat(np.arange(len(self)), [len(parts) for parts in pieces])
        scores = None if self.scores is None else self.scores[of_line]
        lines = [part for parts in pieces for part in parts]
        return MapElements.from_lines(lines, self.labels[of_line], scores, self.vertices.shape[1])
