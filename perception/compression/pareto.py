"""What is not beaten in both of two things."""

from __future__ import annotations

from collections.abc import Sequence


def pareto_front(points: Sequence[Sequence[float]]) -> list[int]:
    """Numbers of the points that no other dominates, sorted by the first objective.

    A point dominates another if it is nowhere larger and somewhere smaller; equal points all stay.

    Args:
        points: pairs of objectives, both to be small, such as (latency in ms, 1 - metric).
    """
    order = sorted(range(len(points)), key=lambda place: tuple(points[place]))
    front: list[int] = []
    for place in order:
        first, second = points[place]
        best = points[front[-1]] if front else None
        if best is None or second < best[1] or (first, second) == tuple(best):
            front.append(place)
    return front
