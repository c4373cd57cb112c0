"""From what the head says of every query to lane segments, crossings and lines of one frame."""

from __future__ import annotations

import torch
from torch import Tensor

from perception.structures import Frame, LaneGraph, MapPredictions, Polylines
from perception.structures.polylines import resample_lines
from perception.structures.vector_map import LINE_TYPES, MAP_CLASSES

from .lane_loss import LaneMaps
from .lane_targets import CROSSING, CROSSING_AREA, LANE

LINE_POINTS = 10                                     # of each line in a result, as OpenLane-V2 scores them
CROSSING_LABEL, DIVIDER_LABEL = MAP_CLASSES.index("ped_crossing"), MAP_CLASSES.index("divider")
NO_LINE = LINE_TYPES.index("none")


def lane_predictions(
    maps: LaneMaps, connections: Tensor | None, sample: int, frame: Frame, min_line_score: float
) -> MapPredictions:
    """Everything said of one sample, best first.

    Every query gives one element of its best class: a lane, or a crossing whose outline is the left boundary followed
    by the reversed right one. ``lanes`` holds them all, in the form that OpenLane-V2 scores; its mAP, the mean of AP_ls
    and AP_ped, is the figure of such models. ``lines`` shows those of at least ``min_line_score``, for pictures and
    global maps: outlines of crossings, closed, as "ped_crossing", and boundaries of lanes that are painted (solid or
    dashed) as "divider". A boundary of a lane segment is a lane marking or none; where the road ends it does not say,
    so there is no "boundary", and neighbours give the divider between them twice.

    Args:
        maps: of the batch.
        connections: (B, Q, Q) how sure each connection is, in [0, 1]; None if they are not learned.
        sample: its number in the batch.
        frame: its frame.
        min_line_score: least score of lines.
    """
    scores, labels = maps.logits[sample].float().sigmoid().max(dim=1)                        # (Q,)
    order = scores.argsort(descending=True, stable=True)
    lanes, crossings = (order[labels[order] == label] for label in (LANE, CROSSING))
    centers, lefts, rights = (
        resample_lines(lines[sample].float(), LINE_POINTS) for lines in (maps.centers, maps.lefts, maps.rights)
    )
    outlines = torch.cat([lefts, rights.flip(1)], dim=1)[crossings]                          # (A, 2 K, 3)
    left_types, right_types = (types[sample].argmax(dim=1) for types in (maps.left_types, maps.right_types))
    joined = scores.new_zeros(len(lanes), len(lanes)) if connections is None else connections[sample][lanes][:, lanes]
    graph = LaneGraph(
        centers[lanes], lefts[lanes], rights[lanes], left_types[lanes], right_types[lanes], joined,
        areas=polylines_of(outlines), area_labels=torch.full_like(crossings, CROSSING_AREA),
        scores=scores[lanes], area_scores=scores[crossings],
    )
    dividers = torch.cat([lefts[lanes], rights[lanes]])                                      # (2 L, K, 3)
    divider_scores = scores[lanes].repeat(2)
    shown = torch.cat([left_types[lanes], right_types[lanes]]).ne(NO_LINE) & (divider_scores >= min_line_score)
    sure = scores[crossings] >= min_line_score
    closed = torch.cat([outlines, outlines[:, :1]], dim=1)[sure]
    lines = Polylines.cat([polylines_of(closed), polylines_of(dividers[shown])])
    line_scores = torch.cat([scores[crossings][sure], divider_scores[shown]])
    line_labels = torch.cat([
        crossings.new_full((int(sure.sum()),), CROSSING_LABEL), lanes.new_full((int(shown.sum()),), DIVIDER_LABEL)
    ])
    best = line_scores.argsort(descending=True, stable=True)
    return MapPredictions(
        frame.token, frame.timestamp_ns, lines[best], line_scores[best], line_labels[best], MAP_CLASSES,
        frame.global_from_ego, graph,
    )


def polylines_of(lines: Tensor) -> Polylines:
    """(P, V, 3) lines of equally many vertices."""
    counts = torch.full((len(lines),), lines.shape[1], dtype=torch.int64, device=lines.device)
    return Polylines(lines.flatten(0, 1), counts)
