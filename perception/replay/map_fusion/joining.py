"""Lines that go on where another ends."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from .merging import MergeRules
from .strand import Strand


def goes_on(first: Strand, second: Strand, rules: MergeRules) -> bool:
    """Whether ``second`` begins about where ``first`` ends, in the same direction."""
    gap = np.linalg.norm(second.points[0, :2] - first.points[-1, :2])
    aligned = first.tangents[-1] @ second.tangents[0] >= np.cos(rules.max_angle)
    return bool(gap <= reach(rules) and aligned)


def reach(rules: MergeRules) -> float:
    """Gap [m] up to which one line goes on in another."""
    return rules.tolerance + 2 * rules.spacing


def joined_ends(strands: list[Strand], rules: MergeRules) -> list[Strand]:
    """Lines that go on in one another put together, the narrowest gaps first; an end is joined once.

    A line joined with itself would be a ring and is left as it is.
    """
    partner = _partners(strands, rules)
    joined: list[Strand] = []
    placed: set[int] = set()
    for end in sorted(range(2 * len(strands)), key=lambda end: end in partner):           # chains begin at free ends
        if end // 2 in placed:
            continue
        chain: Strand | None = None
        at: int | None = end
        while at is not None:
            placed.add(at // 2)
            part = strands[at // 2][::-1] if at % 2 else strands[at // 2]
            chain = part if chain is None else _chained(chain, part)
            at = partner.get(at ^ 1)
        assert chain is not None                           # the loop ran at least once
        joined.append(chain)
    return joined


def _partners(strands: list[Strand], rules: MergeRules) -> dict[int, int]:
    """Which end is joined with which; 2 * p is the first vertex of line p, 2 * p + 1 its last."""
    ends = np.concatenate([strand.points[[0, -1], :2] for strand in strands])             # (2 * P, 2)
    pairs = cKDTree(ends).query_pairs(reach(rules), output_type="ndarray")                # (E, 2)
    gaps = np.linalg.norm(ends[pairs[:, 0]] - ends[pairs[:, 1]], axis=1)
    partner: dict[int, int] = {}
    chain_of = list(range(len(strands)))
    for one, other in pairs[np.argsort(gaps, kind="stable")].tolist():
        if one in partner or other in partner or chain_of[one // 2] == chain_of[other // 2]:
            continue
        first = strands[one // 2] if one % 2 else strands[one // 2][::-1]
        second = strands[other // 2][::-1] if other % 2 else strands[other // 2]
        if goes_on(first, second, rules):
            partner[one], partner[other] = other, one
            old, new = chain_of[other // 2], chain_of[one // 2]
            chain_of = [new if chain == old else chain for chain in chain_of]
    return partner


def _chained(first: Strand, second: Strand) -> Strand:
    """One after the other, without the vertices of the second that do not lie beyond the end of the first."""
    ahead = (second.points[:, :2] - first.points[-1, :2]) @ first.tangents[-1] > 0
    return Strand.joined([first, second[int(np.argmax(ahead)) :]] if ahead.any() else [first])
