"""Results of nuScenes' challenges on points: files, and scores that equal those of the devkit's own entries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lidar_label_cases import random_scene

from perception.datasets.nuscenes_lidarseg import challenge_class_table
from perception.errors import DataError
from perception.evaluation.nuscenes_point_results import (
    evaluate_lidarseg_root,
    evaluate_panoptic_root,
    evaluate_tracking_root,
    read_point_labels,
    result_path,
    write_lidarseg,
    write_panoptic,
    write_submission,
)
from perception.synthetic.taxonomy import CATEGORIES

VERSION, SPLIT = "v1.0-mini", "mini_val"
SCENES = ("scene-0103", "scene-0916")                       # all of the split, on which the devkit insists
SCANS = 3


def general_labels(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels of the root's files for those of the challenge: any category that makes the class, an object keeps its."""
    table = challenge_class_table()
    found = np.zeros_like(truth)
    for label in np.unique(truth[truth > 0]):
        indices = np.flatnonzero(table == label // 1000)
        found[truth == label] = 1000 * rng.choice(indices) + label % 1000
    return found


def write_root(folder: Path) -> tuple[Path, Path]:
    """A data root of two scenes with labels of points, and a folder of results."""
    rng = np.random.default_rng(0)
    root, results = folder / "root", folder / "results"
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": name, "name": name, "index": index} for index, name in enumerate(CATEGORIES)],
        "sensor": [{"token": "top", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [{"token": "top", "sensor_token": "top"}],
        "log": [{"token": "log", "location": "boston-seaport"}],
        "map": [{"token": "map", "log_tokens": ["log"], "filename": "mask.png"}],
        **{name: [] for name in ("scene", "sample", "sample_data", "lidarseg", "panoptic")},
    }
    for kind in ("lidarseg", "panoptic"):
        (root / kind / VERSION).mkdir(parents=True)
    for scene in SCENES:
        names = [f"{scene}-{number}" for number in range(SCANS)]
        tables["scene"].append({
            "token": scene, "name": scene, "nbr_samples": SCANS, "first_sample_token": names[0],
            "last_sample_token": names[-1],
        })
        for number, (truth, predicted) in enumerate(zip(*random_scene(rng, SCANS), strict=True)):
            token = f"{names[number]}-top"
            tables["sample"].append({
                "token": names[number], "scene_token": scene, "timestamp": number,
                "prev": names[number - 1] if number else "", "next": names[number + 1] if number + 1 < SCANS else "",
            })
            tables["sample_data"].append({
                "token": token, "sample_token": names[number], "ego_pose_token": "", "calibrated_sensor_token": "top",
                "is_key_frame": True,
            })
            general = general_labels(truth, rng)
            predicted = np.where(predicted // 1000 > 0, predicted, 1001)
            (general // 1000).astype(np.uint8).tofile(root / f"lidarseg/{VERSION}/{token}_lidarseg.bin")
            np.savez_compressed(root / f"panoptic/{VERSION}/{token}_panoptic.npz", data=general.astype(np.uint16))
            for kind, ending in (("lidarseg", "bin"), ("panoptic", "npz")):
                filename = f"{kind}/{VERSION}/{token}_{kind}.{ending}"
                tables[kind].append({"token": token, "sample_data_token": token, "filename": filename})
            write_lidarseg(results, SPLIT, token, predicted // 1000)
            stuff = predicted // 1000 > 10
            write_panoptic(results, SPLIT, token, np.where(stuff, predicted // 1000 * 1000, predicted))
    (root / VERSION).mkdir()
    (root / "mask.png").touch()
    for name in (*tables, "attribute", "visibility", "instance", "ego_pose", "sample_annotation"):
        (root / VERSION / f"{name}.json").write_text(json.dumps(tables.get(name, [])))
    return root, results


def test_scores_equal_those_of_the_devkits_entries(tmp_path: Path):
    from nuscenes import NuScenes
    from nuscenes.eval.lidarseg.evaluate import LidarSegEval
    from nuscenes.eval.panoptic.evaluate import NuScenesPanopticEval

    root, results = write_root(tmp_path)
    tables = NuScenes(VERSION, str(root), verbose=False)
    lidarseg = LidarSegEval(tables, str(results), SPLIT).evaluate()
    ours = evaluate_lidarseg_root(root, VERSION, SPLIT, results)
    assert ours.miou == pytest.approx(lidarseg["miou"], rel=1e-9)
    assert ours.fwiou == pytest.approx(lidarseg["freq_weighted_iou"], rel=1e-9)
    official = NuScenesPanopticEval(tables, str(results), SPLIT, "tracking", min_inst_points=15, out_dir=str(tmp_path))
    panoptic, tracking = official.evaluate_segmentation()["all"], official.evaluate_tracking()["all"]
    means = evaluate_panoptic_root(root, VERSION, SPLIT, results).means()
    assert means == pytest.approx({name: panoptic[name] for name in means}, rel=1e-9)
    summary = evaluate_tracking_root(root, VERSION, SPLIT, results).summary()
    assert summary == pytest.approx({name: float(tracking[name]) for name in summary}, abs=1e-6)


def test_a_root_with_a_part_of_the_split_is_scored(tmp_path: Path):
    root, results = write_root(tmp_path)
    scenes = root / VERSION / "scene.json"
    scenes.write_text(json.dumps(json.loads(scenes.read_text())[:1]))
    samples = root / VERSION / "sample.json"
    samples.write_text(json.dumps([s for s in json.loads(samples.read_text()) if s["scene_token"] == SCENES[0]]))
    records = root / VERSION / "sample_data.json"
    kept = [record for record in json.loads(records.read_text()) if record["token"].startswith(SCENES[0])]
    records.write_text(json.dumps(kept))
    assert 0 < evaluate_lidarseg_root(root, VERSION, SPLIT, results).miou < 1


def test_the_real_keyframe_predicted_as_it_is_labelled_is_perfect(shared_data: Path, tmp_path: Path):
    root = shared_data / "nuscenes/devkit_root"
    (file,) = (root / "lidarseg/v1.0-mini").glob("*.bin")
    token = file.name.removesuffix("_lidarseg.bin")
    classes = challenge_class_table()[read_point_labels(file)]
    write_lidarseg(tmp_path, "mini_train", token, np.maximum(classes, 1))
    scores = evaluate_lidarseg_root(root, "v1.0-mini", "mini_train", tmp_path)
    assert scores.miou == scores.fwiou == 1.0
    labels = read_point_labels(root / f"panoptic/v1.0-mini/{token}_panoptic.npz")
    classes = challenge_class_table()[labels // 1000]
    own = np.where(classes == 0, 15000, 1000 * classes + np.where(classes <= 10, labels % 1000 + 1, 0))
    write_panoptic(tmp_path, "mini_train", token, own)
    panoptic = evaluate_panoptic_root(root, "v1.0-mini", "mini_train", tmp_path)
    assert panoptic.fp.sum() == panoptic.fn.sum() == 0 < panoptic.tp.sum()


def test_the_submission_tells_what_was_seen(tmp_path: Path):
    path = write_submission(tmp_path, "test")
    assert path == tmp_path / "test/submission.json"
    assert json.loads(path.read_text())["meta"]["use_lidar"] is True


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda folder: write_lidarseg(folder, SPLIT, "a", [1, 0]), r"classes must lie in \[1, 16\], got 0"),
        (lambda folder: write_panoptic(folder, SPLIT, "a", [17000]), r"labels must lie in \[1, 16\], got 17"),
        (lambda folder: write_panoptic(folder, SPLIT, "a", [4001, 4000]), "for things and 0 for stuff, got 4000"),
        (lambda folder: write_panoptic(folder, SPLIT, "a", [11001]), "for things and 0 for stuff, got 11001"),
    ],
)
def test_labels_that_the_server_would_refuse_are_not_written(call, match, tmp_path: Path):
    with pytest.raises(ValueError, match=match):
        call(tmp_path)
    assert not list(tmp_path.rglob("*_*"))


def test_files_that_do_not_fit_the_root_are_told(tmp_path: Path):
    root, results = write_root(tmp_path)
    path = result_path(results, "lidarseg", SPLIT, f"{SCENES[1]}-0-top")
    for content, match in (
        (b"\x01" * 7, r"_lidarseg.bin: points: expected 400 as in .*_lidarseg.bin, got 7"),
        (b"\x11" * 400, r"_lidarseg.bin: class: expected 1 to 16, got 17"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=match):
            evaluate_lidarseg_root(root, VERSION, SPLIT, results)
    path.unlink()
    with pytest.raises(DataError, match=r"_lidarseg.bin: file: expected labels of points, got No such file"):
        evaluate_lidarseg_root(root, VERSION, SPLIT, results)
    result_path(results, "panoptic", SPLIT, f"{SCENES[0]}-0-top").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"_panoptic.npz: data: expected an npz file with an array `data`"):
        evaluate_panoptic_root(root, VERSION, SPLIT, results)
    (root / VERSION / "lidarseg.json").unlink()
    with pytest.raises(DataError, match=r"lidarseg.json: sample_data_token: expected labels of all scans of mini_val"):
        evaluate_lidarseg_root(root, VERSION, SPLIT, results)
