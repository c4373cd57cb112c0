"""From lines with what is known of each vertex to the lines of a map."""

from __future__ import annotations

import numpy as np
import shapely

from .joining import goes_on, joined_ends
from .merging import MergeRules
from .strand import Strand
from .views import Views

SIMPLIFY = 0.05                                            # metres that a vertex may be off the simplified line
WEAK = 0.25                                                # of a line's median confidence: its ends stop there
MIN_RING = 4.0                                             # tolerances; a shorter line is never closed


def finished_lines(strands: list[Strand], views: Views, rules: MergeRules) -> list[tuple[np.ndarray, float]]:
    """The vertices (V, 3) and the confidence of every line.

    Lines that go on where another ends become one. The confidence of a vertex is its evidence divided by the number of
    frames that had it in view, that of a line the mean of its vertices. An end that is much weaker than the rest of its
    line becomes a line by itself, or is cut off if it is short. A line whose ends meet is closed. Vertices that a
    straight line does without are left out.
    """
    if not strands:
        return []
    strands = joined_ends(strands, rules)
    everything = Strand.joined(strands)
    seen = np.maximum(views.count(everything.points), everything.hits)
    confidence = np.minimum(everything.evidence / seen, 1.0)
    cuts = np.cumsum([len(strand) for strand in strands])[:-1]
    found = []
    for strand, sure in zip(strands, np.split(confidence, cuts), strict=True):
        first, last = _strong_part(sure)
        middle = strand[first : last + 1]
        ends = [(strand[: first + 1], sure[:first]), (strand[last:], sure[last + 1 :])]
        parts = [(middle, sure[first : last + 1])] + [end for end in ends if end[0].length > 2 * rules.tolerance]
        for part, values in parts:
            if len(part) > 1:
                found.append((_simplified(_closed(part, rules).points), float(values.mean())))
    return found


def _strong_part(confidence: np.ndarray) -> tuple[int, int]:
    """First and last vertex that are not much weaker than the median."""
    strong = np.flatnonzero(confidence >= WEAK * np.median(confidence))
    return int(strong[0]), int(strong[-1])


def _closed(strand: Strand, rules: MergeRules) -> Strand:
    far = strand.length >= MIN_RING * rules.tolerance
    return Strand.joined([strand, strand[:1]]) if far and goes_on(strand, strand, rules) else strand


def _simplified(line: np.ndarray) -> np.ndarray:
    """Without needless vertices; heights come with the vertices that stay."""
    return shapely.get_coordinates(shapely.LineString(line).simplify(SIMPLIFY), include_z=True)
