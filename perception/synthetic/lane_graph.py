"""Lanes along the streets of a plan and the connectors that carry them through the junctions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .layout import Plan, Street
from .ribbon import Ribbon, connect
from .town import Lane

CORNER_RADIUS = 4.5                # of the kerb at a junction [m]
ROAD_PAINT = "SINGLE_SOLID_YELLOW"
LANE_PAINT = "DOUBLE_DASHED_WHITE"
EDGE_PAINT = "SINGLE_SOLID_WHITE"


@dataclass(frozen=True)
class Arm:
    """A street as seen from one of its junctions."""

    street: int
    at_start: bool


@dataclass(frozen=True, eq=False)
class Network:
    """A plan with its lanes.

    Args:
        plan: the streets.
        side: +1 where people drive on the right, -1 on the left.
        ribbons: centre line of each street.
        cuts: per street, the stations at which its first junction ends and its last one begins [m].
        arms: per junction, its streets counter-clockwise.
        lanes: lanes and connectors by key.
    """

    plan: Plan
    side: int
    ribbons: tuple[Ribbon, ...]
    cuts: tuple[tuple[float, float], ...]
    arms: tuple[tuple[Arm, ...], ...]
    lanes: dict[str, Lane]

    def has_crossings(self, node: int) -> bool:
        """Whether people cross (and traffic yields) at a junction: a mere bend has neither."""
        return len(self.arms[node]) >= 3

    def street_of(self, lane: Lane) -> Street | None:
        """The street a lane runs along; None for a connector."""
        if lane.is_connector:
            return None
        return next(street for street in self.plan.streets if street.key == lane.road)


def build_network(plan: Plan, side: int) -> Network:
    """Lay lanes and connectors on a plan.

    Args:
        plan: streets in global metres.
        side: +1 for right-hand traffic, -1 for left-hand traffic.
    """
    if side not in (1, -1):
        raise ValueError(f"side must be 1 (right-hand traffic) or -1 (left-hand), got {side}")
    ribbons = tuple(Ribbon(street.line) for street in plan.streets)
    arms = tuple(_arms_of(node, plan, ribbons) for node in range(len(plan.nodes)))
    cuts = _cuts(plan, ribbons, arms)
    lanes = {}
    for street, ribbon, cut in zip(plan.streets, ribbons, cuts, strict=True):
        lanes.update({lane.key: lane for lane in _street_lanes(street, ribbon, cut, side)})
    for node in range(len(plan.nodes)):
        for lane in _connectors(node, plan, ribbons, arms[node], lanes, side):
            lanes[lane.key] = lane
            arriving = lanes[lane.key.split(":", 1)[1].split(">")[0]]
            lanes[arriving.key] = replace(arriving, successors=(*arriving.successors, lane.key))
    return Network(plan, side, ribbons, cuts, arms, lanes)


def arm_direction(arm: Arm, ribbons: tuple[Ribbon, ...], reach: float = 12.0) -> float:
    """Direction in which a street leaves the junction [rad], taken over its first metres."""
    ribbon = ribbons[arm.street]
    stations = np.array([0.0, min(reach, ribbon.length / 3)])
    first, second = ribbon.at(stations if arm.at_start else ribbon.length - stations)
    return float(np.arctan2(second[1] - first[1], second[0] - first[0]))


def _arms_of(node: int, plan: Plan, ribbons: tuple[Ribbon, ...]) -> tuple[Arm, ...]:
    arms = [
        Arm(index, at_start)
        for index, street in enumerate(plan.streets)
        for at_start, end in ((True, street.start), (False, street.end))
        if end == node
    ]
    return tuple(sorted(arms, key=lambda arm: arm_direction(arm, ribbons)))


def _cuts(
    plan: Plan, ribbons: tuple[Ribbon, ...], arms: tuple[tuple[Arm, ...], ...]
) -> tuple[tuple[float, float], ...]:
    """How far from its ends each street is freed from its neighbours, with room for the corners' curves."""
    depth = np.zeros((len(plan.streets), 2))
    for around in arms:
        for arm, neighbour in zip(around, (*around[1:], *around[:1]), strict=True):
            angle = (arm_direction(neighbour, ribbons) - arm_direction(arm, ribbons)) % (2 * np.pi)
            mine, other = (plan.streets[each.street].half_width for each in (arm, neighbour))
            for each, near, far in ((arm, mine, other), (neighbour, other, mine)):
                if angle < np.radians(160):                    # a true corner between the two
                    needed = (far + near * np.cos(angle)) / np.sin(angle) + CORNER_RADIUS / np.tan(angle / 2)
                else:
                    needed = 5.0
                column = 0 if each.at_start else 1
                limit = 0.36 * ribbons[each.street].length
                depth[each.street, column] = max(depth[each.street, column], min(max(needed, 5.0), limit))
    return tuple(
        (float(first), float(ribbon.length - last)) for (first, last), ribbon in zip(depth, ribbons, strict=True)
    )


def _street_lanes(street: Street, ribbon: Ribbon, cut: tuple[float, float], side: int) -> list[Lane]:
    lanes = []
    for forward in (True, False):
        for index in range(street.lanes):
            lateral = street.median / 2 + (index + 0.5) * street.lane_width
            lateral *= -side if forward else side
            line = ribbon.parallel(*(cut if forward else cut[::-1]), lateral)
            inner = ROAD_PAINT if index == 0 and street.median == 0 else LANE_PAINT if index else EDGE_PAINT
            outer = EDGE_PAINT if index == street.lanes - 1 else LANE_PAINT
            left, right = (inner, outer) if side > 0 else (outer, inner)
            key = f"{street.key}{'+' if forward else '-'}{index}"
            lanes.append(Lane(key, line, street.lane_width, False, street.key, (), left, right))
    return lanes


def _connectors(
    node: int, plan: Plan, ribbons: tuple[Ribbon, ...], arms: tuple[Arm, ...], lanes: dict[str, Lane], side: int
) -> list[Lane]:
    """Ways through a junction: outer lanes turn to the near side, inner ones to the far side, all go straight on."""
    connectors = []
    for arriving in arms:
        for leaving in arms:
            if leaving is arriving:
                continue
            turn = (arm_direction(leaving, ribbons) - arm_direction(arriving, ribbons) - np.pi) % (2 * np.pi)
            turn = turn - 2 * np.pi if turn > np.pi else turn
            for source, target in _lane_pairs(plan, arriving, leaving, turn, len(arms), side):
                connectors.append(_connector(node, lanes[source], lanes[target]))
    return connectors


def _lane_pairs(
    plan: Plan, arriving: Arm, leaving: Arm, turn: float, num_arms: int, side: int
) -> list[tuple[str, str]]:
    """Keys of the arriving and the leaving lane for each connector between two arms."""
    first, second = plan.streets[arriving.street], plan.streets[leaving.street]
    sign_in, sign_out = "-" if arriving.at_start else "+", "+" if leaving.at_start else "-"
    if abs(turn) < np.radians(35) or num_arms == 2:
        pairs = [(index, min(index, second.lanes - 1)) for index in range(first.lanes)]
    else:
        # The outermost lane (highest index) lies at the kerb, the innermost at the centre line.
        pairs = [(first.lanes - 1, second.lanes - 1)] if turn * side < 0 else [(0, 0)]
        if num_arms == 3:                                     # lanes that could not leave otherwise turn as well
            pairs += [(index, min(index, second.lanes - 1)) for index in range(first.lanes)]
    return [
        (f"{first.key}{sign_in}{source}", f"{second.key}{sign_out}{target}") for source, target in sorted(set(pairs))
    ]


def _connector(node: int, source: Lane, target: Lane) -> Lane:
    yaws = [float(np.arctan2(*(line[1] - line[0])[::-1])) for line in (source.centerline[-2:], target.centerline[:2])]
    curve = connect(source.centerline[-1], yaws[0], target.centerline[0], yaws[1])
    width = min(source.width, target.width)
    return Lane(f"node{node}:{source.key}>{target.key}", curve, width, True, f"node{node}", (target.key,))
