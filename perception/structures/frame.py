"""One synchronized moment of a vehicle: datasets yield it, transforms map it, replay streams it, pictures show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from .annotations import Annotations
from .calibration import Camera
from .geo import GeoLabel
from .point_cloud import PointCloud
from .point_labels import PointLabels
from .se3 import SE3
from .vector_map import LaneGraph, SDMap, VectorMap


@dataclass(frozen=True, eq=False)
class Sweep:
    """An earlier LiDAR sweep that has not been read yet.

    Args:
        timestamp_ns: its time, earlier than the frame's.
        ego_from_sweep: ego frame of the sweep's own time -> the frame's ego frame.
        load: reads the points, in the ego frame of the sweep's own time.
    """

    timestamp_ns: int
    ego_from_sweep: SE3
    load: Callable[[], PointCloud]

    def moved_by(self, transform: SE3) -> Sweep:
        """The same sweep when the vehicle's ego frame is another one at all times: ``transform`` is new_from_old."""
        return replace(
            self,
            ego_from_sweep=transform @ self.ego_from_sweep @ transform.inverse(),
            load=MovedLoad(self.load, transform),
        )


@dataclass(frozen=True)
class MovedLoad:
    """Reads points and moves them; a class, since a frame on its way out of a data worker is pickled.

    Args:
        load: reads the points.
        transform: what they are moved by.
    """

    load: Callable[[], PointCloud]
    transform: SE3

    def __call__(self) -> PointCloud:
        """The moved points."""
        return self.load().moved_by(self.transform)


@dataclass(frozen=True, eq=False)
class Frame:
    """One synchronized moment. Everything geometric is in the ego frame (x forward, y left, z up) at ``timestamp_ns``.

    Args:
        token: name of the frame, unique in its data set.
        timestamp_ns: time of the LiDAR sweep [ns].
        scene: name of the drive it belongs to; sweeps and tracks never cross scenes.
        global_from_ego: pose of the vehicle, float64; None if unknown.
        wgs84: latitude [deg], longitude [deg], altitude [m] of the recorded ego origin; None if unknown. It names the
            place on Earth and so stays as it is when an augmentation moves, scales or mirrors the scene.
        points: LiDAR points.
        sweeps: earlier sweeps, newest first.
        cameras: pictures by camera name.
        annotations: annotated objects; None if the frame is not annotated (no objects is an empty `Annotations`).
        ego_from_lidar: pose of the (main) LiDAR on the vehicle, for models that want points in the sensor's own frame.
        vector_map: true map elements around the vehicle; None if the map is unknown (no element is an empty one).
        lane_graph: true lane segments and areas in OpenLane-V2's form; None likewise.
        sd_map: what a navigation map knows of the place; None if there is none.
        point_labels: class and instance of each of ``points``, row by row; None if points are not labelled.
        geo_label: the cells on Earth that ``wgs84`` lies in and the kind of scene; None if the place has no label. As
            ``wgs84``, it stays as it is when the scene is moved.

    Raises:
        ValueError: there are not as many point labels as points.
    """

    token: str
    timestamp_ns: int
    scene: str = ""
    global_from_ego: SE3 | None = None
    wgs84: tuple[float, float, float] | None = None
    points: PointCloud | None = None
    sweeps: tuple[Sweep, ...] = ()
    cameras: dict[str, Camera] = field(default_factory=dict)
    annotations: Annotations | None = None
    ego_from_lidar: SE3 | None = None
    vector_map: VectorMap | None = None
    lane_graph: LaneGraph | None = None
    sd_map: SDMap | None = None
    point_labels: PointLabels | None = None
    geo_label: GeoLabel | None = None

    def __post_init__(self) -> None:
        points = 0 if self.points is None else len(self.points)
        if self.point_labels is not None and len(self.point_labels) != points:
            raise ValueError(f"frame {self.token} has {len(self.point_labels)} point labels for {points} points")

    def with_point_rows(self, index: slice | Tensor) -> Frame:
        """With some of the points, their labels along with them: by slice, mask or int64 index.

        Raises:
            ValueError: there are no points.
        """
        if self.points is None:
            raise ValueError(f"frame {self.token} has no points to choose from")
        labels = None if self.point_labels is None else self.point_labels[index]
        return replace(self, points=self.points[index], point_labels=labels)

    def moved_by(self, transform: SE3) -> Frame:
        """The same moment seen from another ego frame: ``transform`` is new_from_old; cameras and poses follow."""
        cameras = {name: _moved_camera(camera, transform) for name, camera in self.cameras.items()}
        annotations = self.annotations
        if annotations is not None:
            annotations = replace(annotations, boxes=annotations.boxes.moved_by(transform))
        return replace(
            self,
            points=None if self.points is None else self.points.moved_by(transform),
            sweeps=tuple(sweep.moved_by(transform) for sweep in self.sweeps),
            cameras=cameras,
            annotations=annotations,
            global_from_ego=None if self.global_from_ego is None else self.global_from_ego @ transform.inverse(),
            ego_from_lidar=None if self.ego_from_lidar is None else transform @ self.ego_from_lidar,
            **self._maps(lambda shape: shape.moved_by(transform)),
        )

    def scaled_by(self, factor: float) -> Frame:
        """The scene enlarged about the ego origin; camera positions follow, so pictures still line up, the pose stays.

        Raises:
            ValueError: sweeps have not been aggregated yet.
        """
        self._refuse_sweeps("scaling")
        cameras = dict(self.cameras)
        for name, camera in cameras.items():
            if camera.calibration is not None:
                pose = camera.calibration.ego_from_camera
                pose = SE3(pose.rotation, pose.translation * factor)
                cameras[name] = replace(camera, calibration=replace(camera.calibration, ego_from_camera=pose))
        annotations = self.annotations
        if annotations is not None:
            annotations = replace(annotations, boxes=annotations.boxes.scaled_by(factor))
        lidar = self.ego_from_lidar
        return replace(
            self,
            points=None if self.points is None else self.points.with_xyz(self.points.xyz * factor),
            cameras=cameras,
            annotations=annotations,
            ego_from_lidar=None if lidar is None else SE3(lidar.rotation, lidar.translation * factor),
            **self._maps(lambda shape: shape.scaled_by(factor)),
        )

    def mirrored_y(self) -> Frame:
        """The scene with left and right exchanged; decoded pictures are flipped with it. The world is mirrored too.

        Raises:
            ValueError: sweeps have not been aggregated, or a picture has not been decoded yet.
        """
        self._refuse_sweeps("mirroring")
        points, annotations = self.points, self.annotations
        mirrored_map = None if self.vector_map is None else self.vector_map.mirrored_y()
        if points is not None:
            points = points.with_xyz(points.xyz * points.data.new_tensor([1.0, -1.0, 1.0]))
        if annotations is not None:
            annotations = replace(annotations, boxes=annotations.boxes.mirrored_y())
        return replace(
            self,
            points=points,
            cameras={name: camera.mirrored_y() for name, camera in self.cameras.items()},
            annotations=annotations,
            global_from_ego=None if self.global_from_ego is None else _mirrored_pose(self.global_from_ego),
            ego_from_lidar=None if self.ego_from_lidar is None else _mirrored_pose(self.ego_from_lidar),
            **{**self._maps(lambda shape: shape.mirrored_y()), "vector_map": mirrored_map},
        )

    def to(self, device: torch.device | str) -> Frame:
        """Points, labels, annotations and maps on another device; pictures stay where they are."""
        return replace(
            self,
            points=None if self.points is None else self.points.to(device),
            annotations=None if self.annotations is None else self.annotations.to(device),
            vector_map=None if self.vector_map is None else self.vector_map.to(device),
            lane_graph=None if self.lane_graph is None else self.lane_graph.to(device),
            sd_map=None if self.sd_map is None else self.sd_map.to(device),
            point_labels=None if self.point_labels is None else self.point_labels.to(device),
        )

    def _maps(self, change: Callable[[Any], Any]) -> dict[str, Any]:
        """The three kinds of map after a change of their geometry (of `Polylines`, a `LaneGraph` or an `SDMap`)."""
        maps, sd, lanes = self.vector_map, self.sd_map, self.lane_graph
        return {
            "vector_map": None if maps is None else maps.with_lines(change(maps.lines)),
            "lane_graph": None if lanes is None else change(lanes),
            "sd_map": None if sd is None else change(sd),
        }

    def _refuse_sweeps(self, action: str) -> None:
        if self.sweeps:
            raise ValueError(f"{action} a frame needs its sweeps aggregated first: put AggregateSweeps before it")


def _moved_camera(camera: Camera, transform: SE3) -> Camera:
    if camera.calibration is None:
        return camera
    pose = transform @ camera.calibration.ego_from_camera
    return replace(camera, calibration=replace(camera.calibration, ego_from_camera=pose))


def _mirrored_pose(pose: SE3) -> SE3:
    flip: Tensor = torch.diag(torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    return SE3(flip @ pose.rotation @ flip, flip @ pose.translation)
