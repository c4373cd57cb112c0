"""nuScenes: 1,000 drives of 20 s with a 32-beam LiDAR, six cameras and boxes at 2 Hz (Caesar et al., CVPR 2020).

Also any root in the same tables, such as that of the synthetic city. The tables place boxes in the global frame with
sizes as width, length, height; a sweep lies in its sensor's frame (x right, y forward). Here all is in the ego frame at
the time of the LIDAR_TOP sweep, and pictures carry the ego motion since their own time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import SE3, Frame, PointCloud, PointLabels
from .base import Transform
from .index import FrameRecord
from .indexed_dataset import IndexedDataset
from .maps.nuscenes_lane_graphs import NuScenesLaneGraphs
from .maps.nuscenes_map import read_nuscenes_map, scene_location
from .maps.sd_maps import SDMaps
from .maps.window import MapWindow
from .maps.world_map import WorldMap
from .nuscenes_index import CAMERAS, index_source
from .nuscenes_point_labels import KINDS, read_point_labels, rows_as_read
from .point_files import read_bin
from .town_places import FILE, read_town_places

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
POINT_COLUMNS = ("x", "y", "z", "intensity", "ring")     # float32, sensor frame, metres; intensity in [0, 255]


@DATASETS.register_module()
class NuScenesDataset(IndexedDataset):
    """Annotated keyframes of one split; see `IndexedDataset` for the index and `FrameDataset` for transforms.

    Points have the channels x, y, z, intensity in [0, 1] and ring. Track names are instance tokens. In a root with
    ``maps/towns.json``, such as one of synthetic towns, frames have ``wgs84`` (see `read_town_places`).

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
        self.towns = read_town_places(self.root / FILE) if (self.root / FILE).is_file() else {}

    def load(self, index: int) -> Frame:
        """Read one frame, with the maps and labels that were asked for; see `IndexedDataset.load`."""
        frame = super().load(index)
        if self.point_labels is not None:
            frame = replace(frame, point_labels=self._labels_of(frame, self.point_labels, self.index.record(index)))
        pose = frame.global_from_ego
        if pose is None:
            return frame
        if frame.scene in self.towns:
            (latitude, longitude), = self.towns[frame.scene].latlng(pose.translation[None, :2].numpy()).tolist()
            frame = replace(frame, wgs84=(latitude, longitude, float(pose.translation[2])))
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
