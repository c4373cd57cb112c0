"""What is drawn of a frame in perspective: coloured straight pieces in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from perception.structures import Boxes3D, Frame, FramePredictions, MapPredictions, Predictions

from .map_lines import NamedLine, predicted_lines, true_lines
from .palette import TRUTH_COLOR, Color, class_color, truth_color

# Corner pairs of `Boxes3D.corners`: bottom ring, top ring, posts, and a cross on the front face.
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7), (0, 7), (3, 4))
PIECE = 1.0                                                # metres; longer pieces of map lines are divided


@dataclass(frozen=True, eq=False)
class Stroke:
    """One box or line.

    Args:
        segments: (S, 2, 3) float64 ends of its straight pieces, ego frame [m].
        color: of all of them.
        boldness: its width in widths of a box's edges; a predicted line is bold under the true one.
    """

    segments: np.ndarray
    color: Color
    boldness: int = 1


def strokes_of(frame: Frame, predictions: FramePredictions | None, min_score: float) -> list[Stroke]:
    """True and predicted boxes and map lines in the order of drawing; those with numbers that are not finite left out.

    Map lines without height lie on the ego frame's ground plane, z = 0. They are cut into pieces of at most 1 m, so
    that little is lost where a line passes the camera. Classes of pixels and points have no strokes.
    """
    strokes: list[Stroke] = []
    if isinstance(predictions, MapPredictions):
        found = predicted_lines(predictions, min_score)
        strokes += [_line_stroke(line, class_color(line[0]), boldness=2) for line in found]
    strokes += [_line_stroke(line, truth_color(line[0])) for line in true_lines(frame)]
    if frame.annotations is not None:
        known = frame.annotations[frame.annotations.labels >= 0]
        strokes += _box_strokes(known.boxes, [TRUTH_COLOR] * len(known))
    if isinstance(predictions, Predictions):
        kept = predictions[predictions.scores >= min_score]
        strokes += _box_strokes(kept.boxes, [class_color(name) for name in kept.names()])
    return [stroke for stroke in strokes if len(stroke.segments) and np.isfinite(stroke.segments).all()]


def _box_strokes(boxes: Boxes3D, colors: list[Color]) -> list[Stroke]:
    corners = boxes.corners().double().cpu().numpy()                                      # (K, 8, 3)
    return [Stroke(box[np.array(EDGES)], color) for box, color in zip(corners, colors, strict=True)]


def _line_stroke(named: NamedLine, color: Color, *, boldness: int = 1) -> Stroke:
    line = named[1].double().cpu()
    if line.shape[1] == 2:
        line = torch.cat([line, torch.zeros_like(line[:, :1])], dim=1)
    vertices = line.numpy()                                                               # (V, 3)
    sizes = np.linalg.norm(np.diff(vertices, axis=0), axis=1)                             # (V - 1,)
    if not np.isfinite(sizes).all():
        return Stroke(np.zeros((0, 2, 3)), color, boldness)
    parts = np.maximum(np.ceil(sizes / PIECE), 1).astype(np.int64)
    shares = np.concatenate([np.arange(count) / count for count in parts] or [np.zeros(0)])
    rows = np.repeat(np.arange(len(parts)), parts)
    starts = vertices[rows] + shares[:, None] * (vertices[rows + 1] - vertices[rows])     # (S, 3)
    ends = np.concatenate([starts[1:], vertices[-1:]])[: len(starts)]
    return Stroke(np.stack([starts, ends], axis=1), color, boldness)
