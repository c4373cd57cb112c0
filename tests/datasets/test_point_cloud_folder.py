from pathlib import Path

import numpy as np
import pytest
import torch

from perception.datasets.point_cloud_folder import PointCloudFolder, timestamps_of
from perception.errors import ConfigError, DataError

COLUMNS = ("x", "y", "z", "intensity")


def write_clouds(folder: Path, names: list[str], top: float = 1.0) -> Path:
    for place, name in enumerate(names):
        points = np.linspace(0, top, 12, dtype=np.float32).reshape(3, 4)
        points[:, 0] = place
        points.tofile(folder / name)
    return folder


def test_clouds_come_in_the_order_of_their_numbers(tmp_path):
    dataset = PointCloudFolder(write_clouds(tmp_path, ["10.bin", "9.bin", "100.bin"]), COLUMNS)
    assert dataset.frame_tokens == ["9", "10", "100"]
    assert [float(dataset[index].points.xyz[0, 0]) for index in range(3)] == [1.0, 0.0, 2.0]
    assert [dataset[index].timestamp_ns for index in range(3)] == [0, 100_000_000, 200_000_000]
    assert set(dataset.scenes) == {tmp_path.name}


def test_the_real_drive_is_a_folder_too(shared_data):
    folder = shared_data / "kitti/raw_2011_09_26_sequence/velodyne_points/data"
    dataset = PointCloudFolder(folder, COLUMNS, ego_height=1.73)
    frame = dataset[1]
    assert (len(dataset), frame.token, frame.timestamp_ns) == (11, "0000000001", 100_000_000)
    raw = np.fromfile(folder / "0000000001.bin", np.float32).reshape(-1, 4)
    torch.testing.assert_close(frame.points.xyz[:, 2], torch.from_numpy(raw[:, 2]) + 1.73)
    assert frame.annotations is None
    assert frame.global_from_ego is None


def test_argoverse_sweeps_are_timed_by_their_names(shared_data):
    folder = next(path for path in sorted((shared_data / "argoverse2/sensor/val").glob("*/sensors/lidar")))
    dataset = PointCloudFolder(folder, intensity_max=255)
    assert [dataset[index].timestamp_ns for index in range(len(dataset))] == [315966265259836000, 315966265360032000]
    assert dataset[0].points.channels[3:5] == ("intensity", "ring")


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["1532402927647951000"], [1532402927647951000]),                              # ns
        (["1532402927647951"], [1532402927647951000]),                                 # us
        (["1532402927647"], [1532402927647000000]),                                    # ms
        (["1532402927"], [1532402927000000000]),                                       # s
        (["1532402927.647951", "1532402928.5"], [1532402927647951000, 1532402928500000000]),
        (["0000000001", "0000000002"], [0, 500_000_000]),                              # frame numbers
        (["a", "b"], [0, 500_000_000]),
        (["1532402927", "0000000002"], [0, 500_000_000]),                              # not all are times
        (["1532402927.5", "1532402927.x"], [0, 500_000_000]),
    ],
)
def test_times_told_by_names(stems, expected):
    assert timestamps_of(stems, rate_hz=2.0) == expected


def test_intensity_is_brought_into_zero_to_one(tmp_path):
    dataset = PointCloudFolder(write_clouds(tmp_path, ["0.bin"], top=255.0), COLUMNS, intensity_max=255)
    assert float(dataset[0].points.channel("intensity").max()) == pytest.approx(1.0)


def test_intensity_above_its_bound_is_refused(tmp_path):
    dataset = PointCloudFolder(write_clouds(tmp_path, ["0.bin"], top=255.0), COLUMNS)
    with pytest.raises(DataError, match=r"0.bin: intensity: expected at most intensity_max = 1, got 255"):
        dataset[0]


def test_columns_in_another_order_are_refused(tmp_path):
    dataset = PointCloudFolder(write_clouds(tmp_path, ["0.bin"]), ("intensity", "x", "y", "z"))
    with pytest.raises(DataError, match=r"columns: expected x, y, z first .*, got intensity, x, y, z"):
        dataset[0]


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        ([], {}, DataError, r"expected point clouds of one format .*, got none"),
        (["a.bin", "b.pcd"], {}, DataError, r"expected point clouds of one format .*, got .bin, .pcd"),
        (["a.bin"], {"suffix": ".pcd"}, DataError, r"folder: expected files \*.pcd, got none"),
        (["a.bin"], {"suffix": ".pdc"}, ConfigError, r"did you mean \".pcd\"\?"),
        (["a.bin"], {"columns": None}, ConfigError, r".bin files have no column names"),
        (["a.bin"], {"rate_hz": 0.0}, ConfigError, r"rate_hz must be > 0"),
        (["a.bin"], {"intensity_max": -1.0}, ConfigError, r"intensity_max and rate_hz must be > 0"),
        (["a.bin"], {"ego_height": float("nan")}, ConfigError, r"ego_height finite"),
    ],
)
def test_a_folder_that_cannot_be_read_is_refused(tmp_path, names, options, error, message):
    with pytest.raises(error, match=message):
        PointCloudFolder(write_clouds(tmp_path, names), **{"columns": COLUMNS, **options})


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: folder: expected the root of the data set, got no such folder"):
        PointCloudFolder(tmp_path / "nowhere", COLUMNS)
