"""Fused maps: what is one line, what stays two, how sure each is, and where it lies."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
import torch
from drives import CLASSES, REGION, Road, beside, curved_road, distance_between, observed, pose_on, straight_road
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.replay.map_fusion import MapFusion
from perception.structures import SE3, GlobalMap, MapPredictions, Polylines

LENGTH = 160.0                                             # metres of road
ENDS = 1.1                                                 # metres; vertices are 1 m apart, ends are noisy


def drive(elements: list[tuple[str, np.ndarray]], road: Road, noise: float = 0.0, seed: int = 0) -> GlobalMap:
    rng, fusion = np.random.default_rng(seed), MapFusion(region=REGION)
    for way in np.arange(0.0, LENGTH, 2.0):
        fusion.add(observed(pose_on(road, way), elements, rng, noise))
    return fusion.result()


def off_the_line(line: torch.Tensor, truth: np.ndarray) -> float:
    """Largest distance [m] from a line of the true vertices but for its ends."""
    return float(shapely.distance(shapely.LineString(line[:, :2].numpy()), shapely.points(truth[1:-1])).max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("road", [straight_road, curved_road])
def test_a_line_seen_in_noisy_parts_becomes_one_line_of_its_whole_length(road: Road, seed: int):
    truth = beside(road, 3.5, LENGTH)
    fused = drive([("divider", truth)], road, noise=0.2, seed=seed)
    assert len(fused) == 1
    assert off_the_line(fused.lines.vertices, truth) < 0.3        # single observations are off by up to 0.9 m
    assert distance_between(fused.lines.vertices, truth) < ENDS
    assert fused.confidence.item() == pytest.approx(0.8, abs=0.02)      # seen with 0.8 whenever in view


def test_without_noise_the_line_is_the_true_one():
    truth = beside(straight_road, -2.0, LENGTH)
    fused = drive([("boundary", truth)], straight_road)
    assert fused.names() == ["boundary"]
    assert distance_between(fused.lines.vertices, truth) < 1e-3   # predictions are float32
    torch.testing.assert_close(fused.lines.vertices[:, 2], torch.full((len(fused.lines.vertices),), 12.0).double())


@pytest.mark.parametrize("road", [straight_road, curved_road])
def test_parallel_lines_three_metres_apart_stay_two(road: Road):
    truths = [beside(road, left, LENGTH) for left in (0.5, 3.5)]
    fused = drive([("divider", truth) for truth in truths], road, noise=0.2)
    assert len(fused) == 2
    errors = [[off_the_line(line, truth) for truth in truths] for line in fused.lines]
    assert max(min(error) for error in errors) < 0.3
    assert {int(np.argmin(error)) for error in errors} == {0, 1}


def test_lines_of_different_classes_on_the_same_spot_stay_two():
    truth = beside(straight_road, 2.0, LENGTH)
    assert sorted(drive([("divider", truth), ("boundary", truth)], straight_road).names()) == ["boundary", "divider"]


def test_something_seen_once_has_little_confidence():
    truth, rng, fusion = beside(straight_road, 3.5, LENGTH), np.random.default_rng(0), MapFusion(region=REGION)
    ghost = np.array([[4078.0, 990.0], [4090.0, 993.0]])
    for way in np.arange(0.0, LENGTH, 2.0):
        seen = [("divider", truth)] + [("divider", ghost)] * int(way == 80.0)
        fusion.add(observed(pose_on(straight_road, way), seen, rng))
    sure, unsure = fusion.result().confidence.tolist()
    assert sure == pytest.approx(0.8, abs=0.01)
    assert unsure == pytest.approx(0.8 / 30, rel=0.1)      # in view for 60 m, a frame every 2 m


def test_a_line_seen_twice_in_one_frame_counts_once():
    rng, fusion, truth = np.random.default_rng(0), MapFusion(region=REGION), beside(straight_road, 3.5, 40.0)
    fusion.add(observed(pose_on(straight_road, 10.0), [("divider", truth)] * 3, rng))
    fused = fusion.result()
    assert (len(fused), fused.confidence.item()) == (1, pytest.approx(0.8))


def test_a_line_of_which_the_ends_alone_were_seen_stays_two():
    rng, fusion = np.random.default_rng(0), MapFusion(region=REGION)
    for start in (0.0, 30.0):
        truth = beside(straight_road, 3.5, start + 15.0, start)
        fusion.add(observed(pose_on(straight_road, 20.0), [("divider", truth)], rng))
    assert sorted(round(length) for length in fusion.result().lines.lengths().tolist()) == [15, 15]


def test_two_parts_become_one_when_a_frame_sees_what_is_between():
    rng, fusion = np.random.default_rng(0), MapFusion(region=REGION)
    for start, stop in ((0.0, 15.0), (30.0, 45.0), (8.0, 38.0)):
        truth = beside(straight_road, 3.5, stop, start)
        fusion.add(observed(pose_on(straight_road, 20.0), [("divider", truth)], rng))
    assert fusion.result().lines.lengths().tolist() == [pytest.approx(45.0, abs=0.01)]


def test_a_branch_is_a_line_of_its_own():
    main = beside(straight_road, 2.0, LENGTH)
    branch = np.concatenate([beside(straight_road, 2.0, 80.0), [[4110.0, 1016.0]]])        # leaves by 25 degrees
    fused = drive([("boundary", main), ("boundary", branch)], straight_road)
    fused = fused[fused.confidence > 0.1]                  # where they part, a frame or two saw what no other did
    assert len(fused) == 2
    assert fused.lines.lengths().sum().item() == pytest.approx(LENGTH + math.hypot(30.0, 14.0), abs=6.0)


def test_a_ring_seen_arc_by_arc_is_closed():
    angles = np.linspace(0.0, 2 * np.pi, 73)
    ring = np.stack([4060.0 + 8 * np.cos(angles), 1000.0 + 8 * np.sin(angles)], axis=1)
    fused, centre = drive([("boundary", ring)], straight_road), np.array([4060.0, 1000.0])
    assert fused.lines.is_closed().tolist() == [True]
    radii = np.linalg.norm(fused.lines.vertices[:, :2].numpy() - centre, axis=1)
    assert np.abs(radii - 8.0).max() < 0.15                # chords of 1 m are averaged with each other


def crossing(x: float, y: float, length: float = 12.0, width: float = 4.0) -> np.ndarray:
    """A closed outline around a place."""
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0]])
    return corners * (width / 2, length / 2) + (x, y)


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_a_crossing_that_comes_into_view_bit_by_bit_is_one_closed_outline(noise: float):
    truth = shapely.Polygon(crossing(4060.0, 1000.0))
    fused = drive([("ped_crossing", crossing(4060.0, 1000.0))], straight_road, noise)
    assert (fused.names(), fused.lines.is_closed().tolist()) == (["ped_crossing"], [True])
    outline = shapely.Polygon(fused.lines.vertices[:, :2].numpy())
    assert outline.intersection(truth).area / outline.union(truth).area > 0.85     # cells of 0.2 m around 12 m x 4 m
    assert fused.confidence.item() > 0.7


def test_crossings_beside_each_other_stay_two():
    pair = [("ped_crossing", crossing(x, 1000.0)) for x in (4060.0, 4066.0)]
    assert len(drive(pair, straight_road, 0.2)) == 2


def test_an_outline_that_crosses_itself_counts_by_its_hull():
    bow = crossing(4010.0, 1000.0)[[0, 2, 1, 3, 0]]
    fusion = MapFusion(region=REGION)
    fusion.add(predicted([torch.from_numpy(bow - (4010.0, 1000.0)).float()], "ped_crossing"))
    assert shapely.Polygon(fusion.result().lines.vertices[:, :2].numpy()).area == pytest.approx(48.0, rel=0.1)


def predicted(lines: list[torch.Tensor], name: str = "divider", scores: float = 0.9) -> MapPredictions:
    labels = torch.full((len(lines),), CLASSES.index(name))
    return MapPredictions(
        "frame-7", 0, Polylines.from_lines(lines), torch.full((len(lines),), scores), labels, CLASSES,
        global_from_ego=SE3.identity(),
    )


@pytest.mark.parametrize("name", ["divider", "ped_crossing"])
@pytest.mark.parametrize(
    "line",
    [torch.zeros(1, 2), torch.zeros(3, 2), torch.full((2, 2), math.nan), torch.tensor([[0.0, 0.0], [math.inf, 1.0]])],
    ids=["one vertex", "no length", "not a number", "endless"],
)
def test_a_shape_of_no_extent_leaves_no_trace(line: torch.Tensor, name: str):
    fusion = MapFusion()
    fusion.add(predicted([line], name))
    assert len(fusion.result()) == 0


def test_an_empty_drive_gives_an_empty_map():
    empty = MapFusion().result()
    assert (len(empty), len(empty.trajectory), empty.geo_reference) == (0, 0, None)


def test_frames_without_elements_give_their_trajectory():
    fusion = MapFusion()
    fusion.add(predicted([]))
    assert (len(fusion.result()), len(fusion.result().trajectory)) == (0, 1)


def test_a_frame_without_a_pose_is_refused_by_name():
    with pytest.raises(ValueError, match="frame frame-7 has no pose"):
        MapFusion().add(replace(predicted([]), global_from_ego=None))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance must be finite and > 0 m, got 0.0"),
        ({"spacing": math.nan}, "spacing must be finite and > 0 m, got nan"),
        ({"min_overlap": math.inf}, "min_overlap must be finite"),
        ({"max_angle": 2.0}, r"max_angle must lie in \(0, pi / 2\) rad, got 2.0"),
        ({"region": (1.0, 0.0, -1.0, 2.0)}, "region must be x_min < x_max"),
    ],
)
def test_settings_out_of_range_are_refused(options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        MapFusion(**options)


@pytest.mark.parametrize("score", [0.29, 0.31])
def test_unlikely_elements_are_left_out(score: float):
    fusion = MapFusion(min_score=0.3)
    fusion.add(predicted([torch.tensor([[0.0, 1.0], [9.0, 1.0]])], scores=score))
    assert len(fusion.result()) == (score > 0.3)


def test_a_long_drive_back_over_the_same_road_gives_the_same_line():
    truth, rng, fusion = beside(straight_road, 3.5, 600.0), np.random.default_rng(0), MapFusion(region=REGION)
    for way in (*np.arange(0.0, 600.0, 5.0), *np.arange(600.0, 0.0, -5.0)):     # more than is kept at hand
        fusion.add(observed(pose_on(straight_road, way), [("divider", truth)], rng, 0.2))
    fused = fusion.result()
    assert len(fused) == 1
    assert off_the_line(fused.lines.vertices, truth) < 0.3
    assert fused.lines.lengths().item() == pytest.approx(600.0, abs=2 * ENDS)


@settings(max_examples=15)
@given(
    yaw=st.floats(-math.pi, math.pi), x=st.floats(-2e3, 2e3), y=st.floats(-2e3, 2e3), seed=st.integers(0, 99),
)
def test_the_map_moves_with_the_global_frame(yaw: float, x: float, y: float, seed: int):
    rng = np.random.default_rng(seed)
    truth, moved_from_global = beside(curved_road, 3.5, 40.0), SE3.about_z(yaw, (x, y, 3.0))
    here, there = MapFusion(), MapFusion()
    for way in np.arange(0.0, 40.0, 4.0):
        seen = observed(pose_on(curved_road, way), [("divider", truth)], rng, 0.2)
        here.add(seen)
        there.add(replace(seen, global_from_ego=moved_from_global @ pose_on(curved_road, way)))
    lines, moved = here.result().lines.moved_by(moved_from_global), there.result().lines
    assert lines.counts.tolist() == moved.counts.tolist()
    torch.testing.assert_close(moved.vertices, lines.vertices, rtol=0, atol=1e-6)          # float64 throughout
