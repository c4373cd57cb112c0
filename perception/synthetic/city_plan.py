"""Which scenes a city has: their names, seeds, layouts and places.

Training scenes take place in towns of `TRAIN_LAYOUTS`, validation scenes in towns of `VAL_LAYOUTS`, and no two scenes
share a seed: a detector is never scored on streets or traffic that it was trained on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LOCATIONS = ("singapore-onenorth", "boston-seaport", "singapore-queenstown", "singapore-hollandvillage")
TRAIN_LAYOUTS = ("grid", "boulevard", "suburb")
VAL_LAYOUTS = ("ring", "old_town")


@dataclass(frozen=True)
class ScenePlan:
    """One scene before it is built; `slot` is its town's cell of the location's canvas, `page` the canvas's number."""

    name: str
    split: str
    number: int
    seed: int
    location: str
    layout: str
    slot: int
    page: int


def plan_scenes(train_scenes: int, val_scenes: int, seed: int) -> list[ScenePlan]:
    """Names, seeds and places of all scenes; adding scenes to a split leaves its first ones as they are.

    Raises:
        ValueError: a number of scenes is negative or more than the official split has, or both are zero.
    """
    from nuscenes.utils import splits

    plans: list[ScenePlan] = []
    for split, count, layouts in (("train", train_scenes, TRAIN_LAYOUTS), ("val", val_scenes, VAL_LAYOUTS)):
        names = getattr(splits, split)
        if not 0 <= count <= len(names):
            raise ValueError(f"{split}_scenes must lie in [0, {len(names)}], got {count}")
        for index, name in enumerate(names[:count]):
            plans.append(_plan(name, split, index, layouts, seed))
    if not plans:
        raise ValueError("a city needs at least one scene, got train_scenes=0 and val_scenes=0")
    return plans


def drives_on_the_right(location: str) -> bool:
    """Whether traffic keeps to the right at a location: so in Boston, in Singapore to the left."""
    return location.startswith("boston")


def _plan(name: str, split: str, index: int, layouts: tuple[str, ...], seed: int) -> ScenePlan:
    """The two splits take turns in the cells of a canvas, so that no two scenes ever stand in the same one."""
    from .world import num_slots

    side = 0 if split == "train" else 1
    location = LOCATIONS[index % len(LOCATIONS)]
    cell = 2 * (index // len(LOCATIONS)) + side
    page, slot = divmod(cell, num_slots(location))
    number = int(name.removeprefix("scene-"))
    scene_seed = int(np.random.SeedSequence([seed, side, index]).generate_state(1)[0])
    return ScenePlan(name, split, number, scene_seed, location, layouts[index % len(layouts)], slot, page)
