"""Lines of one class, seen again and again, fused as the frames come."""

from __future__ import annotations

import numpy as np

from ...structures.line_geometry import resample
from .ground_index import GroundIndex
from .merging import MergeRules, find_match, merge
from .strand import Strand

STRIDE = 8                                                 # vertices from one that is looked at to the next
MAX_DEPTH = 6                                              # how often what is left of a line is matched again


class LineFusion:
    """Keeps the lines found so far and puts every new one where it belongs.

    A new line is compared with those near it alone, and what the ego has left behind is put aside, so the time for a
    frame depends on how dense the map is there and not on how long the drive has been.

    Args:
        rules: when two lines are the same.
    """

    def __init__(self, rules: MergeRules) -> None:
        self.rules = rules
        self._strands: dict[int, Strand] = {}
        self._left_behind: list[Strand] = []
        self._index = GroundIndex()
        self._next_id = 0

    def add(self, line: np.ndarray, weight: np.ndarray, score: float, frame: int) -> None:
        """Take a line that a frame shows.

        Args:
            line: (V, 3) float64 vertices in the global frame [m]; one of no length is ignored.
            weight: (V,) what its positions count for.
            score: its confidence.
            frame: number of the frame; frames come in ascending order.
        """
        if len(line) < 2 or np.ptp(line[:, :2], axis=0).max() < 1e-6:
            return
        stacked = np.concatenate([line, weight[:, None]], axis=1)
        points = resample(stacked, self.rules.spacing)                                  # (W, 4)
        self._place(Strand.observed(points[:, :3], points[:, 3], score, frame))

    def leave_behind(self, center: np.ndarray, radius: float) -> None:
        """Put aside what lies further than ``radius`` from ``center`` (2,) or (3,) [m].

        New lines there begin anew, and `consolidated` puts both together.
        """
        for number, strand in list(self._strands.items()):
            near = np.flatnonzero(np.linalg.norm(strand.points[:, :2] - center[:2], axis=1) <= radius)
            first, last = (int(near[0]), int(near[-1]) + 1) if len(near) else (len(strand), len(strand))
            first = 0 if first < STRIDE else first         # a few vertices are not worth a cut
            last = len(strand) if len(strand) - last < STRIDE else last
            if (first, last) == (0, len(strand)):
                continue
            self._index.remove(number)
            del self._strands[number]
            self._left_behind += [part for part in (strand[:first], strand[last:]) if len(part)]
            if first < last:
                self._insert(strand[first:last])

    def consolidated(self) -> list[Strand]:
        """All lines, after each has been compared with the others once more, the weightiest first.

        Lines move as more is seen of them, so two that were apart at first may have come together.
        """
        again = LineFusion(self.rules)
        for strand in sorted([*self._left_behind, *self._strands.values()], key=lambda strand: -strand.weight.sum()):
            again._place(strand)
        return [again._strands[number] for number in sorted(again._strands)]

    def _place(self, strand: Strand) -> None:
        """Merge a line with those that it runs along; what is left of it is placed likewise."""
        waiting = [(strand, 0)]
        while waiting:
            piece, depth = waiting.pop()
            merged = self._merge(piece) if depth < MAX_DEPTH else None
            if merged is None:
                self._insert(piece)
                continue
            track, left, grown = merged
            if grown:                                      # it may reach another one now
                waiting.append((track, depth + 1))
            else:
                self._insert(track)
            least = 2 * self.rules.tolerance
            waiting += [(part, depth + 1) for part in left if len(part) > 1 and part.length > least]

    def _merge(self, piece: Strand) -> tuple[Strand, list[Strand], bool] | None:
        """Merge with the known line that it runs along furthest, which is taken out; None if there is none."""
        near = self._index.near(*self._extent(piece))
        matches = [(find_match(self._strands[number], piece, self.rules), number) for number in near]
        found = [(match, number) for match, number in matches if match is not None]
        if not found:
            return None
        match, number = max(found, key=lambda entry: entry[0].overlap)
        self._index.remove(number)
        return merge(self._strands.pop(number), match, self.rules)

    def _insert(self, strand: Strand) -> None:
        number, self._next_id = self._next_id, self._next_id + 1
        self._strands[number] = strand
        self._index.insert(number, *self._extent(strand))

    def _extent(self, strand: Strand) -> tuple[np.ndarray, float]:
        """Some points of a line, and how far from them anything that meets it can be [m]."""
        stops = np.concatenate([strand.points[:-1:STRIDE], strand.points[-1:]])
        return stops, self.rules.tolerance + STRIDE * self.rules.spacing
