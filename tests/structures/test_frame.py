"""A frame's moves keep points, boxes, cameras, sweeps and poses consistent; absent parts stay absent."""

import math
import pickle
from dataclasses import dataclass, replace

import pytest
import torch

from perception.structures import SE3, Annotations, Boxes3D, Calibration, Camera, Frame, PointCloud, Sweep

F64 = torch.float64
FORWARD = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=F64)
MOVE = SE3.about_z(0.7, [1.0, -2.0, 0.5])


@dataclass(frozen=True)
class StoredPoints:
    points: PointCloud

    def __call__(self) -> PointCloud:
        return self.points


def frame(sweeps: tuple[Sweep, ...] = ()) -> Frame:
    boxes = Boxes3D(torch.tensor([[10.0, 2.0, 0.5, 4.0, 2.0, 1.5, 0.3, 5.0, 1.0]]))
    intrinsics = torch.tensor([[500.0, 0.0, 320.0], [0.0, 500.0, 200.0], [0.0, 0.0, 1.0]], dtype=F64)
    calibration = Calibration(intrinsics, SE3(FORWARD, torch.tensor([1.0, 0.2, 2.0])), width=640, height=400)
    return Frame(
        token="a",
        timestamp_ns=10**9,
        global_from_ego=SE3.about_z(1.0, [1000.0, 2000.0, 0.0]),
        points=PointCloud(torch.tensor([[10.0, 2.0, 0.5, 0.7], [12.0, -3.0, 1.0, 0.1]]), ("x", "y", "z", "intensity")),
        sweeps=sweeps,
        cameras={"front": Camera(calibration, 10**9, image=torch.zeros(3, 400, 640, dtype=torch.uint8))},
        annotations=Annotations(boxes, torch.tensor([0]), ("car",)),
        ego_from_lidar=SE3.about_z(-0.1, [0.9, 0.0, 1.8]),
    )


def pixels(frame: Frame) -> torch.Tensor:
    return frame.cameras["front"].calibration.project(frame.points.xyz)


def world_and_sensor(frame: Frame) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3) points in the global frame and in the LiDAR's own."""
    points = frame.points.xyz.double()
    return frame.global_from_ego.apply(points), frame.ego_from_lidar.inverse().apply(points)


def test_moving_a_frame_changes_no_pixel_and_no_place_on_earth():
    before, after = frame(), frame().moved_by(MOVE)
    torch.testing.assert_close(pixels(after), pixels(before), atol=1e-3, rtol=0)      # float32 points, f = 500 pixels
    world, sensor = world_and_sensor(before)
    torch.testing.assert_close(world_and_sensor(after)[0], world, atol=1e-5, rtol=0)
    torch.testing.assert_close(world_and_sensor(after)[1], sensor, atol=1e-5, rtol=0)


def test_moving_a_frame_keeps_points_in_their_boxes_and_other_channels():
    after = frame().moved_by(MOVE)
    assert after.annotations.boxes.contains(after.points.xyz).tolist() == [[True, False]]
    assert torch.equal(after.points.channel("intensity"), frame().points.channel("intensity"))


def test_a_sweep_read_after_a_move_lies_where_it_would_have_been_moved_to():
    stored = PointCloud(torch.tensor([[5.0, 1.0, 0.0]]))
    sweep = Sweep(9 * 10**8, SE3.about_z(0.05, [-1.0, 0.1, 0.0]), StoredPoints(stored))
    (moved,) = frame((sweep,)).moved_by(MOVE).sweeps
    expected = MOVE.apply(sweep.ego_from_sweep.apply(stored.xyz))
    torch.testing.assert_close(moved.ego_from_sweep.apply(moved.load().xyz), expected, atol=1e-5, rtol=0)


def test_a_frame_with_moved_sweeps_survives_the_way_out_of_a_data_worker():
    sweep = Sweep(9 * 10**8, SE3.identity(), StoredPoints(PointCloud(torch.ones(1, 3))))
    back = pickle.loads(pickle.dumps(frame((sweep,)).moved_by(MOVE)))
    torch.testing.assert_close(back.sweeps[0].load().xyz, MOVE.apply(torch.ones(1, 3)))


def test_scaling_a_frame_changes_no_pixel_but_every_depth():
    before, after = frame(), frame().scaled_by(1.5)
    expected = pixels(before) * torch.tensor([1.0, 1.0, 1.5])
    torch.testing.assert_close(pixels(after), expected, atol=1e-3, rtol=0)
    assert after.annotations.boxes.contains(after.points.xyz).tolist() == [[True, False]]
    torch.testing.assert_close(after.ego_from_lidar.translation, before.ego_from_lidar.translation * 1.5)


def test_mirroring_a_frame_mirrors_every_pixel():
    before, after = pixels(frame()), pixels(frame().mirrored_y())
    torch.testing.assert_close(after[:, 0], 639 - before[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(after[:, 1:], before[:, 1:], atol=1e-3, rtol=0)


def test_mirroring_a_frame_mirrors_the_world_and_the_sensor():
    before, after = frame(), frame().mirrored_y()
    flip = torch.tensor([1.0, -1.0, 1.0], dtype=F64)
    world, sensor = world_and_sensor(before)
    torch.testing.assert_close(world_and_sensor(after)[0], world * flip, atol=1e-9, rtol=0)
    torch.testing.assert_close(world_and_sensor(after)[1], sensor * flip, atol=1e-9, rtol=0)


@pytest.mark.parametrize("change", [lambda f: f.moved_by(MOVE), lambda f: f.scaled_by(2.0), lambda f: f.mirrored_y()])
def test_a_change_leaves_the_given_frame_alone(change):
    given, kept = frame(), frame()
    change(given)
    assert torch.equal(given.points.data, kept.points.data)
    assert torch.equal(given.annotations.boxes.tensor, kept.annotations.boxes.tensor)
    assert torch.equal(given.global_from_ego.matrix(), kept.global_from_ego.matrix())
    assert torch.equal(
        given.cameras["front"].calibration.ego_from_camera.matrix(),
        kept.cameras["front"].calibration.ego_from_camera.matrix(),
    )


@pytest.mark.parametrize("change", [lambda f: f.moved_by(MOVE), lambda f: f.scaled_by(2.0), lambda f: f.mirrored_y()])
def test_a_bare_frame_stays_bare(change):
    bare = change(Frame("a", 0))
    assert bare.points is bare.annotations is bare.global_from_ego is bare.ego_from_lidar is None
    assert bare.cameras == {}


@pytest.mark.parametrize("change", [lambda f: f.scaled_by(2.0), lambda f: f.mirrored_y()])
def test_sweeps_that_are_not_read_yet_refuse_what_they_cannot_follow(change):
    sweep = Sweep(0, SE3.identity(), StoredPoints(PointCloud(torch.ones(1, 3))))
    with pytest.raises(ValueError, match="put AggregateSweeps before it"):
        change(frame((sweep,)))


def test_a_camera_without_calibration_is_carried_along():
    plain = replace(frame(), cameras={"front": Camera(None, 0)})
    assert plain.moved_by(MOVE).cameras["front"].calibration is None
    assert plain.scaled_by(2.0).cameras["front"].calibration is None
    assert plain.mirrored_y().cameras["front"].calibration is None


def test_a_quarter_turn_moves_a_box_ahead_to_the_left():
    turned = Frame("a", 0, annotations=frame().annotations).moved_by(SE3.about_z(math.pi / 2))
    box = turned.annotations.boxes.tensor[0]
    torch.testing.assert_close(box[:2], torch.tensor([-2.0, 10.0]))
    torch.testing.assert_close(box[6:], torch.tensor([0.3 + math.pi / 2, -1.0, 5.0]))
