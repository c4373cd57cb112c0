"""Which scenes a city has: their names, seeds, layouts and places.

Training scenes take place in towns of `TRAIN_LAYOUTS`, validation scenes in towns of `VAL_LAYOUTS`, and no two scenes
share a seed: a detector is never scored on streets or traffic that it was trained on. To learn to recognise places,
scenes of both splits may be drives through the same few towns instead, at other times.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LOCATIONS = ("singapore-onenorth", "boston-seaport", "singapore-queenstown", "singapore-hollandvillage")
TRAIN_LAYOUTS = ("grid", "boulevard", "suburb")
VAL_LAYOUTS = ("ring", "old_town")
SPLITS = ("train", "val")
SKYLINES = (1.0, 0.7, 1.5)          # factors on the heights of buildings
PLASTIC = 1.324717957244746         # its powers spread points evenly over the globe, however many there are
HIGHEST = 0.9                       # sine of the latitude that no town goes beyond


@dataclass(frozen=True)
class TownSite:
    """A town that several scenes are drives through.

    Args:
        number: in the city, from 0.
        seed: of its streets, houses and plants.
        layout: of its streets.
        location: map on which it stands.
        slot, page: its place there, see `ScenePlan`.
    """

    number: int
    seed: int
    layout: str
    location: str
    slot: int
    page: int

    @property
    def name(self) -> str:
        """Such as "town-3"."""
        return f"town-{self.number}"

    @property
    def skyline(self) -> float:
        """How much higher its buildings are than those of other towns of its layout."""
        return SKYLINES[self.number % len(SKYLINES)]

    @property
    def latlng(self) -> tuple[float, float]:
        """Latitude and longitude [deg] of the south-western corner of its square; more towns leave the first ones."""
        up, along = ((0.5 + (self.number + 1) / PLASTIC**power) % 1.0 for power in (2, 1))
        return round(math.degrees(math.asin(HIGHEST * (2.0 * up - 1.0))), 4), round(360.0 * along - 180.0, 4)


@dataclass(frozen=True)
class TownDrive:
    """One of the drives through a town: a leg of the tour of all its streets that each split makes.

    Args:
        town: where.
        split: whose tour.
        leg: number of the leg, from 0.
    """

    town: TownSite
    split: str
    leg: int


@dataclass(frozen=True)
class ScenePlan:
    """One scene before it is built.

    `slot` is its town's cell of the location's canvas, `page` the canvas's number, and `drive` tells whether it shares
    its town with other scenes; None is a town of its own.
    """

    name: str
    split: str
    number: int
    seed: int
    location: str
    layout: str
    slot: int
    page: int
    drive: TownDrive | None = None

    @property
    def town_name(self) -> str:
        """What its town is called: as the scene, unless others share it."""
        return self.name if self.drive is None else self.drive.town.name


def plan_scenes(train_scenes: int, val_scenes: int, seed: int, towns: int = 0) -> list[ScenePlan]:
    """Names, seeds and places of all scenes; adding scenes to a split leaves its first ones as they are.

    Args:
        train_scenes, val_scenes: scenes of the official splits.
        seed: of the city.
        towns: towns that the scenes of both splits go through in turn; 0 gives each scene a town of its own.

    Raises:
        ValueError: a number of scenes is negative or more than the official split has, or both are zero, or a split has
            too few for every town.
    """
    from nuscenes.utils import splits

    plans: list[ScenePlan] = []
    if towns < 0:
        raise ValueError(f"towns must be >= 0, got {towns}")
    for split, count, layouts in zip(SPLITS, (train_scenes, val_scenes), (TRAIN_LAYOUTS, VAL_LAYOUTS), strict=True):
        names = getattr(splits, split)
        if not 0 <= count <= len(names):
            raise ValueError(f"{split}_scenes must lie in [0, {len(names)}], got {count}")
        if 0 < count < towns:
            raise ValueError(f"{split}_scenes must be 0 or enough for each of {towns} towns, got {count}")
        for index, name in enumerate(names[:count]):
            if towns:
                plans.append(_drive(name, split, index, towns, seed))
            else:
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

    side = SPLITS.index(split)
    location = LOCATIONS[index % len(LOCATIONS)]
    cell = 2 * (index // len(LOCATIONS)) + side
    page, slot = divmod(cell, num_slots(location))
    return ScenePlan(
        name, split, _number(name), _seed(seed, side, index), location, layouts[index % len(layouts)], slot, page
    )


def _drive(name: str, split: str, index: int, towns: int, seed: int) -> ScenePlan:
    """The towns take turns."""
    leg, number = divmod(index, towns)
    town = town_site(number, seed)
    return ScenePlan(
        name, split, _number(name), _seed(seed, SPLITS.index(split), index), town.location, town.layout, town.slot,
        town.page, TownDrive(town, split, leg),
    )


def town_site(number: int, seed: int) -> TownSite:
    """The town of a number in the city of a seed."""
    from .world import num_slots

    layouts = (*TRAIN_LAYOUTS, *VAL_LAYOUTS)
    location = LOCATIONS[number % len(LOCATIONS)]
    page, slot = divmod(number // len(LOCATIONS), num_slots(location))
    return TownSite(
        number, _seed(seed, len(SPLITS), number), layouts[number % len(layouts)], location, slot, page
    )


def _number(name: str) -> int:
    return int(name.removeprefix("scene-"))


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(words).generate_state(1)[0])
