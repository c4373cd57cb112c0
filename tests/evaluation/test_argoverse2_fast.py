"""The fast Argoverse 2 scores are those of av2's code, bit by bit, on whatever boxes there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from perception.engine.benchmark.argoverse2_logs import seeded_boxes, write_logs
from perception.errors import DataError
from perception.evaluation.argoverse2_detection import (
    Argoverse2DetectionMetric,
    Argoverse2Scores,
    evaluate_argoverse2,
)
from perception.evaluation.detection.argoverse2_matching import folded, nearest_labels
from perception.evaluation.detection.argoverse2_region import drawn_region, read_region
from perception.evaluation.detection.argoverse2_settings import CATEGORIES, Argoverse2Settings
from perception.evaluation.detection.argoverse2_summary import average_precision

SPLIT = "argoverse2/sensor/val"
Tables = tuple[pd.DataFrame, pd.DataFrame]


def scored(tables: Tables, **options: Any) -> Argoverse2Scores:
    """Of the fast backend, after a look that av2's code gives the same, down to the last bit."""
    options = {"only_roi": False, **options}
    fast, official = (evaluate_argoverse2(*tables, backend=name, **options) for name in ("fast", "official"))
    for name in ("detections", "labels", "metrics"):
        pd.testing.assert_frame_equal(getattr(fast, name), getattr(official, name), check_exact=True)
    return fast


def in_disorder(tables: Tables, seed: int) -> Tables:
    detections, labels = (table.sample(frac=1.0, random_state=seed) for table in tables)
    return detections, labels


# By hand.

def test_a_false_detection_between_two_right_ones():
    """Recall 0.5, 0.5, 1 at precision 1, 1/2, 2/3: 1 below recall 0.5, 2/3 from there on."""
    recalls = np.linspace(0, 1, 101)
    found = average_precision(np.array([True, False, True]), recalls, 2.0)
    assert found == pytest.approx((50 * 1.0 + 51 * 2 / 3) / 101, abs=1e-12)


def test_angles_are_counted_back_from_pi():
    angles = np.array([0.5, -0.5, 3.5, -6.0])
    np.testing.assert_allclose(folded(angles), [0.5, 0.5, 2 * np.pi - 3.5, 2 * np.pi - 6.0])


def test_equal_scores_stay_in_the_order_of_the_table():
    """Of two detections as good as each other the first row takes the label, whichever it is."""
    _, labels = seeded_boxes(1, 1, seed=3)
    label = labels.head(1).assign(tx_m=10.0, ty_m=0.0, tz_m=0.0, num_interior_pts=1)
    twins = pd.concat([label.drop(columns="num_interior_pts").assign(score=0.5)] * 2, ignore_index=True)
    scores = evaluate_argoverse2(twins, label, only_roi=False)
    assert scores.detections[0.5].tolist() == [1.0, 0.0]


# Against a plain form and av2's code.

@given(
    centers=hnp.arrays(np.int64, st.tuples(st.integers(0, 30), st.just(4)), elements=st.integers(0, 2)),
    labels=hnp.arrays(np.int64, st.tuples(st.integers(0, 30), st.just(4)), elements=st.integers(0, 2)),
)
def test_the_nearest_label_is_the_first_of_the_nearest(centers: np.ndarray, labels: np.ndarray):
    labels = labels[np.argsort(labels[:, 3], kind="stable")]
    nearest, distances = nearest_labels(centers[:, :3] * 1.0, centers[:, 3], labels[:, :3] * 1.0, labels[:, 3])
    for row, center in enumerate(centers):
        own = np.flatnonzero(labels[:, 3] == center[3])
        lengths = np.linalg.norm(labels[own, :3] - center[:3], axis=1)
        assert nearest[row] == (own[np.argmin(lengths)] if len(own) else -1)
        assert distances[row] == pytest.approx(lengths.min(initial=np.inf))


@pytest.mark.parametrize("seed", range(3))
def test_random_sweeps_score_alike(seed: int):
    scores = scored(in_disorder(seeded_boxes(12, 60, seed), seed))
    assert 0.1 < scores.flat()["mAP_present"] < 0.9        # neither all right nor all wrong


@pytest.mark.parametrize("limit", [100, 7])
def test_crowds_beyond_the_limit_score_alike(limit: int):
    detections, labels = seeded_boxes(3, 400, seed=5)
    crowd = detections.assign(category="PEDESTRIAN"), labels.assign(category="PEDESTRIAN")
    scores = scored(in_disorder(crowd, 5), max_num_dts_per_category=limit)
    sizes = scores.detections.groupby("timestamp_ns")["is_evaluated"].sum()
    assert sizes.max() == limit


def test_other_settings_score_alike():
    scored(
        seeded_boxes(6, 50, seed=6), affinity_thresholds_m=(0.3, 0.9, 1.5, 3.0), tp_threshold_m=0.9, max_range_m=40.0,
        num_recall_samples=41, categories=("PEDESTRIAN", "REGULAR_VEHICLE", "DOG"),
    )


def test_categories_without_labels_or_detections_score_alike():
    detections, labels = seeded_boxes(6, 50, seed=7)
    detections = detections[detections["category"] != "BOLLARD"]
    labels = labels[labels["category"] != "PEDESTRIAN"].assign(
        category=labels["category"].replace("SIGN", "TRAFFIC_LIGHT_TRAILER")       # annotated, but not scored
    )
    scores = scored((detections, labels))
    assert scores.metrics.loc["PEDESTRIAN"].tolist() == [0.0, 2.0, 1.0, np.pi, 0.0]
    assert scores.metrics.loc["BOLLARD", "AP"] == 0.0


@pytest.mark.parametrize(("num_detections", "num_labels"), [(0, None), (None, 0), (0, 0)])
def test_empty_tables_score_alike(num_detections: int | None, num_labels: int | None):
    detections, labels = seeded_boxes(2, 20, seed=8)
    scores = scored((detections.iloc[:num_detections], labels.iloc[:num_labels]))
    assert scores.metrics["AP"].max() == 0.0


@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_boxes_turned_anyhow_score_alike():
    """Random rotations, some pitched by exactly 90 degrees, where the yaw is not unique."""
    rng = np.random.default_rng(9)
    detections, labels = seeded_boxes(4, 80, seed=9)
    for table in (detections, labels):
        quaternions = rng.normal(size=(len(table), 4))
        quaternions[: len(table) // 4] = [1.0, 0.0, 1.0, 0.0]
        table[["qw", "qx", "qy", "qz"]] = quaternions
    scored((detections, labels))


@pytest.mark.filterwarnings("ignore:invalid value")
def test_boxes_of_no_size_are_av2s_nan():
    detections, labels = seeded_boxes(2, 60, seed=10)
    scores = scored((detections.assign(length_m=0.0), labels.assign(length_m=0.0)))
    assert np.isnan(scores.metrics.loc["REGULAR_VEHICLE", "ASE"])
    assert scores.metrics.loc["REGULAR_VEHICLE", "AP"] > 0.0


def test_categories_of_pandas_score_as_texts():
    detections, labels = seeded_boxes(3, 30, seed=11)
    names = pd.CategoricalDtype(sorted(CATEGORIES, reverse=True))
    coded = scored((detections.astype({"category": names}), labels.astype({"category": names})))
    plain = scored((detections, labels))
    pd.testing.assert_frame_equal(coded.metrics, plain.metrics, check_exact=True)


# The region of interest.

def test_boxes_in_the_region_of_seeded_logs_score_alike(tmp_path: Path):
    split_dir = write_logs(tmp_path, samples=4, seed=12)
    scores = scored(in_disorder(seeded_boxes(4, 60, seed=12), 12), split_dir=split_dir, only_roi=True)
    assert 0.2 < scores.labels["is_evaluated"].mean() < 0.8


def test_the_region_of_a_real_log_is_av2s_cell_by_cell(shared_data: Path):
    from av2.map.map_api import ArgoverseStaticMap, RasterLayerType

    folder = next(path for path in sorted((shared_data / SPLIT).iterdir())) / "map"
    official, ours = ArgoverseStaticMap.from_map_dir(folder, build_raster=True), read_region(folder)
    assert official.raster_roi_layer is not None
    cells = official.raster_roi_layer.array
    np.testing.assert_array_equal(np.unpackbits(ours.bits, axis=1)[:, : ours.width], cells)
    extent = np.array(cells.shape[::-1]) / 10.0
    points = ours.origin + np.random.default_rng(0).uniform(-0.1, 1.1, (20_000, 2)) * extent
    points[:500] = ours.origin + np.random.default_rng(1).uniform(-0.2, 0.2, (500, 2))   # about the first cell
    wanted = official.get_raster_layer_points_boolean(points, RasterLayerType.ROI)
    np.testing.assert_array_equal(ours.contains(points), wanted)


def test_the_margin_of_the_region_is_five_metres():
    tip = np.array([[0.0, 40.0], [1.0, 40.0], [1.0, 41.0]])
    region = drawn_region([np.array([[0.0, 0.0], [20.0, 0.0], [20.0, 10.0], [0.0, 10.0]]), tip])
    points = np.array([[10.0, 5.0], [10.0, 14.9], [10.0, 15.2], [10.0, 36.0], [0.0, 36.0], [10.0, -5.0]])
    assert region.contains(points).tolist() == [True, True, False, False, True, False]    # nothing beyond the raster


@pytest.mark.parametrize("backend", ["fast", "official"])
def test_a_sweep_without_a_pose_is_refused(tmp_path: Path, backend: str):
    detections, labels = seeded_boxes(3, 10, seed=13)
    split_dir = write_logs(tmp_path, samples=2, seed=13)
    with pytest.raises(DataError, match=r"timestamp_ns: expected a pose at 315966265200000000, got none"):
        evaluate_argoverse2(detections, labels, split_dir=split_dir, backend=backend)


def test_a_map_without_drivable_area_is_refused(tmp_path: Path):
    (tmp_path / "log_map_archive_x.json").write_text('{"drivable_areas": {}}', encoding="utf-8")
    with pytest.raises(DataError, match="drivable_areas: expected one polygon or more, of finite numbers, got 0"):
        read_region(tmp_path)


# Settings and refusals.

def test_the_defaults_are_av2s():
    from av2.evaluation.detection.utils import DetectionCfg

    ours, official = Argoverse2Settings(), DetectionCfg(eval_only_roi_instances=False)
    for name in ours.__dataclass_fields__:
        assert getattr(ours, name) == getattr(official, name), name
    assert ours.worst_errors == official.tp_normalization_terms


@pytest.mark.parametrize("backend", ["fast", "official"])
@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", np.nan, "detections hold numbers that are not finite"),
        ("tx_m", np.inf, "detections hold numbers that are not finite"),
        ("category", None, "detections hold a row without category"),
        ("timestamp_ns", 0.5, "timestamp_ns of the detections must be integers, got float64"),
        (["qw", "qx", "qy", "qz"], 0.0, "detections hold a quaternion of length 0 in row 0"),
    ],
)
def test_what_no_detection_can_have_is_refused(backend: str, column: Any, value: Any, message: str):
    detections, labels = seeded_boxes(1, 3)
    detections[column] = value
    with pytest.raises(ValueError, match=message):
        evaluate_argoverse2(detections, labels, only_roi=False, backend=backend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"affinity_thresholds_m": (1.0, 2.0)}, r"affinity_thresholds_m must be 4 different numbers above 0, got \(1"),
        ({"categories": ("BUS", "BUS")}, "categories must be different names, one or more"),
        ({"max_num_dts_per_category": 0}, "max_num_dts_per_category must be >= 1, got 0"),
        ({"max_range_m": 0.0}, "max_range_m must be > 0, got 0.0"),
        ({"backend": "fastest"}, "backend must be one of fast, official, got 'fastest'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        evaluate_argoverse2(*seeded_boxes(1, 3), only_roi=False, **options)


def test_the_metric_refuses_an_unknown_backend():
    with pytest.raises(ValueError, match="backend must be one of fast, official, got 'slow'"):
        Argoverse2DetectionMetric("data/argoverse2/sensor", backend="slow")
