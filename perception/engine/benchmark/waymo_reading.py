"""Reading Waymo's records to points, against the same by protobuf and whole matrices, on a seeded drive."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.waymo.frames import frame_of, read_frames
from perception.datasets.waymo.names import LASERS
from perception.datasets.waymo.records import read_records
from perception.datasets.waymo.schema import Frame, MatrixFloat
from perception.errors import PerceptionError

from .rows import Row, compared
from .setting import Setting
from .timing import interleaved_ms
from .waymo_drive import SIZES, write_drive

PLAINLY = 2                                                # frames that the reference is timed on
APART_M = 1e-4                                             # that the two may lie: float32 of 75 m, in another order


def benchmark_waymo_reading(
    setting: Setting, samples: int = 20, *, repeats: int = 3, seed: int = 0,
    sizes: Mapping[str, tuple[int, int]] = SIZES,
) -> Iterator[Row]:
    """Time `read_frames` with the points of all lasers and both returns, beside `read_plainly`, after a comparison.

    Args:
        setting: threads; nothing here runs elsewhere than on the CPU.
        samples: frames of the file, 5 MB each.
        repeats: rounds.
        seed: of the street.
        sizes: rows and columns of the range images by laser.

    Yields:
        A row with the points alone, and one with their places in the pictures; times are those of one frame, and the
        size is its points. The reference gives points alone.

    Raises:
        PerceptionError: the two do not give the same points.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = write_drive(Path(folder) / "drive.tfrecord", samples, seed, sizes)
        payload = next(read_records(path))
        ours = [found.xyz for found in frame_of(payload, path).returns()]
        check_same_points(ours, read_plainly(payload))
        size = sum(len(points) for points in ours)
        for name, projections in (("points", False), ("points and projections", True)):
            calls = [partial(_read_all, path, projections), partial(_read_some_plainly, path, PLAINLY)]
            times = interleaved_ms(calls, repeats, setting.device) / [samples, min(samples, PLAINLY)]  # (rounds, 2)
            yield replace(setting.row(f"waymo_reading/{name}", size, **compared(*times.T)), dtype="float64")


def read_plainly(payload: bytes) -> list[np.ndarray]:
    """Points of both returns and all lasers, (N, 3) float64 each, by protobuf and matrices of all pixels.

    Args:
        payload: a serialized ``Frame`` message.
    """
    message = Frame.FromString(payload)
    calibrations = {calibration.name: calibration for calibration in message.context.laser_calibrations}
    vehicle_from_global = np.linalg.inv(np.array(message.pose.transform).reshape(4, 4))
    points = []
    for number in (1, 2):
        for laser in sorted(message.lasers, key=lambda laser: laser.name):
            image = laser.ri_return1 if number == 1 else laser.ri_return2
            ranges = _matrix(image.range_image_compressed)[..., 0].astype(np.float64)
            xyz = ranges[..., None] * _axes(calibrations[laser.name], *ranges.shape)                   # (H, W, 3)
            extrinsic = np.array(calibrations[laser.name].extrinsic.transform).reshape(4, 4)
            xyz = xyz @ extrinsic[:3, :3].T + extrinsic[:3, 3]
            if laser.name == LASERS.index("TOP"):
                poses = _matrix(laser.ri_return1.range_image_pose_compressed).astype(np.float64)
                xyz = np.einsum("hwij,hwj->hwi", _rotations(poses), xyz) + poses[..., 3:]
                xyz = xyz @ vehicle_from_global[:3, :3].T + vehicle_from_global[:3, 3]
            points.append(xyz[ranges > 0])
    return points


def check_same_points(ours: Sequence[np.ndarray], plain: Sequence[np.ndarray]) -> None:
    """Raise PerceptionError if the points (N, 3) of each laser are not as many or lie more than `APART_M` apart."""
    counts, wanted = [len(points) for points in ours], [len(points) for points in plain]
    if counts != wanted:
        raise PerceptionError(f"waymo reading: {counts} points of the lasers, read plainly {wanted}")
    apart = max(np.abs(a - b).max(initial=0.0) for a, b in zip(ours, plain, strict=True))
    if not apart < APART_M:
        raise PerceptionError(f"waymo reading: points lie {apart:g} m from those that are read plainly")


def _read_all(path: Path, projections: bool) -> None:
    for frame in read_frames(path):
        frame.returns(projections=projections)


def _read_some_plainly(path: Path, frames: int) -> None:
    for payload, _ in zip(read_records(path), range(frames), strict=False):
        read_plainly(payload)


def _matrix(stored: bytes) -> np.ndarray:
    message = MatrixFloat.FromString(zlib.decompress(stored))
    return np.array(message.data, np.float32).reshape(tuple(message.shape.dims))


def _axes(calibration: Any, height: int, width: int) -> np.ndarray:
    """(H, W, 3) unit vectors of the pixels in the laser's axes."""
    beams = np.array(calibration.beam_inclinations)
    if not len(beams):
        low, high = calibration.beam_inclination_min, calibration.beam_inclination_max
        beams = low + (np.arange(height) + 0.5) / height * (high - low)
    mounting = np.arctan2(calibration.extrinsic.transform[4], calibration.extrinsic.transform[0])
    azimuths = ((width - np.arange(width) - 0.5) / width * 2 - 1) * np.pi - mounting
    inclinations, azimuths = np.meshgrid(beams[::-1], azimuths, indexing="ij")
    level = np.cos(inclinations)
    return np.stack([level * np.cos(azimuths), level * np.sin(azimuths), np.sin(inclinations)], axis=-1)


def _rotations(poses: np.ndarray) -> np.ndarray:
    """(H, W, 6) poses -> (H, W, 3, 3) rotations about z, y and x."""
    (sr, sp, sy), (cr, cp, cy) = (np.moveaxis(turn(poses[..., :3]), -1, 0) for turn in (np.sin, np.cos))
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
