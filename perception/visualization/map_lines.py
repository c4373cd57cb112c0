"""The map elements of a frame that pictures show, as lines with the name of their class."""

from __future__ import annotations

from torch import Tensor

from perception.structures import Frame, LaneGraph, MapPredictions
from perception.structures.vector_map import AREA_CLASSES

NamedLine = tuple[str, Tensor]                             # class, (V, 2 or 3) vertices in the ego frame [m]


def true_lines(frame: Frame) -> list[NamedLine]:
    """The vector map of a frame, or the lines of its lane graph if it has no vector map."""
    if frame.vector_map is not None:
        return list(zip(frame.vector_map.names(), frame.vector_map.lines, strict=True))
    return [] if frame.lane_graph is None else _lane_lines(frame.lane_graph, 0.0)


def predicted_lines(predictions: MapPredictions, min_score: float) -> list[NamedLine]:
    """Predicted elements and lanes of at least a score."""
    kept = predictions[predictions.scores >= min_score]
    lanes = [] if predictions.lanes is None else _lane_lines(predictions.lanes, min_score)
    return [*zip(kept.names(), kept.lines, strict=True), *lanes]


def _lane_lines(lanes: LaneGraph, min_score: float) -> list[NamedLine]:
    """Both borders and the middle of every lane, and the areas."""
    rows = range(len(lanes)) if lanes.scores is None else (lanes.scores >= min_score).nonzero().flatten().tolist()
    named = [("lane_segment", lanes.centers[row]) for row in rows]
    named += [("divider", border[row]) for row in rows for border in (lanes.lefts, lanes.rights)]
    scores = [1.0] * len(lanes.areas) if lanes.area_scores is None else lanes.area_scores.tolist()
    areas = zip(lanes.areas, lanes.area_labels.tolist(), scores, strict=True)
    return named + [(AREA_CLASSES[label], outline) for outline, label, score in areas if score >= min_score]
