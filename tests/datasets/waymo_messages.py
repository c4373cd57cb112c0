"""Frames of Waymo's form that tests make: a seeded drive with five lasers, whose range images are random."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from perception.datasets.waymo.names import LASERS
from perception.datasets.waymo.schema import Frame, MatrixFloat, MatrixInt32

SIZES: dict[str, tuple[int, int]] = {
    "FRONT": (4, 6), "TOP": (5, 12), "REAR": (4, 6), "SIDE_LEFT": (4, 6), "SIDE_RIGHT": (4, 6)
}
MOUNTING_YAWS = {"TOP": 2.6, "FRONT": 0.1, "SIDE_LEFT": 1.5, "SIDE_RIGHT": -1.6, "REAR": 3.1}


def rigid(roll: float, pitch: float, yaw: float, shift: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) float64 of a turn about x, then y, then z, and a shift."""
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_z = np.array([[cy, -sy, 0], [sy, cy, 0], [0, 0, 1]])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = about_z @ about_y @ about_x, shift
    return pose


def stored(message_class: Any, values: np.ndarray) -> bytes:
    """A deflated matrix message."""
    message = message_class(data=values.ravel().tolist(), shape={"dims": values.shape})
    return zlib.compress(message.SerializeToString())


def random_returns(rng: np.random.Generator, height: int, width: int, share: float = 0.5) -> np.ndarray:
    """(H, W, 4) float32 range image, a ``share`` of whose pixels have a return."""
    values = np.empty((height, width, 4), np.float32)
    values[..., 0] = np.where(rng.random((height, width)) < share, rng.uniform(1, 75, (height, width)), -1)
    values[..., 1] = rng.exponential(0.3, (height, width))
    values[..., 2] = rng.uniform(0, 1.5, (height, width))
    values[..., 3] = rng.choice([-1, 1], (height, width))
    return values


def random_poses(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 6) float32 poses of a vehicle that drives and turns during the sweep, far from the origin."""
    poses = np.empty((height, width, 6), np.float32)
    time = np.linspace(-0.05, 0.05, width)                                   # seconds
    poses[..., 0] = rng.normal(0, 0.01, (height, width))
    poses[..., 1] = rng.normal(0, 0.01, (height, width))
    poses[..., 2] = 0.7 + 0.3 * time
    poses[..., 3:] = np.stack([-2000 + 10 * time, 900 + 8 * time, 12 + 0 * time], axis=-1)
    return poses


def frame_message(seed: int = 0, *, sizes: Mapping[str, tuple[int, int]] = SIZES, share: float = 0.5) -> Any:
    """A ``Frame`` with calibrations, two returns of each laser, and pixel poses of the TOP one.

    Args:
        seed: of all that is drawn.
        sizes: rows and columns of the range images by laser, in the order of the messages.
        share: of the pixels that have a first return; a tenth of it have a second one.
    """
    rng = np.random.default_rng(seed)
    message = Frame(timestamp_micros=1_553_735_853_462_203 + 100_000 * seed)
    message.context.name = "made_segment_1"
    message.pose.transform.extend(rigid(0.01, -0.02, 0.7, (-2000.0, 900.0, 12.0)).ravel())
    for name, (height, width) in sizes.items():
        number = LASERS.index(name)
        calibration = message.context.laser_calibrations.add(name=number)
        pose = rigid(0.02, -0.01, MOUNTING_YAWS[name], (1.4, 0.3, 2.1))
        calibration.extrinsic.transform.extend(pose.ravel())
        calibration.beam_inclination_min, calibration.beam_inclination_max = -math.pi / 2, math.pi / 6
        laser = message.lasers.add(name=number)
        if name == "TOP":
            calibration.beam_inclinations.extend(np.sort(rng.uniform(-0.3, 0.04, height)))
            poses = stored(MatrixFloat, random_poses(rng, height, width))
            laser.ri_return1.range_image_pose_compressed = poses
        for image, part in ((laser.ri_return1, share), (laser.ri_return2, share / 10)):
            image.range_image_compressed = stored(MatrixFloat, random_returns(rng, height, width, part))
            seen = rng.choice([0, 0, 1, 5, 300, 1919], (height, width, 6))
            image.camera_projection_compressed = stored(MatrixInt32, seen)
    labels = rng.integers(0, 23, (*sizes["TOP"], 2))
    top = next(laser for laser in message.lasers if laser.name == LASERS.index("TOP"))
    top.ri_return1.segmentation_label_compressed = stored(MatrixInt32, labels)
    return message


def with_map(message: Any) -> Any:
    """The frame with a map of one feature of each kind; ``map_pose_offset`` moves them by 100 m."""
    lane = message.map_features.add(id=1).lane
    lane.type, lane.speed_limit_mph = 2, 25.0
    lane.polyline.add(x=1.0, y=2.0, z=3.0)
    lane.polyline.add(x=2.0)
    lane.exit_lanes.extend([7, 8])
    neighbor = lane.left_neighbors.add(feature_id=9, self_end_index=1, neighbor_start_index=3, neighbor_end_index=4)
    neighbor.boundaries.add(lane_end_index=1, boundary_feature_id=2, boundary_type=3)
    lane.right_boundaries.add(lane_start_index=1, lane_end_index=2, boundary_feature_id=5)
    message.map_features.add(id=2).road_line.polyline.add(y=1.0)
    message.map_features.add(id=3).road_edge.type = 2
    stop = message.map_features.add(id=4).stop_sign
    stop.position.x = 5.0
    stop.lane.append(1)
    message.map_features.add(id=5).crosswalk.polygon.add()
    message.map_features.add(id=6).speed_bump.polygon.add()
    message.map_features.add(id=7).driveway.polygon.add()
    message.map_pose_offset.x = 100.0
    return message
