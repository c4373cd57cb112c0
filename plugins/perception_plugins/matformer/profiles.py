"""Mix'n'Match: a width for each layer, and which choices fit a budget (MatFormer, section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Profile = tuple[int, ...]


class Candidate(NamedTuple):
    """A choice of widths and what it costs.

    Args:
        profile: hidden units of each layer.
        cost: in the unit of whatever measured it.
    """

    profile: Profile
    cost: float


def balanced_profiles(layers: int, widths: Sequence[int], *, max_jump: int = 1) -> list[Profile]:
    """Widths that never fall with depth and rise by small jumps, as the paper advises for layers of one model.

    Args:
        layers: their number L.
        widths: the granularities of a layer, ascending.
        max_jump: by how many granularities the width may rise from a layer to the next. With 1, G granularities give
            the sum over d of (G - d) times L - 1 over d.

    Returns:
        All such profiles of L widths, in lexicographic order, the uniform ones included.

    Raises:
        ValueError: there is no layer, the widths are not ascending, or ``max_jump`` is negative.
    """
    if layers < 1 or max_jump < 0:
        raise ValueError(f"layers must be >= 1 and max_jump >= 0, got {layers} and {max_jump}")
    if not widths or list(widths) != sorted(set(widths)):
        raise ValueError(f"widths must be ascending, got {tuple(widths)}")
    levels: list[Profile] = [(level,) for level in range(len(widths))]
    for _ in range(layers - 1):
        levels = [
            (*profile, level) for profile in levels
            for level in range(profile[-1], min(profile[-1] + max_jump + 1, len(widths)))
        ]
    return [tuple(widths[level] for level in profile) for profile in levels]


def within_budget(
    profiles: Iterable[Profile], cost: Callable[[Profile], float], budget: float
) -> list[Candidate]:
    """The profiles that cost at most ``budget``, the dearest first, of which one then takes the best on held-out data.

    Args:
        profiles: see `balanced_profiles`.
        cost: of a profile: parameters, seconds ... It is called once for each.
        budget: in the same unit.
    """
    candidates = [Candidate(profile, cost(profile)) for profile in profiles]
    return sorted((one for one in candidates if one.cost <= budget), key=lambda one: one.cost, reverse=True)


def cost_of_layers(
    measure: Callable[[Profile], float], layers: int, widths: Sequence[int]
) -> Callable[[Profile], float]:
    """A cost of any profile from measurements of the uniform ones, of layers that all cost alike.

    Where costs of layers add up, a profile costs the mean, over its layers, of what the model costs with all layers as
    wide as that one. So G measurements tell of all profiles.

    Args:
        measure: of a uniform profile, such as the median latency [s] of the model with these ``active_widths``.
        layers: their number L.
        widths: the granularities, each of which is measured once.

    Returns:
        A function of profiles that have no other widths.
    """
    uniform = {width: measure((width,) * layers) for width in widths}
    return lambda profile: sum(uniform[width] for width in profile) / len(profile)
