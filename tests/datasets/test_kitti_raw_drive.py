import math
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.datasets.kitti import EGO_FROM_LIDAR
from perception.datasets.kitti_raw import EARTH_RADIUS, KittiRawDrive, parse_time, poses_from_oxts
from perception.errors import ConfigError, DataError
from perception.structures import SE3


@pytest.fixture
def real_root(shared_data) -> Path:
    return shared_data / "kitti/raw_2011_09_26_sequence"


@pytest.fixture
def drive(tmp_path) -> Path:
    """Three sweeps, nothing else."""
    data = tmp_path / "2011_09_26/drive_0001/velodyne_points/data"
    data.mkdir(parents=True)
    for frame in range(3):
        np.full((5, 4), 0.5 + frame, np.float32).tofile(data / f"{frame:010d}.bin")
    return data.parents[1]


def write_oxts(drive: Path, rows: list[str]) -> None:
    (drive / "oxts/data").mkdir(parents=True)
    for frame, row in enumerate(rows):
        (drive / f"oxts/data/{frame:010d}.txt").write_text(row)
    (drive.parent / "calib_imu_to_velo.txt").write_text("calib_time: x\nR: 1 0 0 0 1 0 0 0 1\nT: -0.8 0.3 -0.8\n")


def test_all_frames_of_the_real_drive_can_be_read(real_root):
    drive = KittiRawDrive(real_root, cameras=("image_02",), num_sweeps=2)
    assert len(drive) == 11
    assert set(drive.scenes) == {real_root.name}
    frame = drive[10]
    assert frame.token == "0000000010"
    assert frame.timestamp_ns - drive[9].timestamp_ns == 100_000_000
    assert 113_000 < len(frame.points) < 115_000
    assert frame.annotations is None
    assert [frame.timestamp_ns - sweep.timestamp_ns for sweep in frame.sweeps] == [100_000_000, 200_000_000]


def test_poses_are_those_of_the_file_seen_from_the_ground(real_root):
    rows = np.loadtxt(real_root / "poses_icp_estimated.txt").reshape(-1, 3, 4)
    pose = KittiRawDrive(real_root)[10].global_from_ego
    point = torch.tensor([[5.0, 1.0, 0.5]], dtype=torch.float64)                     # of the ego frame
    lidar = point - torch.tensor([0.0, 0.0, 1.73])
    first = lidar @ torch.from_numpy(rows[10, :, :3].T) + torch.from_numpy(rows[10, :, 3])
    torch.testing.assert_close(pose.apply(point), first + torch.tensor([0.0, 0.0, 1.73]), atol=1e-6, rtol=0)


def test_what_stands_stays_put_while_the_car_drives_on(real_root):
    from scipy.spatial import cKDTree

    frame = KittiRawDrive(real_root, num_sweeps=5)[5]
    oldest = frame.sweeps[4]
    tree = cKDTree(frame.points.xyz.numpy())
    still = oldest.load().xyz[::10]
    still = still[still[:, 2] > 2.5]                      # above the road and the traffic that moves along
    moved = oldest.ego_from_sweep.apply(still)
    assert np.median(tree.query(moved.numpy())[0]) < 0.4 * np.median(tree.query(still.numpy())[0])


def test_the_picture_lines_up_with_the_points(real_root):
    frame = KittiRawDrive(real_root, cameras=("image_02",))[0]
    calibration = frame.cameras["image_02"].calibration
    assert (calibration.width, calibration.height) == (1242, 375)
    share = calibration.sees(frame.points.xyz).float().mean()
    assert 0.1 < float(share) < 0.25                                                  # 81 of 360 degrees, less the sky


def test_a_drive_without_poses_and_times_counts_at_ten_hertz(drive):
    dataset = KittiRawDrive(drive, num_sweeps=2)
    assert [dataset[index].timestamp_ns for index in range(3)] == [0, 100_000_000, 200_000_000]
    assert dataset[2].global_from_ego is None
    assert dataset[2].sweeps == ()
    assert dataset[0].points.xyz[0].tolist() == pytest.approx([0.5, 0.5, 0.5 + 1.73])


def test_times_come_from_the_file(drive):
    lines = ["2011-09-26 13:02:25.951199337", "2011-09-26 13:02:26.051", "2011-09-26 13:02:26"]
    (drive / "velodyne_points/timestamps.txt").write_text("\n".join(lines))
    dataset = KittiRawDrive(drive)
    start = 1_317_042_145_951_199_337
    assert [dataset[index].timestamp_ns - start for index in range(3)] == [0, 99_800_663, 48_800_663]


def test_gps_poses_and_positions(drive):
    """Three records, a hundred-thousandth of a degree north each, at a heading of 90 degrees."""
    write_oxts(drive, [f"{49 + 1e-5 * frame} 8.5 112.0 0 0 {math.pi / 2} 0 0" for frame in range(3)])
    frames = [KittiRawDrive(drive)[index] for index in range(3)]
    assert frames[1].wgs84 == pytest.approx((49.00001, 8.5, 112.0))
    step = frames[1].global_from_ego.translation - frames[0].global_from_ego.translation
    assert step.tolist() == pytest.approx([0.0, math.radians(1e-5) * EARTH_RADIUS, 0.0], abs=1e-5)
    assert frames[0].global_from_ego.yaw == pytest.approx(math.pi / 2)
    imu_from_ego = SE3(torch.eye(3), torch.tensor([-0.8, 0.3, -0.8])).inverse() @ EGO_FROM_LIDAR.inverse()
    heading = SE3.about_z(math.pi / 2)
    torch.testing.assert_close(frames[0].global_from_ego.matrix(), (heading @ imu_from_ego).matrix(), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("roll", "pitch", "yaw", "axis", "expected"),
    [
        (0.1, 0, 0, 1, [0, math.cos(0.1), math.sin(0.1)]),          # left side goes up
        (0, 0.1, 0, 0, [math.cos(0.1), 0, -math.sin(0.1)]),         # nose goes down
        (0, 0, 0.1, 0, [math.cos(0.1), math.sin(0.1), 0]),          # turns left
    ],
)
def test_attitude_angles_turn_the_right_way(roll, pitch, yaw, axis, expected):
    pose = poses_from_oxts([(49.0, 8.5, 0.0, roll, pitch, yaw)], SE3.identity())[0]
    np.testing.assert_allclose(pose.rotation[:, axis], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("row", "message"), [("49 8 1", "3 numbers"), ("49 8 nan 0 0 0", "6 numbers"), ("a b", "numbers")]
)
def test_a_malformed_gps_record_is_refused(drive, row, message):
    write_oxts(drive, [row] * 3)
    with pytest.raises(DataError, match=rf"0000000000.txt: record: .*{message}"):
        KittiRawDrive(drive)


def test_gps_without_its_calibration_is_refused(drive):
    write_oxts(drive, ["49 8 1 0 0 0"] * 3)
    (drive.parent / "calib_imu_to_velo.txt").unlink()
    with pytest.raises(DataError, match=r"calib_imu_to_velo.txt: file: expected a calibration file, got no such file"):
        KittiRawDrive(drive)


@pytest.mark.parametrize(
    ("text", "message"),
    [("1 0 0\n", r"expected 3 lines of 12 numbers, got \(1, 3\)"), ("a b\n", "expected 12 numbers a line")],
)
def test_malformed_poses_are_refused(drive, text, message):
    (drive / "poses_icp_estimated.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        KittiRawDrive(drive)


@pytest.mark.parametrize("lines", [[], ["yesterday"], ["2011-09-26 13:02:25.x"]])
def test_a_malformed_time_is_refused_by_line(lines):
    with pytest.raises(DataError, match=r"timestamps.txt: line 1: expected a time such as"):
        parse_time(Path("timestamps.txt"), lines, 0)


def test_a_drive_without_sweeps_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"velodyne_points/data: sweeps: expected files such as 0000000000.bin"):
        KittiRawDrive(tmp_path)


def test_a_sweep_without_a_number_is_refused(drive):
    (drive / "velodyne_points/data/last.bin").write_bytes(b"")
    with pytest.raises(DataError, match=r"last.bin: file name: expected a frame number, got last"):
        KittiRawDrive(drive)


def test_an_unknown_camera_is_refused(drive):
    with pytest.raises(ConfigError, match=r'unknown camera "image_03" \(did you mean "image_02"\?\)'):
        KittiRawDrive(drive, cameras=("image_03",))


def test_a_picture_without_calibration_is_refused(drive):
    with pytest.raises(DataError, match=r"calib_cam_to_cam.txt: file: expected a calibration file, got no such file"):
        KittiRawDrive(drive, cameras=("image_02",))[0]
