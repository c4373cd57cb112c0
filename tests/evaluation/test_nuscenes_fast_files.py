"""nuScenes scores from results files and data roots: as the devkit reads and scores them, and what both refuse."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_cases import Case, Rows, as_text, guess, seeded_case, write_full_root, write_results

from perception.errors import DataError
from perception.evaluation.detection.nuscenes_boxes import NuScenesBoxes
from perception.evaluation.detection.nuscenes_files import read_nuscenes_boxes
from perception.evaluation.detection.nuscenes_truth import read_nuscenes_truth
from perception.evaluation.nuscenes_detection import evaluate_nuscenes_root
from perception.evaluation.nuscenes_root import open_tables, split_samples

Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def drive() -> Case:
    return seeded_case(11, samples=9)


@pytest.fixture(scope="module")
def root(drive: Case, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_full_root(tmp_path_factory.mktemp("nuscenes") / "root", drive, {"mine": ["scene-0012"]})


def score_both(root: Path, split: str, results: Path) -> list[str]:
    return [
        as_text(evaluate_nuscenes_root(root, "v1.0-trainval", split, results, backend=backend))
        for backend in ("fast", "official")
    ]


def test_the_truth_of_a_root_is_what_the_devkit_loads(root: Path):
    from nuscenes.eval.common.loaders import load_gt
    from nuscenes.eval.detection.data_classes import DetectionBox

    tables = open_tables(root, "v1.0-trainval")
    official = NuScenesBoxes.from_rows(load_gt(tables, "val", DetectionBox).serialize())
    ours, _ = read_nuscenes_truth(root, "v1.0-trainval", "val")
    assert ours.tokens == official.tokens == tuple(split_samples(tables, "val"))
    for name, column in vars(official).items():
        np.testing.assert_array_equal(getattr(ours, name), column, err_msg=name)
    speeds = np.isnan(ours.velocity).any(axis=1)
    assert 0 < speeds.sum() < len(ours)                    # some follow from the tracks, some from nothing
    assert (ours.attribute >= 0).any()


@pytest.mark.parametrize("split", ["val", "mine"])
def test_a_root_scores_alike_with_both(root: Path, drive: Case, split: str, tmp_path: Path):
    tokens = split_samples(open_tables(root, "v1.0-trainval"), split)
    results = write_results(tmp_path / "results.json", {token: drive.predictions[token] for token in tokens})
    fast, official = score_both(root, split, results)
    assert fast == official


def test_of_a_sample_that_comes_twice_the_last_boxes_count_as_in_the_devkit(
    root: Path, drive: Case, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    texts = [f'"{token}": {json.dumps(rows)}' for token, rows in drive.predictions.items()]
    twice = [f'"{token}": []' for token in list(drive.predictions)[2:5]]
    (tmp_path / "results.json").write_text(f'{{"meta": {{}}, "results": {{{", ".join([*twice, *texts])}}}}}')
    fast, official = score_both(root, "val", tmp_path / "results.json")
    assert fast == official
    assert "comes more than once" in caplog.text


def test_a_results_file_is_read_in_its_order_with_its_meta(drive: Case, tmp_path: Path):
    boxes, meta = read_nuscenes_boxes(write_results(tmp_path / "results.json", drive.predictions))
    assert boxes.tokens == tuple(drive.predictions)
    assert meta == {"use_lidar": True}
    first = next(rows for rows in drive.predictions.values() if rows)[0]
    assert boxes.translation[0].tolist() == first["translation"]


def texts_of(results: Rows) -> dict[str, str]:
    good = json.dumps(results)
    some = {**results, "sample-11-0": [{**guess(), "detection_name": "lorry"}]}
    return {
        "an empty file": "", "no object": "[]", "cut": f'{{"meta": {{}}, "results": {good}'[:-30],
        "no meta": f'{{"results": {good}}}', "no results": '{"meta": {}}', "no samples": '{"meta": {}, "results": []}',
        "more behind": f'{{"meta": {{}}, "results": {good}}} 1', "a sample of no list": good_but(results, "null"),
        "a sample that is none": f'{{"meta": {{}}, "results": {json.dumps({**results, "x": []})}}}',
        "an unknown class": f'{{"meta": {{}}, "results": {json.dumps(some)}}}',
        "not a number": good_but(results, json.dumps([{**guess(), "detection_score": math.nan}])),
        "too many": good_but(results, json.dumps([guess()] * 501)),
        "missing samples": '{"meta": {}, "results": {}}',
    }


def good_but(results: Rows, last: str) -> str:
    *others, token = results
    texts = [f'"{name}": {json.dumps(results[name])}' for name in others] + [f'"{token}": {last}']
    return f'{{"meta": {{}}, "results": {{{", ".join(texts)}}}}}'


@pytest.mark.parametrize("backend", ["fast", "official"])
@pytest.mark.parametrize("fault", texts_of({"a": []}))
def test_a_results_file_with_a_fault_is_refused_by_both(
    root: Path, drive: Case, tmp_path: Path, fault: str, backend: Any
):
    (tmp_path / "results.json").write_text(texts_of(drive.predictions)[fault])
    with pytest.raises(DataError, match=r"results\.json: results: expected"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", tmp_path / "results.json", backend=backend)


def test_a_file_that_is_no_text_is_refused(root: Path, tmp_path: Path):
    (tmp_path / "results.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"results\.json: results: expected the nuScenes results format"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", tmp_path / "results.json")
    with pytest.raises(DataError, match="file: expected a file that can be read"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", tmp_path)


def test_two_gigabytes_of_nothing_are_refused_at_once(root: Path, tmp_path: Path):
    with open(tmp_path / "results.json", "wb") as file:
        file.truncate(1 << 31)
    with pytest.raises(DataError, match=r"at character 0 where '\{' belongs"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "val", tmp_path / "results.json")


@pytest.mark.parametrize(("table", "change", "text"), [
    ("sample_annotation", lambda row: row.update(attribute_tokens=["attribute-vehicle.moving"] * 2), "got 2"),
    ("sample_annotation", lambda row: row.update(prev="gone"), "'gone'"),
    ("sample_annotation", lambda row: row.pop("rotation"), "'rotation'"),
    ("sample_annotation", lambda row: row.update(size=[1.0, math.nan, 1.0]), "size must not hold NaN"),
    ("sample_annotation", lambda row: row.update(num_lidar_pts=2.5), "must be whole numbers"),
    ("sample_annotation", lambda row: row.update(instance_token="gone"), "'gone'"),
    ("sample_data", lambda row: row.update(is_key_frame=False), "samples without a keyframe of LIDAR_TOP"),
    ("sample", lambda row: row.pop("scene_token"), "'scene_token'"),
])
def test_a_malformed_table_is_named(drive: Case, tmp_path: Path, table: str, change: Change, text: str):
    root = write_full_root(tmp_path / "root", drive)
    path = root / f"v1.0-trainval/{table}.json"
    records = json.loads(path.read_text())
    for record in records:
        change(record)
    path.write_text(json.dumps(records))
    with pytest.raises(DataError, match=rf"{table}\.json: records: .*{text}"):
        read_nuscenes_truth(root, "v1.0-trainval", "val")


@pytest.mark.parametrize("backend", ["fast", "official"])
def test_a_split_of_another_version_is_refused(root: Path, tmp_path: Path, backend: Any):
    results = write_results(tmp_path / "results.json", {})
    with pytest.raises(DataError, match="split"):
        evaluate_nuscenes_root(root, "v1.0-trainval", "mini_val", results, backend=backend)
