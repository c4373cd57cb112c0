"""A small Argoverse 2 log: what needs files can be tested without a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

POSE_COLUMNS = ("qw", "qx", "qy", "qz", "tx_m", "ty_m", "tz_m")
UPRIGHT = (1.0, 0.0, 0.0, 0.0)


def write_table(path: Path, columns: dict[str, list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pa.table(columns), str(path))


def with_poses(columns: dict[str, list], poses: list[tuple[float, ...]]) -> dict[str, list]:
    return columns | {name: [pose[i] for pose in poses] for i, name in enumerate(POSE_COLUMNS)}


def write_log(folder: Path) -> Path:
    """Two sweeps 0.1 s apart of a vehicle that drives east at 10 m/s, with one camera 10 ms before each."""
    log = folder / "sensor/train/log-a"
    times = [1_000_000_000, 1_100_000_000]
    rng = np.random.default_rng(0)
    for time in times:
        write_table(log / f"sensors/lidar/{time}.feather", {
            **{axis: rng.uniform(-9, 9, 20).astype(np.float16) for axis in "xyz"},
            "intensity": np.full(20, 51, np.uint8), "laser_number": np.arange(20, dtype=np.uint8),
            "offset_ns": np.arange(20, dtype=np.int32),
        })
        (log / "sensors/cameras/ring_front_center").mkdir(parents=True, exist_ok=True)
        (log / f"sensors/cameras/ring_front_center/{time - 10_000_000}.jpg").write_bytes(b"jpeg")
    stamps = sorted(times + [time - 10_000_000 for time in times])
    poses = [(*UPRIGHT, time * 1e-8, 0.0, 0.0) for time in stamps]
    write_table(log / "city_SE3_egovehicle.feather", with_poses({"timestamp_ns": stamps}, poses))
    mounts = [(0.5, -0.5, 0.5, -0.5, 1.5, 0.0, 1.4), (*UPRIGHT, 1.3, 0.0, 1.6)]
    write_table(log / "calibration/egovehicle_SE3_sensor.feather",
                with_poses({"sensor_name": ["ring_front_center", "up_lidar"]}, mounts))
    write_table(log / "calibration/intrinsics.feather", {
        "sensor_name": ["ring_front_center"], "fx_px": [1700.0], "fy_px": [1701.0], "cx_px": [777.0], "cy_px": [1013.0],
        "height_px": [2048], "width_px": [1550],
    })
    boxes = [(*UPRIGHT, 20.0, 1.0, 0.5), (*UPRIGHT, 19.5, 1.0, 0.5)]            # 5 m/s east over ground
    write_table(log / "annotations.feather", with_poses({
        "timestamp_ns": times, "track_uuid": ["t", "t"], "category": ["BUS", "BUS"], "length_m": [12.0, 12.0],
        "width_m": [2.5, 2.5], "height_m": [3.0, 3.0], "num_interior_pts": [4, 5],
    }, boxes))
    return log
