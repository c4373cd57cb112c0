"""Lane segments, areas and connections: by hand, then edges, refusals and the metric class."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from map_cases import lanes
from rich.console import Console

from perception.errors import DataError
from perception.evaluation.maps.lane_distances import (
    UNMATCHED,
    area_distances,
    crossing_edges,
    lane_distances,
    prepared_truth,
    range_relaxation,
)
from perception.evaluation.maps.openlanev2_ap import evaluate_openlanev2, uni_score
from perception.evaluation.maps.topology import vertex_precisions
from perception.evaluation.openlanev2 import OpenLaneV2Metric, openlanev2_table
from perception.evaluation.openlanev2_results import read_openlanev2_results, write_openlanev2_results
from perception.registry import METRICS
from perception.structures import SE3, Frame, LaneGraph, MapPredictions, Polylines

SQUARE = [[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [4.0, 2.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def backwards(graph: LaneGraph) -> LaneGraph:
    return replace(
        graph, centers=graph.centers.flip(1), lefts=graph.lefts.flip(1), rights=graph.rights.flip(1),
        areas=Polylines.from_lines([line.flip(0) for line in graph.areas], dim=3),
    )


# Worked by hand.

def test_a_lane_that_lies_beside_is_one_and_a_half_times_its_offset_away():
    """Frechet of the centres and Chamfer of both sides are 0.4 m each; near the vehicle nothing is relaxed."""
    np.testing.assert_allclose(lane_distances(lanes(0.0), lanes(0.4)), [[0.6]], atol=1e-12)


def test_distances_of_far_lanes_are_relaxed_to_no_less_than_a_half():
    centers = np.zeros((3, 10, 3))
    centers[:, :, 0] = np.array([0.0, 40.0, 500.0])[:, None]
    np.testing.assert_allclose(range_relaxation(centers), [1.0, 0.8, 0.5])


def test_lanes_three_metres_apart_are_not_compared():
    np.testing.assert_allclose(lane_distances(lanes(0.0), lanes(2.9, 3.0)), [[4.35, UNMATCHED]])


def test_only_the_truth_loses_its_closing_point():
    """Four corners of the truth, whose mean distance to themselves is 0, against five points of the prediction."""
    ring, opened = lanes(areas=[SQUARE]), lanes(areas=[SQUARE[:-1]])
    off = lanes(areas=[[*SQUARE[:-1], [0.0, 0.0, 3.0]]])
    np.testing.assert_allclose(area_distances(ring, opened), [[0.0]])
    np.testing.assert_allclose(area_distances(ring, off), [[0.5 * 3.0 / 5.0]])


def test_the_direction_matters_for_lanes_and_not_for_areas():
    truth = lanes(0.0, areas=[SQUARE], length=18.0)
    straight, reverse = (evaluate_openlanev2([truth], [graph]) for graph in (truth, backwards(truth)))
    assert (straight.ap_ls.tolist(), straight.ap_ped.tolist()) == ([1.0] * 3, [1.0] * 3)
    assert (reverse.ap_ls.tolist(), reverse.ap_ped.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_a_distance_equal_to_the_threshold_does_not_count():
    raised = [[x, y, 1.0] for x, y, _ in SQUARE[:-1]]
    assert evaluate_openlanev2([lanes(areas=[SQUARE])], [lanes(areas=[raised])]).ap_ped.tolist() == [0.0, 0.0, 1.0]


def test_connections_of_a_chain_of_three_lanes():
    """0 -> 1 -> 2; predicted 0 -> 1 and 0 -> 2, the wrong one more surely. Out: 1/2, 0, 1; in: 1, 1, 0."""
    truth = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], float)
    predicted = np.array([[0, 0.6, 0.9], [0, 0, 0.2], [0, 0, 0]])
    matches = np.arange(3)
    np.testing.assert_allclose(vertex_precisions(truth, predicted, matches, matches), [0.5, 0.0, 1.0, 1.0, 1.0, 0.0])


def test_a_lane_that_was_not_found_counts_as_wrongly_connected():
    """Version 2.0 of the devkit gave 1 for vertices without a neighbour; so not here."""
    matches = np.array([0, -1])
    precisions = vertex_precisions(np.zeros((2, 2)), np.zeros((2, 2)), matches, matches)
    assert precisions.tolist() == [0.0, 0.0, 0.0, 0.0]
    assert vertex_precisions(np.zeros((1, 1)), np.zeros((2, 2)), matches, matches).tolist() == [1.0, 1.0]


def test_connections_of_lanes_with_other_things_need_no_square():
    precisions = vertex_precisions(np.array([[1.0], [0.0]]), np.array([[0.2], [0.7]]), np.array([1, 0]), np.array([0]))
    assert precisions.tolist() == [1.0, 1.0, 1.0]


def test_the_mean_of_all_scores_takes_the_roots_of_the_connections():
    assert uni_score(0.3, 0.2, 0.4, 0.25, 0.16) == pytest.approx((0.3 + 0.2 + 0.4 + 0.5 + 0.4) / 5)


def test_a_crossing_is_compared_by_its_first_and_third_edge_where_lanesegnet_does():
    edges = prepared_truth(lanes(areas=[SQUARE]), "edges").areas.vertices.numpy()
    np.testing.assert_allclose(edges[[0, 9, 10, 19], :2], [[0, 0], [4, 0], [4, 2], [0, 2]])
    assert len(prepared_truth(lanes(areas=[SQUARE, SQUARE])).areas.vertices) == 40


# What must not matter, edges, refusals.

def test_a_turn_about_the_vehicle_changes_nothing_and_a_shift_only_the_relaxation():
    truth = [lanes(0.0, 4.0, connections=[[0, 1], [0, 0]], areas=[SQUARE])]
    found = [lanes(0.3, 5.2, connections=[[0, 0.8], [0.6, 0]], areas=[(np.array(SQUARE) + 0.2).tolist()])]
    expected = evaluate_openlanev2(truth, found).flat()
    turn = SE3.about_z(0.7, [0.0, 0.0, 0.0])
    turned = evaluate_openlanev2([truth[0].moved_by(turn)], [found[0].moved_by(turn)]).flat()
    assert turned == pytest.approx(expected, abs=1e-6)
    twice = evaluate_openlanev2(truth * 2, found * 2)
    assert twice.top_lsls == pytest.approx(expected["TOP_lsls"])


def test_nothing_true_and_nothing_predicted_is_perfect_and_truth_alone_is_not():
    assert evaluate_openlanev2([lanes()], [lanes()]).mean_ap == 1.0
    assert evaluate_openlanev2([], []).det_a == 1.0
    alone = evaluate_openlanev2([lanes(0.0, areas=[SQUARE])], [lanes()])
    assert (alone.ap_ls.mean(), alone.ap_ped.mean(), alone.top_lsls) == (0.0, 0.0, 0.0)
    assert evaluate_openlanev2([lanes()], [lanes(0.0, areas=[SQUARE])]).mean_ap == 0.0


def test_graphs_that_do_not_fit_are_refused():
    good = lanes(0.0, areas=[SQUARE])
    for changes, match in (
        ({"scores": None}, r"predictions\[0\].scores must be given, got None"),
        ({"centers": good.centers * math.nan}, r"predictions\[0\].centers must be finite, got 30 that are not"),
        ({"area_labels": torch.tensor([2])}, r"predictions\[0\].area_labels must lie in \[0, 2\), got \[2\]"),
    ):
        with pytest.raises(ValueError, match=match):
            evaluate_openlanev2([good], [replace(good, **changes)])                # type: ignore[arg-type]
    with pytest.raises(ValueError, match="predictions must be those of the 1 frames of truth, got 0"):
        evaluate_openlanev2([good], [])
    with pytest.raises(ValueError, match="outline must have four corners or more, got 3"):
        crossing_edges(np.zeros((3, 3)))
    with pytest.raises(ValueError, match='crossings must be "outline" or "edges", got \'both\''):
        prepared_truth(good, "both")


# The metric class and its file.

def frame_and_sample(token: str, truth: LaneGraph, found: LaneGraph | None) -> tuple[Frame, MapPredictions]:
    nothing = Polylines.from_lines([])
    sample = MapPredictions(token, 0, nothing, torch.zeros(0), torch.zeros(0, dtype=torch.int64), lanes=found)
    return Frame(token, 0, lane_graph=truth), sample


def test_the_metric_is_built_by_its_name_and_writes_both_files(tmp_path: Path):
    metric = METRICS.build({"type": "OpenLaneV2Metric", "output_dir": str(tmp_path)})
    truth = lanes(0.0, 4.0, connections=[[0, 1], [0, 0]], areas=[SQUARE])
    for _ in range(2):                                     # a frame that came twice counts once
        frame, sample = frame_and_sample("a", truth, prepared_truth(truth))
        metric.process([frame], [sample])
    flat = metric.evaluate(size=2)
    assert flat["openlanev2/AP_ls"] == flat["openlanev2/AP_ped"] == flat["openlanev2/TOP_lsls"] == 1.0
    assert {path.name for path in tmp_path.iterdir()} == {"results_openlanev2.json", "metrics_openlanev2.json"}
    buffer = io.StringIO()
    Console(file=buffer, width=100).print(openlanev2_table(flat))
    assert "lane segment" in buffer.getvalue()
    assert "1.000" in buffer.getvalue()


def test_what_was_written_scores_as_what_was_predicted(tmp_path: Path):
    truth = lanes(0.0, 4.0, connections=[[0, 1], [0, 0]], areas=[SQUARE])
    found = lanes(0.3, 5.2, connections=[[0, 0.8], [0.6, 0]], areas=[(np.array(SQUARE) + 0.2).tolist()])
    path = write_openlanev2_results({"a": found, "b": lanes()}, tmp_path / "results.json")
    read = read_openlanev2_results(path)
    assert list(read) == ["a", "b"]
    assert evaluate_openlanev2([truth], [read["a"]]).flat() == evaluate_openlanev2([truth], [found]).flat()


def test_frames_and_predictions_that_cannot_be_scored_are_refused(tmp_path: Path):
    metric = OpenLaneV2Metric(output_dir=str(tmp_path))
    frame, sample = frame_and_sample("a", lanes(), lanes())
    with pytest.raises(ValueError, match="frame 'a' has no lane_graph"):
        metric.process([replace(frame, lane_graph=None)], [sample])
    with pytest.raises(ValueError, match="predictions of frame 'a' have no lanes"):
        metric.process([frame], [replace(sample, lanes=None)])
    with pytest.raises(ValueError, match="predictions of frame 'b' came with frame 'a'"):
        metric.process([frame], [replace(sample, token="b")])
    with pytest.raises(ValueError, match="crossings must be"):
        OpenLaneV2Metric(crossings="both")
    with pytest.raises(ValueError, match="predictions of 'a' must have scores and area_scores"):
        write_openlanev2_results({"a": replace(lanes(), scores=None)}, tmp_path / "results.json")


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[", "file: expected a JSON file of OpenLane-V2 results"),
        ("{}", "results: expected predictions by frame token"),
        ('{"results": {"a": {}}}', "results a: expected predictions of OpenLane-V2"),
    ],
)
def test_a_file_that_is_no_results_file_is_refused(tmp_path: Path, text: str, match: str):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=match):
        read_openlanev2_results(tmp_path / "results.json")
