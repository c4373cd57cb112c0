import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pyarrow import feather
from small_argoverse2 import write_log

from perception.datasets.argoverse2 import CLASSES, Argoverse2Dataset, build_argoverse2_index
from perception.datasets.argoverse2_log import CAMERAS, track_velocities
from perception.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def index_file(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("argoverse2") / "val.parquet"


@pytest.fixture
def real(shared_data, index_file) -> Argoverse2Dataset:
    root = shared_data / "argoverse2/sensor"
    if not index_file.exists():
        build_argoverse2_index(root, "val", index_file)
    return Argoverse2Dataset(root, split="val", index=index_file)


@pytest.fixture
def log(tmp_path) -> Path:
    return write_log(tmp_path)


def open_log(log: Path, **options) -> Argoverse2Dataset:
    root = log.parents[1]
    build_argoverse2_index(root, "train")
    return Argoverse2Dataset(root, split="train", **options)


def test_points_in_every_box_equal_the_golden_counts(real, golden):
    expected = json.loads((golden("data_formats") / "av2_points_in_boxes.json").read_text())
    assert sorted(real.frame_tokens) == sorted(expected)
    for index, token in enumerate(real.frame_tokens):
        frame = real[index]
        counts = frame.annotations.boxes.contains(frame.points.xyz).sum(dim=1).tolist()
        wanted = {box["track_uuid"]: box for box in expected[token]["boxes"]}
        assert len(frame.points) == expected[token]["num_points"]
        assert len(wanted) == len(counts)
        stated = frame.annotations.num_lidar_pts.tolist()
        for track, count, told in zip(frame.annotations.instance_ids, counts, stated, strict=True):
            assert [count, told] == [wanted[track]["points_inside"], wanted[track]["num_interior_pts"]]


def test_points_and_boxes_equal_those_of_the_official_reader(real):
    from av2.structures.cuboid import CuboidList
    from av2.structures.sweep import Sweep

    frame = real[0]
    log, time = frame.token.split("/")
    folder = real.root / "val" / log
    sweep = Sweep.from_feather(folder / f"sensors/lidar/{time}.feather")
    np.testing.assert_array_equal(frame.points.xyz, sweep.xyz.astype(np.float32))
    np.testing.assert_allclose(frame.points.channel("intensity"), sweep.intensity / 255, atol=1e-7)
    np.testing.assert_array_equal(frame.points.channel("offset_ns"), sweep.offset_ns.astype(np.float32))
    cuboids = CuboidList.from_feather(folder / "annotations.feather").cuboids
    cuboids = [box for box in cuboids if box.timestamp_ns == int(time)]
    corners = np.array([box.vertices_m.mean(axis=0) for box in cuboids])
    np.testing.assert_allclose(frame.annotations.boxes.centers, corners, atol=1e-5)
    sizes = np.array([[box.length_m, box.width_m, box.height_m] for box in cuboids])
    np.testing.assert_allclose(frame.annotations.boxes.sizes, sizes, atol=1e-6)


def test_classes_are_the_26_scored_categories_and_others_get_no_label(real):
    assert len(CLASSES) == len(set(CLASSES)) == 26
    names = {name for index in range(len(real)) for name in real[index].annotations.names()}
    assert "REGULAR_VEHICLE" in names
    assert [real.class_counts(0).sum(), len(real[0].annotations)] == [81, 81]
    few = Argoverse2Dataset(real.root, split="val", index=real.index_path, classes=("BOLLARD",))
    assert set(few[0].annotations.names()) == {"BOLLARD", "ignore"}


def test_sweeps_stay_in_their_log(real):
    assert [len(real[index].sweeps) for index in range(3)] == [0, 1, 0]
    earlier = real[1].sweeps[0]
    assert real[1].timestamp_ns - earlier.timestamp_ns == 100_196_000
    torch.testing.assert_close(earlier.load().data, real[0].points.data)


def test_what_stands_stays_put_between_two_sweeps(real):
    from scipy.spatial import cKDTree

    frame = real[1]
    earlier = frame.sweeps[0]
    still = earlier.load().xyz[::20]
    still = still[still[:, 2] > 0.7]                      # the rings on the road stand still whatever the car does
    moved = earlier.ego_from_sweep.apply(still)
    tree = cKDTree(frame.points.xyz.numpy())
    assert np.median(tree.query(moved.numpy())[0]) < 0.6 * np.median(tree.query(still.numpy())[0])


def test_velocities_are_over_ground_in_the_ego_frame(log):
    dataset = open_log(log)
    for index in range(2):
        assert dataset[index].annotations.boxes.velocities[0].tolist() == pytest.approx([5.0, 0.0], abs=1e-4)
    assert dataset[1].annotations.num_lidar_pts.tolist() == [5]


def test_a_pictures_pose_holds_the_motion_since_its_time(log):
    frame = open_log(log, cameras=("ring_front_center", "ring_rear_left"))[1]
    assert list(frame.cameras) == ["ring_front_center"]
    camera = frame.cameras["ring_front_center"]
    assert camera.timestamp_ns == 1_090_000_000
    assert camera.calibration.ego_from_camera.translation.tolist() == pytest.approx([1.4, 0.0, 1.4])  # 0.1 m back
    assert camera.calibration.intrinsics.tolist() == [[1700.0, 0.0, 777.0], [0.0, 1701.0, 1013.0], [0.0, 0.0, 1.0]]
    assert frame.ego_from_lidar.translation.tolist() == [1.3, 0.0, 1.6]


@pytest.mark.parametrize(
    ("times_s", "centers", "expected"),
    [
        ([0.0], [[0, 0, 0]], [[math.nan, math.nan]]),
        ([0.0, 0.5], [[0, 0, 0], [1, 2, 0]], [[2, 4], [2, 4]]),
        ([0.0, 0.5, 1.0], [[0, 0, 0], [9, 9, 9], [1, 2, 0]], [[18, 18], [1, 2], [-16, -14]]),    # centred in the middle
        ([0.0, 1.6], [[0, 0, 0], [1, 1, 0]], [[math.nan] * 2] * 2),                              # more than 1.5 s away
        ([0.0, 1.4, 2.8], [[0, 0, 0], [1, 1, 0], [2.8, 0, 0]], [[1 / 1.4] * 2, [1, 0], [1.8 / 1.4, -1 / 1.4]]),
        ([1.0, 0.0], [[1, 2, 0], [0, 0, 0]], [[1, 2], [1, 2]]),                                  # rows in any order
    ],
)
def test_track_velocities_worked_by_hand(times_s, centers, expected):
    stamps = np.array([round(time * 1e9) for time in times_s])
    velocities = track_velocities(["a"] * len(stamps), stamps, np.array(centers, dtype=float))
    np.testing.assert_allclose(velocities, expected, rtol=1e-9)


def test_tracks_do_not_mix():
    velocities = track_velocities(["a", "b"], np.array([0, 10**9]), np.zeros((2, 3)))
    assert np.isnan(velocities).all()


def test_a_log_without_annotations_is_not_annotated(log):
    (log / "annotations.feather").unlink()
    dataset = open_log(log)
    assert dataset[0].annotations is None
    assert dataset.class_counts(0).sum() == 0


def test_a_sweep_without_objects_is_an_annotated_empty_frame(log):
    table = feather.read_table(log / "annotations.feather")
    feather.write_feather(table.slice(0, 1), str(log / "annotations.feather"))
    assert len(open_log(log)[1].annotations) == 0


def test_a_log_without_calibration_and_pictures_can_be_read(log):
    for path in [*(log / "calibration").iterdir(), *log.glob("sensors/cameras/*/*.jpg")]:
        path.unlink()
    frame = open_log(log, cameras=CAMERAS)[0]
    assert frame.ego_from_lidar is None
    assert frame.cameras == {}


def test_pictures_without_calibration_are_refused(log):
    (log / "calibration/egovehicle_SE3_sensor.feather").unlink()
    with pytest.raises(DataError, match="ring_front_center: expected intrinsics and pose of a camera with pictures"):
        open_log(log)


def test_a_time_without_a_pose_is_refused(log):
    (log / "sensors/lidar/1100000000.feather").rename(log / "sensors/lidar/1200000000.feather")
    with pytest.raises(DataError, match="timestamp_ns: expected a pose at 1200000000, got none"):
        open_log(log)


def test_a_table_without_a_column_is_refused(log):
    table = feather.read_table(log / "annotations.feather").drop(["num_interior_pts"])
    feather.write_feather(table, str(log / "annotations.feather"))
    with pytest.raises(DataError, match=r"annotations.feather: num_interior_pts: expected a column of this name"):
        open_log(log)


def test_an_absent_pose_table_is_refused(log):
    (log / "city_SE3_egovehicle.feather").unlink()
    with pytest.raises(DataError, match=r"city_SE3_egovehicle.feather: file: expected an Arrow IPC file, got no"):
        open_log(log)


def test_a_sweep_whose_name_is_no_time_is_refused(log):
    (log / "sensors/lidar/1100000000.feather").rename(log / "sensors/lidar/last.feather")
    with pytest.raises(DataError, match=r"last.feather: file name: expected a timestamp in nanoseconds, got last"):
        open_log(log)


def test_a_split_without_logs_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"val: logs: expected folders LOG/sensors/lidar, got none"):
        build_argoverse2_index(tmp_path, "val")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "vall"}, r'no split "vall" \(did you mean "val"\?\)'),
        ({"logs": ("log-b",)}, r'no scene "log-b" \(did you mean "log-a"\?\)'),
        ({"cameras": ("ring_front_centre",)}, r'"ring_front_centre" \(did you mean "ring_front_center"\?\)'),
        ({"classes": ("ANIMAL",)}, 'unknown class "ANIMAL"'),
    ],
)
def test_an_option_that_names_nothing_is_refused(log, options, message):
    open_log(log)
    with pytest.raises(ConfigError, match=message):
        Argoverse2Dataset(log.parents[1], **{"split": "train", **options})
