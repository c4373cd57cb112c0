"""nuScenes: 1,000 drives of 20 s with a 32-beam LiDAR, six cameras and boxes at 2 Hz (Caesar et al., CVPR 2020).

Also any root in the same tables, such as that of the synthetic city. The tables place boxes in the global frame with
sizes as width, length, height; a sweep lies in its sensor's frame (x right, y forward). Here all is in the ego frame at
the time of the LIDAR_TOP sweep, and pictures carry the ego motion since their own time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import SE3, Frame, PointCloud, PointLabels
from .base import Transform
from .index import CameraRecord, FrameRecord, IndexSource, ObjectRecord, SweepRecord, write_index
from .indexed_dataset import IndexedDataset
from .maps.nuscenes_lane_graphs import NuScenesLaneGraphs
from .maps.nuscenes_map import read_nuscenes_map, scene_location
from .maps.sd_maps import SDMaps
from .maps.window import MapWindow
from .maps.world_map import WorldMap
from .nuscenes_point_labels import KINDS, read_point_labels, rows_as_read
from .point_files import read_bin

if TYPE_CHECKING:
    from nuscenes.nuscenes import NuScenes

CLASSES = (
    "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle", "pedestrian",
    "traffic_cone",
)
CLASS_OF_CATEGORY = {
    "vehicle.car": "car",
    "vehicle.truck": "truck",
    "vehicle.construction": "construction_vehicle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.trailer": "trailer",
    "movable_object.barrier": "barrier",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.bicycle": "bicycle",
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "movable_object.trafficcone": "traffic_cone",
}
CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_BACK_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_FRONT_LEFT")
LIDAR = "LIDAR_TOP"
POINT_COLUMNS = ("x", "y", "z", "intensity", "ring")     # float32, sensor frame, metres; intensity in [0, 255]
SPLITS_OF_VERSION = {
    "v1.0-trainval": ("train", "val", "train_detect", "train_track"),
    "v1.0-test": ("test",),
    "v1.0-mini": ("mini_train", "mini_val"),
}
ALL_SCENES = "all"
# Middle of each visibility level; the tokens of the table are "1" to "4".
VISIBLE_FRACTION = {"v0-40": 0.2, "v40-60": 0.5, "v60-80": 0.7, "v80-100": 0.9}


@DATASETS.register_module()
class NuScenesDataset(IndexedDataset):
    """Annotated keyframes of one split; see `IndexedDataset` for the index and `FrameDataset` for transforms.

    Points have the channels x, y, z, intensity in [0, 1] and ring. Track names are instance tokens.

    Args:
        root: folder with ``samples/``, ``sweeps/`` and the tables.
        version: folder of the tables, such as "v1.0-trainval".
        split: an official split of that version ("train", "val", "mini_train", ...), or "all".
        index: Parquet file made by `build_nuscenes_index`; by default it lies in ``root``.
        only_scenes: names of the drives to keep; all of the split by default.
        num_sweeps: earlier sweeps in `Frame.sweeps`, newest first; up to nine are customary.
        cameras: some of `CAMERAS`.
        map: options of a `MapWindow`, such as ``region=(-30, -15, 30, 15)``, to fill `Frame.vector_map` from the map
            expansion; no map by default.
        lane_graph: options of `NuScenesLaneGraphs` to fill `Frame.lane_graph`; none by default.
        sd_map: options of `SDMaps` to fill `Frame.sd_map`; none by default.
        point_labels: "lidarseg" fills `Frame.point_labels` with the class of each point, "panoptic" with its instance
            too (see `read_point_labels`); None leaves them out.
        classes: some of `CLASSES`, in the order of the labels.

    Raises:
        DataError: the index is absent, of an older schema or of another version or split.
        ConfigError: a version, split, class, camera, kind of labels or option of the map is unknown (the nearest one is
            suggested).
    """

    METAINFO = {"classes": CLASSES}
    CAMERAS = CAMERAS

    def __init__(
        self,
        root: str | Path,
        *,
        version: str = "v1.0-trainval",
        split: str = "train",
        index: str | Path | None = None,
        only_scenes: Sequence[str] | None = None,
        num_sweeps: int = 9,
        cameras: Sequence[str] = (),
        map: Mapping[str, Any] | MapWindow | None = None,
        lane_graph: Mapping[str, Any] | None = None,
        sd_map: Mapping[str, Any] | None = None,
        point_labels: str | None = None,
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, index_source(version, split), index=index, only_scenes=only_scenes, num_sweeps=num_sweeps,
            cameras=cameras, map=map, classes=classes, transforms=transforms, seed=seed,
        )
        if point_labels is not None and point_labels not in KINDS:
            hint = suggestion(point_labels, KINDS)
            raise ConfigError(f'point_labels must be one of {", ".join(KINDS)}, got "{point_labels}"{hint}')
        self.point_labels = point_labels
        self.lane_graphs = None if lane_graph is None else NuScenesLaneGraphs(root, version, **lane_graph)
        self.sd_maps = None if sd_map is None else SDMaps(root, version, **sd_map)

    def load(self, index: int) -> Frame:
        """Read one frame, with the maps and labels that were asked for; see `IndexedDataset.load`."""
        frame = super().load(index)
        if self.point_labels is not None:
            frame = replace(frame, point_labels=self._labels_of(frame, self.point_labels, self.index.record(index)))
        pose = frame.global_from_ego
        if pose is None:
            return frame
        return replace(
            frame,
            lane_graph=None if self.lane_graphs is None else self.lane_graphs.local(frame.scene, pose),
            sd_map=None if self.sd_maps is None else self.sd_maps.local(frame.scene, pose),
        )

    def _labels_of(self, frame: Frame, kind: str, record: FrameRecord) -> PointLabels:
        """Labels of the points that reading the sweep gave. Raises DataError if there are none, or too few."""
        path: str | None = getattr(record, kind)
        if path is None:
            remedy = f"none; make it anew with: {self.source.command(self.root, self.index_path)}"
            raise DataError(self.index_path, kind, f"the labels of the points of frame {record.token}", remedy)
        labels = read_point_labels(self.root / path, kind)
        assert frame.points is not None
        if len(labels) == len(frame.points):
            return labels
        kept = rows_as_read(self.root / record.lidar.path, len(POINT_COLUMNS))
        if len(labels) != len(kept):
            raise DataError(self.root / path, kind, f"one label for each of {len(kept)} points", f"{len(labels)}")
        return labels[kept]

    def world_map(self, record: FrameRecord) -> WorldMap:
        """The map of the town where a frame was taken."""
        return read_nuscenes_map(self.root, scene_location(self.root, self.source.version, record.scene))

    def class_of(self, category: str) -> str | None:
        """The detection class of an annotated category; None if it has none."""
        return CLASS_OF_CATEGORY.get(category)

    @staticmethod
    def read_sweep(path: Path, ego_from_lidar: SE3 | None) -> PointCloud:
        """x, y, z [m], intensity in [0, 1] and ring of a sweep, in the ego frame if the pose is given."""
        points, names = read_bin(path, POINT_COLUMNS)
        points[:, 3] /= 255.0
        cloud = PointCloud(torch.from_numpy(points), names)
        return cloud if ego_from_lidar is None else cloud.moved_by(ego_from_lidar)


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
