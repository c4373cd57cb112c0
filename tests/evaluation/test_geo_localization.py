"""Shares by distance, cells that hold the place, and what a metric refuses."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from perception.evaluation.geo_localization import GeoLocalizationMetric, accuracy_within, length
from perception.geo import EARTH_RADIUS_KM
from perception.geo.s2_cells import leaf_ids, parent_ids
from perception.structures import Frame, GeoCell, GeoLabel, GeoPrediction

DEGREE_KM = math.radians(EARTH_RADIUS_KM)


def test_a_threshold_counts_as_within():
    np.testing.assert_array_equal(accuracy_within([0.0, 1.0, 1.1, 30.0], [0.0, 1.0, 25.0, 30.0]), [0.25, 0.5, 0.75, 1])


def test_no_distance_gives_no_share():
    assert np.isnan(accuracy_within([], (1.0, 25.0))).all()


def test_bad_distances_and_thresholds_are_refused():
    with pytest.raises(ValueError, match="got NaN in 1 places"):
        accuracy_within([1.0, math.nan])
    with pytest.raises(ValueError, match="thresholds_km must be >= 0"):
        GeoLocalizationMetric(thresholds_km=(-1.0, 2.0))


@pytest.mark.parametrize(("km", "text"), [(0.025, "25m"), (0.1, "100m"), (1.0, "1km"), (2500, "2500km"), (0.5, "500m")])
def test_lengths_are_named_with_their_unit(km, text):
    assert length(km) == text


def pair(number: int, north_km: float, *, scene: int = -1, told: int = -1) -> tuple[Frame, GeoPrediction]:
    """A frame at (10, 20) and a prediction so far north of it, with the cells of levels 6 and 14 there."""
    place = (10.0 + north_km / DEGREE_KM, 20.0)
    leaf = leaf_ids(np.array([place]))
    cells = tuple(GeoCell(int(parent_ids(leaf, level)[0]), 0.5, *place) for level in (6, 14))
    frame = Frame(f"f{number}", number, wgs84=(10.0, 20.0, 0.0), geo_label=GeoLabel(scene=scene))
    return frame, GeoPrediction(f"f{number}", number, cells, scene=told)


def scored(pairs: list[tuple[Frame, GeoPrediction]], folder: Path, **options) -> dict[str, float]:
    metric = GeoLocalizationMetric(output_dir=str(folder), **options)
    for frame, sample in pairs:
        metric.process([frame], [sample])
    return metric.evaluate(len(pairs))


def test_scores_of_frames_worked_by_hand(tmp_path: Path):
    offsets = (0.0, 0.02, 0.09, 0.8, 20.0, 150.0, 3000.0, 5000.0)
    scores = scored([pair(number, km) for number, km in enumerate(offsets)], tmp_path)
    shares = {"25m": 2, "100m": 3, "1km": 4, "25km": 5, "200km": 6, "750km": 6, "2500km": 6}
    for name, count in shares.items():
        assert scores[f"geo/acc_{name}"] == count / 8
    assert scores["geo/median_km"] == pytest.approx((0.8 + 20.0) / 2)
    assert scores["geo/tile_accuracy"] == scores["geo/cell_accuracy_1"] <= scores["geo/cell_accuracy_0"] < 1
    assert "geo/scene_accuracy" not in scores
    written = json.loads((tmp_path / "metrics_geo_localization.json").read_text())
    assert {f"geo/{name}": value for name, value in written.items()} == scores


def test_scenes_are_scored_where_both_are_known(tmp_path: Path):
    kinds = [(1, 1), (0, 1), (-1, 1), (1, -1)]                        # true and predicted
    pairs = [pair(number, 0, scene=true, told=told) for number, (true, told) in enumerate(kinds)]
    assert scored(pairs, tmp_path)["geo/scene_accuracy"] == 0.5


def test_a_frame_that_came_twice_counts_once(tmp_path: Path):
    pairs = [pair(0, 0.0), pair(1, 50.0), pair(1, 50.0)]
    assert scored(pairs, tmp_path, thresholds_km=(1.0,))["geo/acc_1km"] == 0.5


def test_frames_that_do_not_fit_are_refused(tmp_path: Path):
    _, sample = pair(0, 0.0)
    other, _ = pair(1, 0.0)
    metric = GeoLocalizationMetric(output_dir=str(tmp_path))
    with pytest.raises(ValueError, match="predictions of frame 'f0' came with frame 'f1'"):
        metric.process([other], [sample])
    with pytest.raises(ValueError, match="frame 'f0' has no wgs84 to score against"):
        metric.process([Frame("f0", 0)], [sample])
    with pytest.raises(ValueError, match="seem to be swapped"):
        metric.process([Frame("f0", 0, wgs84=(103.8, 1.3, 0.0))], [sample])
