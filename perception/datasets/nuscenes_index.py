"""The index of a split of nuScenes, from its tables as the official devkit reads them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, DataError, suggestion
from .index import CameraRecord, FrameRecord, IndexSource, ObjectRecord, SweepRecord, write_index

if TYPE_CHECKING:
    from nuscenes.nuscenes import NuScenes

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
LIDAR = "LIDAR_TOP"
SPLITS_OF_VERSION = {
    "v1.0-trainval": ("train", "val", "train_detect", "train_track"),
    "v1.0-test": ("test",),
    "v1.0-mini": ("mini_train", "mini_val"),
}
ALL_SCENES = "all"
# Middle of each visibility level; the tokens of the table are "1" to "4".
VISIBLE_FRACTION = {"v0-40": 0.2, "v40-60": 0.5, "v60-80": 0.7, "v80-100": 0.9}


def index_source(version: str, split: str, max_sweeps: int = 10) -> IndexSource:
    """The index of a split. Raises ConfigError if the version or its split is unknown."""
    if version not in SPLITS_OF_VERSION:
        hint = suggestion(version, SPLITS_OF_VERSION)
        raise ConfigError(f'unknown nuScenes version "{version}"{hint}; known: {", ".join(SPLITS_OF_VERSION)}')
    splits = (*SPLITS_OF_VERSION[version], ALL_SCENES)
    if split not in splits:
        raise ConfigError(f'{version} has no split "{split}"{suggestion(split, splits)}; it has {", ".join(splits)}')
    return IndexSource("nuscenes", split, version, max_sweeps)


def build_nuscenes_index(
    root: str | Path,
    version: str,
    split: str,
    out: str | Path | None = None,
    *,
    max_sweeps: int = 10,
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> Path:
    """Read the tables with the official devkit and write the index of one split.

    Args:
        root: folder of the data set; nothing is written there if ``out`` lies elsewhere.
        version: folder of the tables.
        split: an official split of that version, or "all" scenes that the root holds.
        out: Parquet file; by default it lies in ``root``.
        max_sweeps: earlier sweeps to list with each keyframe.
        progress: wraps the list of scenes, to show a bar.

    Returns:
        The file written.

    Raises:
        DataError: the tables are absent or malformed, or hold no scene of the split.
        ConfigError: the version or split is unknown.
    """
    root, source = Path(root), index_source(version, split, max_sweeps)
    tables = _open_tables(root, version)
    scenes = _scenes_of_split(tables, root, version, split)
    path = source.default_path(root) if out is None else Path(out)
    write_index(path, _frame_records(tables, progress(scenes), max_sweeps), source)
    return path


def _open_tables(root: Path, version: str) -> NuScenes:
    from nuscenes.nuscenes import NuScenes

    folder = root / version
    if not folder.is_dir():
        raise DataError(folder, "tables", "a folder of nuScenes tables (scene.json, ...)", "no such folder")
    try:
        return NuScenes(version=version, dataroot=str(root), verbose=False)
    except (OSError, ValueError, KeyError, AssertionError) as error:
        raise DataError(folder, "tables", "tables that nuscenes-devkit opens", repr(error)) from error


def _scenes_of_split(tables: NuScenes, root: Path, version: str, split: str) -> list[dict[str, Any]]:
    from nuscenes.utils.splits import create_splits_scenes

    scenes = sorted(tables.scene, key=lambda scene: str(scene["name"]))
    names = {scene["name"] for scene in scenes} if split == ALL_SCENES else set(create_splits_scenes()[split])
    chosen = [scene for scene in scenes if scene["name"] in names]
    if not chosen:
        raise DataError(
            root / version / "scene.json", "name", f'a scene of split "{split}" (or use split "{ALL_SCENES}")',
            f"{len(scenes)} other scenes",
        )
    return chosen


def _frame_records(
    tables: NuScenes, scenes: Iterable[dict[str, Any]], max_sweeps: int
) -> Iterator[FrameRecord]:
    levels = {entry["token"]: VISIBLE_FRACTION.get(entry["level"], math.nan) for entry in tables.visibility}
    lidarseg, panoptic = _label_files(tables, "lidarseg"), _label_files(tables, "panoptic")
    for scene in scenes:
        token = scene["first_sample_token"]
        while token:
            sample = tables.get("sample", token)
            record = _frame_record(tables, scene["name"], sample, max_sweeps, levels)
            lidar = sample["data"][LIDAR]
            yield replace(record, lidarseg=lidarseg.get(lidar), panoptic=panoptic.get(lidar))
            token = sample["next"]


def _label_files(tables: NuScenes, kind: str) -> dict[str, str]:
    """File of the labels of points by the token of the LiDAR's data; empty where the root lacks that table."""
    return {row["sample_data_token"]: row["filename"] for row in getattr(tables, kind, ())}


def _frame_record(
    tables: NuScenes, scene: str, sample: dict[str, Any], max_sweeps: int, levels: Mapping[str, float]
) -> FrameRecord:
    if LIDAR not in sample["data"]:
        raise DataError(
            Path(tables.table_root) / "sample_data.json", "sample_token", f"a {LIDAR} keyframe of each sample",
            f"none of sample {sample['token']}",
        )
    lidar = tables.get("sample_data", sample["data"][LIDAR])
    sweeps: list[SweepRecord] = []
    earlier = lidar["prev"]
    while earlier and len(sweeps) < max_sweeps:
        sweep = tables.get("sample_data", earlier)
        sweeps.append(_sweep_record(tables, sweep))
        earlier = sweep["prev"]
    annotated = not tables.version.endswith("test")
    return FrameRecord(
        token=sample["token"],
        scene=scene,
        lidar=_sweep_record(tables, lidar),
        sweeps=sweeps,
        cameras=[_camera_record(tables, name, sample["data"][name]) for name in CAMERAS if name in sample["data"]],
        objects=[_object_record(tables, token, levels) for token in sample["anns"]] if annotated else None,
    )


def _pose(entry: Mapping[str, Any]) -> list[float]:
    return [*entry["rotation"], *entry["translation"]]


def _sweep_record(tables: NuScenes, lidar: dict[str, Any]) -> SweepRecord:
    return SweepRecord(
        path=lidar["filename"],
        timestamp_ns=lidar["timestamp"] * 1000,
        global_from_ego=_pose(tables.get("ego_pose", lidar["ego_pose_token"])),
        ego_from_lidar=_pose(tables.get("calibrated_sensor", lidar["calibrated_sensor_token"])),
    )


def _camera_record(tables: NuScenes, name: str, token: str) -> CameraRecord:
    picture = tables.get("sample_data", token)
    sensor = tables.get("calibrated_sensor", picture["calibrated_sensor_token"])
    return CameraRecord(
        name=name,
        path=picture["filename"],
        timestamp_ns=picture["timestamp"] * 1000,
        width=picture["width"],
        height=picture["height"],
        intrinsics=[value for row in sensor["camera_intrinsic"] for value in row],
        global_from_ego=_pose(tables.get("ego_pose", picture["ego_pose_token"])),
        ego_from_camera=_pose(sensor),
    )


def _object_record(tables: NuScenes, token: str, levels: Mapping[str, float]) -> ObjectRecord:
    entry = tables.get("sample_annotation", token)
    width, length, height = entry["size"]
    attributes = entry["attribute_tokens"]
    return ObjectRecord(
        token=token,
        category=entry["category_name"],
        instance=entry["instance_token"],
        translation=entry["translation"],
        rotation=entry["rotation"],
        size=[length, width, height],
        velocity=[float(value) for value in tables.box_velocity(token)[:2]],
        num_lidar_pts=entry["num_lidar_pts"],
        attribute=tables.get("attribute", attributes[0])["name"] if attributes else "",
        visibility=levels.get(entry["visibility_token"], math.nan),
    )
