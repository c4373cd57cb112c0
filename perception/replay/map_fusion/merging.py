"""How two lines that show the same thing become one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .strand import Strand, feet_on

BULGE = 1.5                                                # tolerances that a short stretch may be off
MAX_GAP = 3                                                # vertices of such a stretch


@dataclass(frozen=True)
class MergeRules:
    """When two lines are the same, and how they are put together.

    Args:
        tolerance: distance [m] up to which they are taken for the same.
        max_angle: difference of their directions [rad] likewise; a line that runs the other way is turned round.
        min_overlap: stretch [m] that they must have in common, or half of the shorter one if that is less.
        spacing: distance of the vertices [m].
    """

    tolerance: float
    max_angle: float
    min_overlap: float
    spacing: float


@dataclass(frozen=True, eq=False)
class Match:
    """A stretch of a line that runs along another.

    Args:
        piece: the line, turned to run the other's way.
        start, stop: the stretch are its vertices ``start`` to ``stop - 1``.
        next_start: first vertex after ``stop`` that meets the other line again; its number of vertices if none does.
        previous_stop: likewise, one past the last vertex before ``start`` that does; 0 if none.
        arcs: (2,) where on the other line the stretch begins and ends [m].
    """

    piece: Strand
    start: int
    stop: int
    next_start: int
    previous_stop: int
    arcs: tuple[float, float]

    @property
    def overlap(self) -> float:
        """Its length on the other line [m]."""
        return self.arcs[1] - self.arcs[0]


def find_match(track: Strand, piece: Strand, rules: MergeRules) -> Match | None:
    """The longest stretch of ``piece`` that runs along ``track``; None if it is too short."""
    feet = feet_on(piece.points, track.points, rules.tolerance)
    if feet is None:
        return None
    along = (piece.tangents * feet.on(track.tangents)).sum(axis=1)                       # cosine, roughly
    beside = (feet.distance <= BULGE * rules.tolerance) & (feet.overhang <= rules.spacing / 2)
    close = beside & (feet.distance <= rules.tolerance) & (np.abs(along) >= np.cos(rules.max_angle))
    arcs = feet.on(track.arcs)
    if along[close].sum() < 0:
        piece, close, beside, arcs, along = piece[::-1], close[::-1], beside[::-1], arcs[::-1], -along[::-1]
    close &= along > 0
    runs = _runs(close | (beside & _in_short_gap(close)), arcs, rules)
    if not runs:
        return None
    lengths = [arcs[stop - 1] - arcs[start] for start, stop in runs]
    best = int(np.argmax(lengths))
    if lengths[best] < max(min(rules.min_overlap, 0.5 * min(piece.length, track.length)), 1e-9):
        return None
    start, stop = runs[best]
    next_start = runs[best + 1][0] if best + 1 < len(runs) else len(piece)
    previous_stop = runs[best - 1][1] if best else 0
    return Match(piece, start, stop, next_start, previous_stop, (float(arcs[start]), float(arcs[stop - 1])))


def _in_short_gap(close: np.ndarray) -> np.ndarray:
    """(W,) bool, which vertices lie between close ones that are at most `MAX_GAP` apart."""
    rows = np.arange(len(close))
    before = np.maximum.accumulate(np.where(close, rows, -len(close)))
    after = np.minimum.accumulate(np.where(close, rows, 2 * len(close))[::-1])[::-1]
    return after - before <= MAX_GAP + 1


def _runs(close: np.ndarray, arcs: np.ndarray, rules: MergeRules) -> list[tuple[int, int]]:
    """First and one past the last of neighbouring vertices that are close and advance steadily along the other line."""
    step = np.diff(arcs)
    steady = (step >= -rules.spacing) & (step <= 3 * rules.spacing + rules.tolerance)
    linked = close[1:] & close[:-1] & steady
    starts = np.flatnonzero(close & ~np.concatenate([[False], linked]))
    stops = np.flatnonzero(close & ~np.concatenate([linked, [False]])) + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=True))


def merge(track: Strand, match: Match, rules: MergeRules) -> tuple[Strand, list[Strand], bool]:
    """Put a line together with another that it matches.

    Where both run, positions are averaged by weight. Where one sees further, the line goes on. Where they part, the
    way with more weight behind it goes on, and the other is a line by itself.

    Returns:
        The merged line; what is left over; whether the merged line has become longer.
    """
    piece, total = match.piece, track.length
    begin, end = match.arcs
    merged, left = _averaged(track, match, rules), []
    merged, rest, grown_behind = _continued(
        merged, int(np.searchsorted(track.arcs, end, side="right")), total - end,
        piece[match.stop : match.next_start], piece[match.next_start :], rules,
    )
    left += rest
    flipped = merged[::-1]
    keep = len(merged) - int(np.searchsorted(track.arcs, begin, side="left"))
    merged, rest, grown_before = _continued(
        flipped, keep, begin,
        piece[match.previous_stop : match.start][::-1], piece[: match.previous_stop], rules,
    )
    return merged[::-1], left + rest, grown_behind or grown_before


def _averaged(track: Strand, match: Match, rules: MergeRules) -> Strand:
    stretch, arcs = match.piece[match.start : match.stop], track.arcs
    slack = rules.spacing / 2
    rows = np.flatnonzero((arcs >= match.arcs[0] - slack) & (arcs <= match.arcs[1] + slack))
    feet = feet_on(track.points[rows], stretch.points) if len(rows) else None
    if feet is None:
        return track
    good = (feet.distance <= BULGE * rules.tolerance) & (feet.overhang <= slack)
    return track.updated(rows[good], feet.on(stretch.points)[good], stretch[feet.vertex[good]])


def _continued(
    track: Strand, keep: int, beyond: float, tail: Strand, after: Strand, rules: MergeRules
) -> tuple[Strand, list[Strand], bool]:
    """Decide what follows the end of a common stretch.

    Args:
        track: the line.
        keep: its vertices up to the end of the stretch.
        beyond: how far it goes on by itself [m].
        tail: what the other line shows there.
        after: what it shows after meeting ``track`` again.
        rules: see `MergeRules`.
    """
    left = [after] if len(after) > 1 else []
    if not len(tail):
        return track, left, False
    if beyond <= rules.spacing:
        return Strand.joined([track, tail]), left, True
    if len(after):                                         # a bulge: it comes back to the line further on
        return track, left, False
    stub = track[keep:]
    if len(tail) < 2 or tail.weight.mean() <= stub.weight[: len(tail)].mean():
        return track, [*left, tail], False
    return Strand.joined([track[:keep], tail]), [*left, stub], True
