"""The frames of a Waymo split, in either format, made into rows of the index, and read again by them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch

from ...errors import DataError
from ...structures import SE3
from ..index import CameraRecord, FrameRecord, ObjectRecord, SweepRecord
from .component_files import open_segment
from .frames import WaymoFrame, frame_of
from .names import OBJECT_TYPES, name_of
from .parquet import BOX_COMPONENT, POINT_COMPONENTS, POSE_COMPONENT, read_parquet_frame
from .records import read_record_at, read_records

MAIN_LASER = "TOP"
RECORD_ENDINGS, PARQUET_ENDING = (".tfrecord", ".tfrecord.gz"), ".parquet"
LEVELS = ("", "LEVEL_1", "LEVEL_2")                  # by number of the difficulty; 0 is not judged


def segment_files(folder: Path) -> list[Path]:
    """The files of a split by name: TFRecords, or the component ``lidar`` of each segment of the second format.

    Raises:
        DataError: the folder is absent, or holds segments in neither format or in both.
    """
    records = sorted(path for path in folder.glob("*") if path.name.endswith(RECORD_ENDINGS))
    names = {path.stem for component in (POSE_COMPONENT, *POINT_COMPONENTS)
             for path in (folder / component).glob(f"*{PARQUET_ENDING}")}
    if bool(records) == bool(names):
        got = "both" if records else "none of them"
        raise DataError(folder, "segments", "files *.tfrecord, or folders of components such as lidar/*.parquet", got)
    return records or [folder / POINT_COMPONENTS[0] / f"{name}{PARQUET_ENDING}" for name in sorted(names)]


def file_rows(root: Path, path: Path, *, labelled: bool, skip_corrupt: bool = False) -> tuple[list[FrameRecord], int]:
    """The rows of a file of `segment_files`, segment by segment and oldest first, without sweeps; and what was skipped.

    Args:
        root: folder that paths are relative to.
        path: the file.
        labelled: whether frames are annotated; if not, their objects are None.
        skip_corrupt: pass over corrupt records, see `records.RecordReader`.

    Returns:
        The rows, and the number of corrupt records.

    Raises:
        DataError: a record is corrupt or no frame; a component is absent or malformed; a segment has no calibration of
            its main laser, or two frames at one time.
    """
    rows: list[FrameRecord] = []
    skipped = 0
    if path.suffix == PARQUET_ENDING:
        frames = _parquet_frames(path, labelled)
        rows = [_frame_row(frame, path.relative_to(root), None, labelled) for frame in frames]
    else:
        reader = read_records(path, skip_corrupt=skip_corrupt)
        for payload in reader:
            assert reader.place is not None                          # a record was given
            frame = frame_of(payload, f"{path}: {reader.place}")
            rows.append(_frame_row(frame, path.relative_to(root), reader.place.offset, labelled))
        skipped = reader.skipped
    return _ordered(rows, path), skipped


def with_sweeps(rows: Sequence[FrameRecord], max_sweeps: int) -> Iterator[FrameRecord]:
    """The rows of a file with the sweeps before them in their segment, newest first."""
    for place, row in enumerate(rows):
        earlier = rows[max(0, place - max_sweeps) : place][::-1]
        yield replace(row, sweeps=[other.lidar for other in earlier if other.scene == row.scene])


def open_frame(path: Path, sweep: SweepRecord, cameras: Collection[str] = ()) -> WaymoFrame:
    """The frame that a row tells of, to take points and pictures from.

    Args:
        path: of the file that ``sweep`` names.
        sweep: of the row.
        cameras: whose pictures are wanted; of a TFRecord all are read at once.

    Raises:
        DataError: the file is absent or malformed.
    """
    if sweep.offset is not None:
        return frame_of(read_record_at(path, sweep.offset), f"{path}: record at byte {sweep.offset}")
    return read_parquet_frame(
        path.parents[1], path.stem, sweep.timestamp_ns // 1000, boxes=False, camera_boxes=False, cameras=cameras
    )


def _parquet_frames(path: Path, labelled: bool) -> Iterator[WaymoFrame]:
    folder, segment = path.parents[1], path.stem
    components = open_segment(folder, segment)
    for component in (*POINT_COMPONENTS, *((BOX_COMPONENT,) if labelled else ())):
        components.file(component)                                   # one that is absent is told before any frame
    for time in components.timestamps(POSE_COMPONENT):
        yield read_parquet_frame(folder, segment, time, boxes=labelled, camera_boxes=False, encoded=False)


def _frame_row(frame: WaymoFrame, path: Path, offset: int | None, labelled: bool) -> FrameRecord:
    if MAIN_LASER not in frame.lasers:
        known = ", ".join(frame.lasers) or "no laser"
        raise DataError(frame.place, "laser calibrations", f"that of the laser {MAIN_LASER}", f"those of {known}")
    ego_from_lidar = SE3.from_matrix(frame.lasers[MAIN_LASER].vehicle_from_laser)
    sweep = SweepRecord(
        path=path.as_posix(),
        timestamp_ns=frame.timestamp_ns,
        global_from_ego=_pose_row(frame.global_from_vehicle),
        ego_from_lidar=_pose_row(ego_from_lidar),
        offset=offset,
    )
    return FrameRecord(
        token=f"{frame.segment}/{frame.timestamp_micros}",
        scene=frame.segment,
        lidar=sweep,
        sweeps=[],
        cameras=[_camera_row(frame, name, path) for name in frame.pictures],
        objects=_object_rows(frame) if labelled else None,
    )


def _camera_row(frame: WaymoFrame, name: str, path: Path) -> CameraRecord:
    if name not in frame.cameras:
        raise DataError(frame.place, f"camera {name}", "a calibration", "none")
    try:
        calibration = frame.cameras[name].pinhole()
    except ValueError as error:
        raise DataError(frame.place, f"camera {name}", "a calibration", error) from error
    picture = frame.pictures[name]
    return CameraRecord(
        name=name,
        path=path.as_posix(),
        timestamp_ns=picture.timestamp_ns,
        width=calibration.width,
        height=calibration.height,
        intrinsics=calibration.intrinsics.flatten().tolist(),
        global_from_ego=_pose_row(picture.global_from_vehicle),
        ego_from_camera=_pose_row(calibration.ego_from_camera),
    )


def _object_rows(frame: WaymoFrame) -> list[ObjectRecord]:
    labels = frame.labels
    rows = labels.boxes.to_nuscenes(frame.global_from_vehicle)
    speeds = labels.boxes.velocities                                 # (K, 2), which Waymo gives along global axes
    return [
        ObjectRecord(
            token="",
            category=name_of(kind, OBJECT_TYPES).capitalize(),
            instance=labels.ids[place],
            translation=rows.translation[place].tolist(),
            rotation=rows.rotation[place].tolist(),
            size=labels.boxes.sizes[place].tolist(),
            velocity=speeds[place].tolist(),
            num_lidar_pts=int(labels.num_points[place]),
            attribute=LEVELS[level] if 0 <= level < len(LEVELS) else "",
            visibility=math.nan,
        )
        for place, (kind, level) in enumerate(
            zip(labels.types.tolist(), labels.detection_levels.tolist(), strict=True)
        )
    ]


def _pose_row(pose: SE3) -> list[float]:
    return torch.cat([pose.quaternion(), pose.translation]).tolist()


def _ordered(rows: list[FrameRecord], path: Path) -> list[FrameRecord]:
    """Segment by segment in the order of the file, each oldest first."""
    segments = {scene: place for place, scene in enumerate(dict.fromkeys(row.scene for row in rows))}
    rows = sorted(rows, key=lambda row: (segments[row.scene], row.lidar.timestamp_ns))
    for row, other in pairwise(rows):
        if row.token == other.token:
            raise DataError(path, f"segment {row.scene}", "frames of different times", f"two of {row.token}")
    return rows
