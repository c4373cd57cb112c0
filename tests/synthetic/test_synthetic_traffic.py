"""Drivers: they keep their distance, stop at red, yield, and slow down for bends; the occupancy keeps count."""

from __future__ import annotations

import numpy as np
import pytest

from perception.synthetic.lane_graph import Network, build_network
from perception.synthetic.layout import make_plan
from perception.synthetic.occupancy import Occupancy
from perception.synthetic.routes import Route, make_route, random_keys
from perception.synthetic.scene import Trajectory
from perception.synthetic.traffic import Driver, RedLight, simulate

NETWORK = build_network(make_plan("grid", np.random.default_rng(3)), 1)


def longest_lane(network: Network) -> str:
    streets = [key for key, lane in network.lanes.items() if not lane.is_connector]
    return max(streets, key=lambda key: len(network.lanes[key].centerline))


def route_from(key: str, length: float = 200.0) -> Route:
    return make_route(NETWORK, random_keys(NETWORK, key, length, np.random.default_rng(0), straight=True))


def driver(route: Route, station: float, speed: float = 7.0, desired: float = 8.0) -> Driver:
    return Driver(route, station, speed, desired, front=2.3, rear=2.3, width=1.9)


def test_a_driver_alone_reaches_the_speed_it_wants():
    route = route_from(longest_lane(NETWORK))
    stations = simulate(NETWORK, [driver(route, 5.0, speed=4.0)], [], 0.0, 6.0)[0]
    assert (stations[-1] - stations[-2]) / 0.1 == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("ahead", [8.0, 15.0])
def test_a_follower_never_reaches_its_leader(ahead):
    route = route_from(longest_lane(NETWORK))
    leader, follower = driver(route, 5.0 + ahead, 2.0, 2.0), driver(route, 5.0)
    stations = simulate(NETWORK, [leader, follower], [], 0.0, 10.0)
    assert (stations[0] - stations[1]).min() > 4.6 + 0.5


def test_a_red_light_holds_a_driver_before_the_stop_line_until_it_ends():
    key = longest_lane(NETWORK)
    route = route_from(key)
    junction = NETWORK.lanes[route.keys[1]].road
    red = [RedLight(junction, NETWORK.lanes[key].road, 12.0)]
    stations = simulate(NETWORK, [driver(route, 5.0), driver(route_from(_elsewhere(key)), 5.0)], red, 0.0, 20.0)[0]
    at_twelve = stations[120]
    assert route.ends[0] - 20.0 < at_twelve < route.ends[0] - 5.8 - 2.3
    assert stations[-1] > route.ends[0]


def test_of_two_crossing_drivers_only_one_is_inside_the_junction():
    crossing = _crossing_connectors()
    drivers = []
    for connector in crossing:
        source = connector.split(":")[1].split(">")[0]
        route = make_route(NETWORK, (source, connector, *NETWORK.lanes[connector].successors, *_onward(connector)))
        drivers.append(driver(route, route.ends[0] - 12.0))
    stations = simulate(NETWORK, drivers, [], 0.0, 8.0)
    inside = [
        (path + 2.3 > each.route.ends[0]) & (path - 2.3 < each.route.ends[1])
        for path, each in zip(stations, drivers, strict=True)
    ]
    assert inside[0].any()
    assert inside[1].any()
    assert not (inside[0] & inside[1]).any()


def test_bends_are_taken_with_little_side_acceleration():
    keys = random_keys(NETWORK, longest_lane(NETWORK), 250.0, np.random.default_rng(2))
    route = make_route(NETWORK, keys)
    stations = simulate(NETWORK, [driver(route, 5.0, desired=12.0)], [], 0.0, 15.0)[0]
    speed, yaw = np.gradient(stations, 0.1), np.unwrap(route.ribbon.yaw(stations))
    assert np.abs(speed * np.gradient(yaw, 0.1)).max() < 4.0          # the limit is 2.2 over a smoothed curvature


def test_speed_never_turns_negative():
    route = route_from(longest_lane(NETWORK))
    stations = simulate(NETWORK, [driver(route, 14.0, 0.0, 0.6), driver(route, 8.0, 7.0)], [], 0.0, 4.0)
    assert (np.diff(stations, axis=1) >= 0).all()


def still(x: float, y: float, yaw: float = 0.0) -> Trajectory:
    return Trajectory(np.zeros(1), np.array([[x, y, 0.0, yaw]]))


@pytest.mark.parametrize(("x", "margin", "free"), [(4.1, 0.0, True), (4.1, 0.2, False), (3.9, 0.0, False)])
def test_occupancy_minds_the_margin(x, margin, free):
    occupancy = Occupancy(0.0, 1.0)
    occupancy.add(still(0.0, 0.0), (4.0, 2.0))
    assert occupancy.is_free(still(x, 0.0), (4.0, 2.0), margin) == free


def test_occupancy_lets_two_pass_the_same_place_one_after_the_other():
    occupancy = Occupancy(0.0, 10.0)
    east = Trajectory(np.array([0.0, 10.0]), np.array([[-50.0, 0, 0, 0], [50.0, 0, 0, 0]]))
    late = Trajectory(np.array([0.0, 10.0]), np.array([[0.0, -100.0, 0, np.pi / 2], [0.0, 50.0, 0, np.pi / 2]]))
    same = Trajectory(np.array([0.0, 10.0]), np.array([[0.0, -50.0, 0, np.pi / 2], [0.0, 50.0, 0, np.pi / 2]]))
    assert occupancy.claim(east, (4.0, 2.0))
    assert occupancy.claim(late, (4.0, 2.0))
    assert not occupancy.claim(same, (4.0, 2.0))
    assert len(occupancy) == 2


def test_occupancy_keeps_more_than_its_first_block():
    occupancy = Occupancy(0.0, 0.5)
    assert all(occupancy.claim(still(3.0 * index, 0.0), (2.0, 2.0)) for index in range(150))
    assert not occupancy.is_free(still(300.0, 0.5), (1.0, 1.0))


def test_occupancy_refuses_an_empty_span():
    with pytest.raises(ValueError, match="end_s must be later than start_s"):
        Occupancy(1.0, 1.0)


def _elsewhere(key: str) -> str:
    start = NETWORK.lanes[key].centerline[0]
    streets = [name for name, lane in NETWORK.lanes.items() if not lane.is_connector]
    return max(streets, key=lambda name: float(np.linalg.norm(NETWORK.lanes[name].centerline[0] - start)))


def _crossing_connectors() -> tuple[str, str]:
    """Two ways straight through one junction at right angles."""
    straight = [
        (key, lane) for key, lane in NETWORK.lanes.items()
        if lane.is_connector and np.linalg.norm(lane.centerline[-1] - lane.centerline[0]) > 15.0
        and len(NETWORK.arms[int(lane.road[4:])]) == 4
    ]
    for first, lane in straight:
        for second, other in straight:
            a, b = lane.centerline[-1] - lane.centerline[0], other.centerline[-1] - other.centerline[0]
            cosine = abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
            if lane.road == other.road and cosine < 0.2:
                return first, second
    raise LookupError("the grid has no four-way junction")


def _onward(connector: str) -> tuple[str, ...]:
    last = NETWORK.lanes[connector].successors[0]
    return random_keys(NETWORK, last, 60.0, np.random.default_rng(0), straight=True)[1:]
