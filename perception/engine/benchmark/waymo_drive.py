"""Records of Waymo's form and size that need no data set: a seeded street seen by five lasers."""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.waymo.names import LASERS
from perception.datasets.waymo.records import write_records
from perception.datasets.waymo.schema import Frame, MatrixInt32, MatrixShape

SIZES = {"TOP": (64, 2650), "FRONT": (200, 600), "SIDE_LEFT": (200, 600), "SIDE_RIGHT": (200, 600), "REAR": (200, 600)}
REACH_M = {"TOP": 75.0, "FRONT": 20.0, "SIDE_LEFT": 20.0, "SIDE_RIGHT": 20.0, "REAR": 20.0}
TOP_BEAMS = (-0.31, 0.042)                                 # lowest and highest [rad]
SIDE_BEAMS = (-math.pi / 2, math.pi / 6)
LASER_HEIGHT_M = 2.1                                       # above the road
LOST = {"TOP": 0.1}                                        # share of the pulses that nothing returns
LOST_BESIDE = 0.9                                          # of the other lasers: they give some thousand points each
SECOND = 0.07                                              # share of the first returns with a second one behind
DISTINCT = 2                                               # frames that a drive repeats: making one takes seconds
PICTURE = (1920, 1280)                                     # [pixels]
SWEEP_S = 0.1


def write_drive(path: Path, frames: int, seed: int = 0, sizes: Mapping[str, tuple[int, int]] = SIZES) -> Path:
    """Write a TFRecord file whose frames are two that take turns, but for their time.

    Args:
        path: the file.
        frames: how many, 5 MB each.
        seed: of the street.
        sizes: rows and columns of the range images by laser.
    """
    rng = np.random.default_rng(seed)
    distinct = [_frame(rng, sizes) for _ in range(min(frames, DISTINCT))]
    return write_records(path, _records(distinct, frames))


def _records(distinct: list[Any], frames: int) -> Iterator[bytes]:
    for number in range(frames):
        message = distinct[number % DISTINCT]
        message.timestamp_micros = round(number * SWEEP_S * 1e6)
        yield message.SerializeToString()


def _frame(rng: np.random.Generator, sizes: Mapping[str, tuple[int, int]]) -> Any:
    message = Frame()
    message.context.name = "made_for_timing"
    message.pose.transform.extend(_turned(0.7, (-2000.0, 900.0, 12.0)).ravel())
    for name, (height, width) in sizes.items():
        number = LASERS.index(name)
        calibration = message.context.laser_calibrations.add(name=number)
        calibration.extrinsic.transform.extend(_turned(0.3 * number, (1.4, 0.0, LASER_HEIGHT_M)).ravel())
        beams = _beams(name, height)
        if name == "TOP":
            calibration.beam_inclinations.extend(beams)
        calibration.beam_inclination_min, calibration.beam_inclination_max = SIDE_BEAMS
        laser = message.lasers.add(name=number)
        first = _ranges(rng, beams[::-1], width, name)
        has_second = (first > 0) & (rng.random(first.shape) < SECOND)
        second = np.where(has_second, first + rng.uniform(1, 5, first.shape), -1.0)
        for image, ranges in ((laser.ri_return1, first), (laser.ri_return2, second)):
            image.range_image_compressed = _stored(_measured(rng, ranges))
            seen = MatrixInt32(data=_projections(ranges).ravel().tolist(), shape={"dims": (height, width, 6)})
            image.camera_projection_compressed = zlib.compress(seen.SerializeToString())
        if name == "TOP":
            laser.ri_return1.range_image_pose_compressed = _stored(_poses(rng, height, width))
    return message


def _beams(name: str, height: int) -> np.ndarray:
    """(H,) inclinations, lowest first [rad]."""
    low, high = TOP_BEAMS if name == "TOP" else SIDE_BEAMS
    return low + (np.arange(height) + 0.5) / height * (high - low)


def _ranges(rng: np.random.Generator, beams: np.ndarray, width: int, laser: str) -> np.ndarray:
    """(H, W) to the road or to walls of 16 columns, -1 without return [m]; beams highest first."""
    down = np.maximum(np.sin(-beams), 1e-9)[:, None]
    walls = np.repeat(rng.uniform(4.0, 90.0, width // 16 + 1), 16)[:width]
    ranges = np.minimum(LASER_HEIGHT_M / down, walls) + rng.normal(0.0, 0.02, (len(beams), width))
    is_seen = (ranges > 0.5) & (ranges < REACH_M[laser]) & (rng.random(ranges.shape) > LOST.get(laser, LOST_BESIDE))
    return np.where(is_seen, ranges, -1.0)


def _measured(rng: np.random.Generator, ranges: np.ndarray) -> np.ndarray:
    """(H, W, 4) float32 range image."""
    is_seen = ranges > 0
    intensity = np.where(is_seen, rng.gamma(1.0, 0.2, ranges.shape), -1.0)
    elongation = np.where(is_seen, rng.integers(0, 8, ranges.shape) / 20, -1.0)
    return np.stack([ranges, intensity, elongation, np.full(ranges.shape, -1.0)], axis=-1).astype(np.float32)


def _projections(ranges: np.ndarray) -> np.ndarray:
    """(H, W, 6): five cameras side by side see the columns' middle half; no pixel is seen twice."""
    height, width = ranges.shape
    rows, columns = np.mgrid[:height, :width]
    along = (columns / width - 0.25) * 2 * 5                                 # 0 to 5 over the cameras
    is_seen = (ranges > 0) & (along >= 0) & (along < 5)
    projections = np.zeros((height, width, 6), np.int64)
    for channel, values in enumerate((np.floor(along) + 1, along % 1 * PICTURE[0], rows / height * PICTURE[1])):
        projections[..., channel] = np.where(is_seen, values, 0)
    return projections


def _poses(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W, 6) float32 of a vehicle that drives 10 m/s in a bend; the beams of a column fire one after another."""
    time = np.linspace(-SWEEP_S / 2, SWEEP_S / 2, width) + np.linspace(0, SWEEP_S / width, height)[:, None]  # (H, W)
    angles = [rng.normal(0, 0.002) + 0.01 * time, rng.normal(0, 0.002) - 0.01 * time, 0.7 + 0.3 * time]
    return np.stack([*angles, -2000 + 7.6 * time, 900 + 6.4 * time, 12 + 0.1 * time], axis=-1).astype(np.float32)


def _stored(values: np.ndarray) -> bytes:
    """A deflated ``MatrixFloat``; its numbers are written at once, as protobuf would one by one."""
    packed, shape = values.astype("<f4").tobytes(), MatrixShape(dims=values.shape).SerializeToString()
    return zlib.compress(b"\x0a" + _varint(len(packed)) + packed + b"\x12" + _varint(len(shape)) + shape)


def _varint(value: int) -> bytes:
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _turned(yaw: float, shift: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) pose."""
    pose = np.eye(4)
    pose[:2, :2] = [[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]]
    pose[:3, 3] = shift
    return pose
