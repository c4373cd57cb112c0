"""Matches, errors and groups of boxes that were worked out by hand, and the report that shows them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.evaluation.files.matched_boxes import (
    RADIUS_M,
    BoxColumns,
    MatchedBoxes,
    average_precision,
    match_centers,
    precision_at_recalls,
)
from perception.evaluation.files.scored_files import Breakdown, ScoredFiles, ScorePlots, plain_table
from perception.visualization.score_report import score_report

CLASSES = ("car", "barrier")


def columns(
    places: list[tuple[float, float]], scores: list[float] | None = None, *, label: int = 0, frame: int = 0,
    yaw: float = 0.0, length: float = 4.0, levels: list[int] | None = None,
) -> BoxColumns:
    """Boxes of 2 x 1.5 m and some length at x, y."""
    count = len(places)
    boxes = np.zeros((count, 9))
    boxes[:, :2] = np.array(places, float).reshape(-1, 2)
    boxes[:, 3:7] = length, 2.0, 1.5, yaw
    return BoxColumns(
        np.full(count, frame), np.full(count, label), boxes, np.linalg.norm(boxes[:, :2], axis=1),
        None if scores is None else np.array(scores), None if levels is None else np.array(levels),
    )


def test_the_best_scored_prediction_takes_the_nearest_free_box():
    """The first takes the box at 10 m; the second is nearest to it too, and takes the free one at 11.5 m."""
    pairs = match_centers(columns([(10, 0), (11.5, 0)]), columns([(10.4, 0), (10.1, 0)], [0.5, 0.9]), 2)
    assert pairs.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(("offset", "matches"), [(1.99, 1), (2.0, 0), (2.01, 0)])
def test_only_centres_nearer_than_two_metres_match(offset: float, matches: int):
    assert len(match_centers(columns([(10, 0)]), columns([(10 + offset, 0)], [0.9]), 2)) == matches


@pytest.mark.parametrize("other", [{"label": 1}, {"frame": 1}])
def test_boxes_of_another_class_or_frame_do_not_match(other: dict[str, int]):
    assert len(match_centers(columns([(10, 0)]), columns([(10, 0)], [0.9], **other), 2)) == 0


def slow_matches(truth: BoxColumns, predictions: BoxColumns) -> list[list[int]]:
    """The rule, box by box."""
    assert predictions.scores is not None
    taken: set[int] = set()
    pairs = []
    for row in np.argsort(-predictions.scores, kind="stable").tolist():
        offers = [
            (float(np.linalg.norm(truth.boxes[t, :2] - predictions.boxes[row, :2])), t)
            for t in range(len(truth))
            if t not in taken and truth.frames[t] == predictions.frames[row]
            and truth.labels[t] == predictions.labels[row]
        ]
        if offers and min(offers)[0] < RADIUS_M:
            taken.add(min(offers)[1])
            pairs.append([min(offers)[1], row])
    return pairs


@given(st.integers(0, 2**32 - 1), st.integers(0, 30), st.integers(0, 40))
def test_matches_are_those_of_the_rule_box_by_box(seed: int, num_truth: int, num_found: int):
    rng = np.random.default_rng(seed)

    def crowd(count: int) -> BoxColumns:
        boxes = np.zeros((count, 9))
        boxes[:, :2] = rng.uniform(-4, 4, (count, 2))
        return BoxColumns(
            rng.integers(0, 2, count), rng.integers(0, 2, count), boxes, np.zeros(count), rng.random(count)
        )

    truth, predictions = crowd(num_truth), crowd(num_found)
    assert match_centers(truth, predictions, 2).tolist() == slow_matches(truth, predictions)


def test_errors_are_those_of_the_pairs():
    matched = MatchedBoxes(columns([(10, 0)]), columns([(10.3, 0.4)], [0.9], yaw=0.2, length=2.0), CLASSES)
    errors = {name: by_class["car"].tolist() for name, by_class in matched.errors().items()}
    assert errors["translation (m)"] == pytest.approx([0.5])
    assert errors["scale (1 - IoU)"] == pytest.approx([0.5])
    assert errors["orientation (rad)"] == pytest.approx([0.2])
    assert errors["velocity (m/s)"] == [0.0]


@pytest.mark.parametrize(("period", "error"), [(2 * math.pi, math.pi), (math.pi, 0.0), (math.nan, None)])
def test_a_class_that_looks_the_same_from_behind_has_no_error_when_turned_around(period: float, error: float | None):
    found = columns([(10, 0)], [0.9], label=1, yaw=math.pi)
    matched = MatchedBoxes(columns([(10, 0)], label=1), found, CLASSES, {"barrier": period})
    turns = matched.errors().get("orientation (rad)", {})
    assert (turns["barrier"].tolist() == pytest.approx([error])) if error is not None else turns == {}


def test_groups_by_range_count_a_match_where_its_true_box_is():
    """The box at 19.5 m is found 1 m further on, in the next group, where a false one lies too."""
    matched = MatchedBoxes(
        columns([(5, 0), (19.5, 0), (25, 0)], levels=[3, 0, 0]), columns([(20.5, 0), (29, 0)], [0.9, 0.8]), CLASSES
    )
    plots = matched.plots((0, 10, 20, 30), ("0-40 %", "40-60 %", "60-80 %", "80-100 %"))
    values = {breakdown.title: breakdown.values["car"] for breakdown in plots.breakdowns}
    assert values["AP by range"] == [0.0, 1.0, 0.0]
    assert values["recall by range"] == [0.0, 1.0, 0.0]
    assert values["recall by visibility"] == pytest.approx([0.5, math.nan, math.nan, 0.0], nan_ok=True)


def test_precision_is_that_of_the_best_recall_from_there_on():
    """Hit, miss, hit of three true boxes: precision 1 up to 1/3, 2/3 at 2/3, none beyond."""
    curve = precision_at_recalls(np.array([True, False, True]), 3)
    assert curve[0] == curve[33] == 1.0
    assert curve[66] == pytest.approx(2 / 3, abs=0.01)     # recall 0.66 lies just before 2/3 on the line between
    assert (curve[67:] == 0).all()
    assert average_precision(np.array([0.2, 0.9]), np.array([False, True]), 1) == 1.0
    assert average_precision(np.zeros(0), np.zeros(0, bool), 2) == 0.0


def test_nothing_found_has_no_errors():
    matched = MatchedBoxes(columns([(5, 0)]), columns([], []), CLASSES)
    plots = matched.plots((0, 10))
    assert plots.errors == {}
    assert plots.breakdowns[0].values == {"car": [0.0]}


def test_the_page_shows_the_table_the_plots_and_all_numbers(tmp_path: Path):
    matched = MatchedBoxes(columns([(5, 0)], levels=[3]), columns([(5.5, 0)], [0.9]), CLASSES)
    curves = {"within 2 m": {"car": precision_at_recalls(np.array([True]), 1)}}
    scored = ScoredFiles(
        "boxes", {"car_AP": 0.98761}, plain_table("boxes", ("class", "AP"), [("car", 0.98761), ("mean", math.nan)]),
        ["One frame is empty."], lambda: matched.plots((0, 10), ("0-40 %",) * 4, curves),
    )
    page = score_report(scored).save(tmp_path / "page.html").read_text(encoding="utf-8")
    for text in ("One frame is empty.", "car_AP", "0.9876", "0.988", "median translation (m)", "Recall by visibility"):
        assert text in page
    assert page.count("<figure>") == 1 + 4 + 3             # curves, errors, breakdowns
    assert "http" not in page.replace("http://www.w3.org", "")


def test_a_page_of_scores_without_plots_is_a_table(tmp_path: Path):
    table = plain_table("points", ("class", "IoU"), [("mean", 0.5)])
    plots = ScorePlots(breakdowns=[Breakdown("IoU by class", ("IoU",), {"car": [math.nan]})])
    page = score_report(ScoredFiles("points", {"mIoU": 0.5}, table, plots=lambda: plots)).save(tmp_path / "page.html")
    assert page.read_text(encoding="utf-8").count("<figure>") == 1
