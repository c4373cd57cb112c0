"""Labels of points: the official classes, one row for each point that reading the sweep gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from nuscenes.eval.panoptic.utils import PanopticClassMapper

from perception.datasets.nuscenes import NuScenesDataset
from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.datasets.nuscenes_point_labels import CLASS_BY_CATEGORY, POINT_CLASSES, THINGS, read_point_labels
from perception.errors import ConfigError, DataError
from perception.structures.segmentation import IGNORE_LABEL
from perception.synthetic.taxonomy import CATEGORIES

POINTS = 200                                          # of a sweep of the small root
CODES = (0, 1_000, 17_001, 17_002, 24_000, 30_000)    # noise, animal, two cars, road, vegetation


def test_classes_and_things_are_those_of_the_devkit():
    names = {name: index for index, name in enumerate(CATEGORIES)}
    mapper = PanopticClassMapper(SimpleNamespace(lidarseg_name2idx_mapping=names))
    official = [mapper.fine_idx_2_coarse_idx_mapping[index] for index in range(len(CATEGORIES))]
    assert [0 if label == IGNORE_LABEL else label + 1 for label in CLASS_BY_CATEGORY.tolist()] == official
    assert list(POINT_CLASSES) == list(mapper.coarse_name_2_coarse_idx_mapping)[1:]
    assert set(THINGS) == set(mapper.things)


@pytest.fixture
def labelled_root(mini_nuscenes) -> Path:
    """The small root with labels of its three keyframes."""
    for category, index in zip(mini_nuscenes.tables["category"], (17, 1), strict=True):
        category["index"] = index
    for kind, ending in (("lidarseg", "lidarseg.bin"), ("panoptic", "panoptic.npz")):
        mini_nuscenes.tables[kind] = [
            {"token": f"lidar{place}", "sample_data_token": f"lidar{place}",
             "filename": f"{kind}/v1.0-mini/lidar{place}_{ending}"} for place in (0, 2, 4)
        ]
    root = mini_nuscenes.write()
    for place in (0, 2, 4):
        write_labels(root, place, codes_of(place))
    return root


def codes_of(place: int) -> np.ndarray:
    """(200,) uint16 panoptic codes, different in every keyframe."""
    return np.random.default_rng(place).choice(CODES, POINTS).astype(np.uint16)


def write_labels(root: Path, place: int, codes: np.ndarray) -> None:
    for kind in ("lidarseg", "panoptic"):
        (root / f"{kind}/v1.0-mini").mkdir(parents=True, exist_ok=True)
    (codes // 1000).astype(np.uint8).tofile(root / f"lidarseg/v1.0-mini/lidar{place}_lidarseg.bin")
    np.savez_compressed(root / f"panoptic/v1.0-mini/lidar{place}_panoptic.npz", data=codes)


def open_labelled(root: Path, kind: str | None) -> NuScenesDataset:
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    return NuScenesDataset(root, version="v1.0-mini", split="mini_train", num_sweeps=0, point_labels=kind)


@pytest.mark.parametrize("kind", ["lidarseg", "panoptic"])
def test_every_keyframe_gets_the_labels_of_its_own_sweep(labelled_root, kind):
    dataset = open_labelled(labelled_root, kind)
    for index in range(3):
        labels, codes = dataset[index].point_labels, codes_of(2 * index).astype(np.int64)
        np.testing.assert_array_equal(labels.classes, CLASS_BY_CATEGORY[codes // 1000])
        assert labels.names == POINT_CLASSES
        if kind == "lidarseg":
            assert labels.instances is None
        else:
            np.testing.assert_array_equal(labels.instances, np.where(codes // 1000 == 17, codes, 0))


def test_labels_of_lost_returns_are_left_out_with_them(labelled_root):
    path = labelled_root / "samples/LIDAR_TOP/0.pcd.bin"
    points = np.fromfile(path, np.float32).reshape(-1, 5)
    points[[3, 50], 0] = np.nan
    points.tofile(path)
    frame = open_labelled(labelled_root, "panoptic")[0]
    kept = np.delete(codes_of(0).astype(np.int64), [3, 50])
    assert len(frame.points) == POINTS - 2
    np.testing.assert_array_equal(frame.point_labels.classes, CLASS_BY_CATEGORY[kept // 1000])


def test_without_the_option_no_label_is_read(labelled_root):
    assert open_labelled(labelled_root, None)[0].point_labels is None


def test_a_root_without_labels_is_told_when_they_are_asked_for(mini_nuscenes):
    dataset = open_labelled(mini_nuscenes.write(), "lidarseg")
    with pytest.raises(DataError, match=r"lidarseg: expected .* points of frame sample0, got none; make it anew with"):
        dataset[0]


def test_labels_of_another_number_of_points_are_refused(labelled_root):
    write_labels(labelled_root, 2, codes_of(2)[:-1])
    with pytest.raises(DataError, match=r"lidar2_lidarseg.bin: .* one label for each of 200 points, got 199"):
        open_labelled(labelled_root, "lidarseg")[1]


def test_an_unknown_kind_of_labels_is_refused(labelled_root):
    with pytest.raises(ConfigError, match='point_labels must be one of lidarseg, panoptic, got "panoptik"'):
        open_labelled(labelled_root, "panoptik")


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("lidarseg", bytes([32]), "categories from 0 to 31, got 32 to 32"),
        ("panoptic", b"no archive", "an array named data"),
        ("lidarseg", None, "labels of points, got No such file"),
    ],
)
def test_a_malformed_file_is_named(tmp_path, kind, content, message):
    path = tmp_path / "labels"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"labels: \w+: expected {message}"):
        read_point_labels(path, kind)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"other": np.zeros(3, np.uint16)}, "an array named data"),
        ({"data": np.zeros((3, 2), np.uint16)}, r"whole numbers, one a point, got \(3, 2\) uint16"),
        ({"data": np.zeros(3)}, r"whole numbers, one a point, got \(3,\) float64"),
        ({"data": np.array([32_001], np.uint16)}, "categories from 0 to 31, got 32 to 32"),
    ],
)
def test_a_malformed_panoptic_array_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "labels.npz", **arrays)
    with pytest.raises(DataError, match=message):
        read_point_labels(tmp_path / "labels.npz", "panoptic")


def test_buses_of_two_categories_stay_two_instances(tmp_path):
    np.savez(tmp_path / "labels.npz", data=np.array([15_001, 16_001, 16_001], np.uint16))
    labels = read_point_labels(tmp_path / "labels.npz", "panoptic")
    assert labels.classes.unique().tolist() == [POINT_CLASSES.index("bus")]
    assert len(torch.unique(labels.instances)) == 2
