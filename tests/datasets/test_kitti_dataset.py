import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from perception.datasets.kitti import EGO_FROM_LIDAR, KittiDataset, read_calibration, read_labels
from perception.errors import ConfigError, DataError
from perception.structures import Boxes3D

NUMBERS = {"P2": "700 0 600 45 0 700 170 0.2 0 0 1 0.003", "R0_rect": "1 0 0 0 1 0 0 0 1",
           "Tr_velo_to_cam": "0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27"}
LABEL = "Car 0.00 0 1.85 387.6 181.5 423.8 203.1 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"


@pytest.fixture
def real_root(shared_data) -> Path:
    return shared_data / "kitti/object_root"


@pytest.fixture
def root(tmp_path) -> Path:
    """Frame 7 with a car 58 m ahead, and frame 9 of the test set."""
    for folder, token in (("training", "000007"), ("testing", "000009")):
        for name in ("velodyne", "image_2", "calib", "label_2"):
            (tmp_path / folder / name).mkdir(parents=True)
        points = np.random.default_rng(0).uniform(0, 1, (30, 4)).astype(np.float32)
        points.tofile(tmp_path / f"{folder}/velodyne/{token}.bin")
        Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / f"{folder}/image_2/{token}.png")
        write_calibration(tmp_path / f"{folder}/calib/{token}.txt")
    (tmp_path / "training/label_2/000007.txt").write_text(LABEL)
    (tmp_path / "ImageSets").mkdir()
    (tmp_path / "ImageSets/train.txt").write_text("000007\n")
    (tmp_path / "ImageSets/test.txt").write_text("000009\n")
    return tmp_path


def write_calibration(path: Path, **changed: str | None) -> None:
    entries = {**NUMBERS, **changed}
    path.write_text("".join(f"{name}: {values}\n" for name, values in entries.items() if values is not None))


def test_points_in_every_box_equal_the_golden_counts(real_root, golden):
    expected = json.loads((golden("data_formats") / "kitti_000008_boxes.json").read_text())
    cars = [entry for entry in expected if entry["label"] >= 0]
    frame = KittiDataset(real_root, split="val")[0]
    counts = frame.annotations.boxes.contains(frame.points.xyz).sum(dim=1).tolist()
    assert counts == [entry["points_inside"] for entry in cars]
    lidar = frame.annotations.boxes.moved_by(EGO_FROM_LIDAR.inverse()).tensor
    torch.testing.assert_close(lidar[:, :3], torch.tensor([entry["lidar_center"] for entry in cars]), atol=1e-5, rtol=0)
    torch.testing.assert_close(lidar[:, 6], torch.tensor([entry["lidar_yaw"] for entry in cars]), atol=1e-6, rtol=0)


def test_all_ten_golden_objects_convert_to_a_millionth(real_root, golden):
    expected = json.loads((golden("data_formats") / "kitti_000008_boxes.json").read_text())
    _, rows = read_labels(real_root / "training/label_2/000008.txt")
    calibration = read_calibration(real_root / "training/calib/000008.txt")
    boxes = Boxes3D.from_kitti(rows, calibration.lidar_from_camera0, dtype=torch.float64).tensor.numpy()
    np.testing.assert_allclose(boxes[:, :3], [entry["lidar_center"] for entry in expected], atol=1e-6)
    np.testing.assert_allclose(boxes[:, 3:6], [entry["lwh"] for entry in expected], atol=1e-6)
    turn = boxes[:, 6] - [entry["lidar_yaw"] for entry in expected]
    np.testing.assert_allclose(np.cos(turn), 1.0, atol=1e-12)


def test_dont_care_regions_are_left_out(real_root):
    annotations = KittiDataset(real_root, split="val")[0].annotations
    assert annotations.names() == ["Car"] * 6
    assert annotations.num_lidar_pts is None


def test_projection_equals_the_published_matrix_product(real_root):
    frame = KittiDataset(real_root, split="val", cameras=("image_2",))[0]
    lines = dict(line.split(":") for line in (real_root / "training/calib/000008.txt").read_text().splitlines() if line)
    p2, r0, tr = (np.array(lines[name].split(), float) for name in ("P2", "R0_rect", "Tr_velo_to_cam"))
    rect, velo = np.eye(4), np.eye(4)
    rect[:3, :3], velo[:3] = r0.reshape(3, 3), tr.reshape(3, 4)
    raw = np.fromfile(real_root / "training/velodyne/000008.bin", np.float32).reshape(-1, 4)[:, :3].astype(float)
    uvw = np.c_[raw, np.ones(len(raw))] @ (p2.reshape(3, 4) @ rect @ velo).T
    ours = frame.cameras["image_2"].calibration.project(frame.points.xyz.double()).numpy()
    np.testing.assert_allclose(ours[:, :2], uvw[:, :2] / uvw[:, 2:], atol=1e-3)
    calibration = frame.cameras["image_2"].calibration
    assert (calibration.width, calibration.height) == (1242, 375)


def test_the_ground_is_near_zero_and_the_sensor_above_it(real_root):
    frame = KittiDataset(real_root, split="val")[0]
    low = torch.quantile(frame.points.xyz[:, 2], 0.05)
    assert abs(float(low)) < 0.3
    assert frame.ego_from_lidar.translation.tolist() == [0.0, 0.0, 1.73]


def test_the_car_ahead_stands_where_the_label_says(root):
    frame = KittiDataset(root)[0]
    x, y, z, length, width, height, yaw = frame.annotations.boxes.tensor[0].tolist()
    assert (x, y) == pytest.approx((58.49 + 0.27, 16.53), abs=1e-4)             # the label's z is forward, its x right
    assert z == pytest.approx(-2.39 - 0.08 + 1.67 / 2 + 1.73, abs=1e-4)
    assert (length, width, height) == pytest.approx((3.69, 1.87, 1.67))
    assert math.cos(yaw - (-1.57 - math.pi / 2)) == pytest.approx(1.0)


def test_the_test_split_is_not_annotated(root):
    frame = KittiDataset(root, split="test", cameras=("image_2",))[0]
    assert frame.annotations is None
    assert frame.token == "000009"


@pytest.mark.parametrize(
    ("text", "names"), [("", []), (LABEL + "\n", ["Car"]), (LABEL.replace("Car", "Van"), ["ignore"])]
)
def test_label_files_of_any_length(root, text, names):
    (root / "training/label_2/000007.txt").write_text(text)
    annotations = KittiDataset(root)[0].annotations
    assert annotations.names() == names
    assert annotations.boxes.tensor.shape == (len(names), 7)


def test_an_object_without_size_gets_no_class(root):
    (root / "training/label_2/000007.txt").write_text(LABEL.replace("1.67 1.87", "0.00 1.87"))
    assert KittiDataset(root)[0].annotations.names() == ["ignore"]


def test_class_counts_are_those_of_the_labels(root):
    assert KittiDataset(root).class_counts(0).tolist() == [1, 0, 0]
    assert KittiDataset(root, split="test").class_counts(0).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"P2": None}, "P2: expected 12 numbers, got KeyError"),
        ({"P2": "1 2 3"}, "P2: expected 12 numbers, got 3"),
        ({"R0_rect": "1 0 0 0 1 0 0 0 one"}, "R0_rect: expected 9 numbers"),
        ({"R0_rect": "2 0 0 0 1 0 0 0 1"}, "R0_rect: expected a rigid transform"),
        ({"Tr_velo_to_cam": "nan -1 0 0 0 0 -1 -0.08 1 0 0 -0.27"}, "Tr_velo_to_cam: expected a rigid transform"),
    ],
)
def test_a_malformed_calibration_is_refused_by_line(root, changed, message):
    write_calibration(root / "training/calib/000007.txt", **changed)
    with pytest.raises(DataError, match=rf"calib/000007.txt: {message}"):
        KittiDataset(root)[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LABEL + "Car 1 2 3\n", "line 2: expected 15 columns, or 16 with a score, got 4"),
        (LABEL.replace("58.49", "far"), "line 1: expected numbers after the type"),
    ],
)
def test_a_malformed_label_is_refused_by_line(root, text, message):
    (root / "training/label_2/000007.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        KittiDataset(root)[0]


@pytest.mark.parametrize(
    "name", ["velodyne/000007.bin", "label_2/000007.txt", "calib/000007.txt", "image_2/000007.png"]
)
def test_an_absent_file_is_refused_by_name(root, name):
    (root / "training" / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: .*[Nn]o such file"):
        KittiDataset(root, cameras=("image_2",))[0]


def test_a_picture_without_a_header_is_refused(root):
    (root / "training/image_2/000007.png").write_bytes(b"not a png")
    with pytest.raises(DataError, match=r"000007.png: picture: expected a readable image"):
        KittiDataset(root, cameras=("image_2",))[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "trian"}, r'no split "trian" \(did you mean "train"\?\); it has test, train'),
        ({"cameras": ("image_3",)}, r'unknown camera "image_3" \(did you mean "image_2"\?\)'),
        ({"classes": ("Cars",)}, r'unknown class "Cars" \(did you mean "Car"\?\)'),
    ],
)
def test_an_option_that_names_nothing_is_refused(root, options, message):
    with pytest.raises(ConfigError, match=message):
        KittiDataset(root, **options)


def test_a_split_list_that_holds_no_numbers_is_refused(root):
    (root / "ImageSets/train.txt").write_text("000007.bin\n")
    with pytest.raises(DataError, match=r"train.txt: frame: expected a number such as 000008, got 000007.bin"):
        KittiDataset(root)


def test_a_root_without_lists_is_refused(root):
    shutil.rmtree(root / "ImageSets")
    with pytest.raises(ConfigError, match='has no split "train"; it has none'):
        KittiDataset(root)
