"""A stream of Foxglove messages gathered into moments: a point cloud, and what belongs to its time."""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..errors import ConfigError, suggestion
from ..structures import SE3, Annotations, Camera, Frame, PointCloud
from .foxglove_messages import calibration_of, points_of, pose_of, raw_image_of, stamp_ns
from .scene_entities import SceneEntities
from .transform_tree import TransformTree

logger = logging.getLogger(__name__)

VEHICLE_FRAMES = ("base_link", "base_footprint", "ego_vehicle", "ego", "vehicle", "base")
GLOBAL_FRAMES = ("map", "world", "global", "city", "earth", "odom")
MAX_PICTURE_GAP_NS = 100_000_000                           # a picture belongs to a cloud if it is at most this far away
KEPT_MESSAGES = 16                                         # of each topic, to find the nearest in time


@dataclass(frozen=True, eq=False)
class CloudMoment:
    """A point cloud message and all that was recorded of its time; poses are resolved, bulk data is not decoded."""

    message: Any
    timestamp_ns: int
    ego_from_lidar: SE3
    global_from_ego: SE3 | None
    wgs84: tuple[float, float, float] | None
    images: dict[str, tuple[int, Any, Any]]                # by camera: time, image message, Calibration or None
    annotations: Annotations | None


class FoxgloveStream:
    """Takes messages in log order; a cloud's moment is complete when the next cloud, or the end, has come.

    Args:
        place: name of the recording, for errors and frame names.
        base_frame: the vehicle's frame; one of `VEHICLE_FRAMES` is looked for if not given.
        ego_height: height of the cloud's own frame above the road [m], used if there is no vehicle frame.
    """

    def __init__(self, place: str, base_frame: str | None = None, ego_height: float = 0.0) -> None:
        self.place, self.base_frame, self.ego_height = place, base_frame, ego_height
        self.tree = TransformTree(place)
        self.entities = SceneEntities(place)
        self._cloud: tuple[Any, int] | None = None
        self._images: dict[str, deque[tuple[int, Any]]] = {}
        self._calibrations: dict[str, Any] = {}
        self._fixes: deque[tuple[int, Any]] = deque(maxlen=KEPT_MESSAGES)
        self._poses: deque[tuple[int, Any]] = deque(maxlen=KEPT_MESSAGES)
        self._ego: tuple[str, SE3] | None = None           # its frame, and ego_from_that_frame
        self._intensity_scale: float | None = None

    def add(self, schema: str, topic: str, log_time: int, message: Any) -> None:
        """Learn a message that is no point cloud. Raises DataError if a transform is broken."""
        kind = schema.removeprefix("foxglove.")
        if kind == "FrameTransforms":
            for transform in message.transforms:
                self._add_transform(topic, log_time, transform)
        elif kind == "FrameTransform":
            self._add_transform(topic, log_time, message)
        elif kind == "SceneUpdate":
            self.entities.add(topic, log_time, message)
        elif kind == "CameraCalibration":
            self._calibrations[message.frame_id] = message
        elif kind == "LocationFix":
            self._fixes.append((stamp_ns(message, log_time), message))
        elif kind == "PoseInFrame":
            self._poses.append((stamp_ns(message, log_time), message))
        else:
            kept = self._images.setdefault(topic, deque(maxlen=KEPT_MESSAGES))
            kept.append((stamp_ns(message, log_time), message))

    def add_cloud(self, message: Any, timestamp_ns: int) -> None:
        """Begin the moment of a point cloud; the one before must have been taken."""
        self._cloud = (message, timestamp_ns)

    def take_moment(self) -> CloudMoment | None:
        """The moment of the last point cloud, if there is one.

        Raises:
            ConfigError: the given vehicle frame is unknown.
            DataError: a calibration or a box is broken.
        """
        if self._cloud is None:
            return None
        (message, time), self._cloud = self._cloud, None
        ego, lift = self._ego = self._ego or self._find_ego(message.frame_id, time)
        pose = self._global_from_ego(ego, lift, time)
        ego_from_lidar = self._ego_from(message.frame_id, time, time, pose) or lift
        return CloudMoment(
            message=message,
            timestamp_ns=time,
            ego_from_lidar=ego_from_lidar,
            global_from_ego=pose,
            wgs84=self._wgs84(time),
            images=self._images_at(time, pose),
            annotations=self.entities.at(time, partial(self._ego_from, at=time, pose=pose)),
        )

    def frame_of(self, moment: CloudMoment) -> Frame:
        """Decode a moment. Raises DataError if its points or a raw picture are broken."""
        points, peak = points_of(moment.message, f"{self.place}:{moment.message.frame_id}")
        cameras = {
            name: self._camera(name, time, message, calibration)
            for name, (time, message, calibration) in moment.images.items()
        }
        return Frame(
            token=str(moment.timestamp_ns),
            timestamp_ns=moment.timestamp_ns,
            scene=self.place,
            global_from_ego=moment.global_from_ego,
            wgs84=moment.wgs84,
            points=self._scaled(points, peak).moved_by(moment.ego_from_lidar),
            cameras=cameras,
            annotations=moment.annotations,
            ego_from_lidar=moment.ego_from_lidar,
        )

    def _add_transform(self, topic: str, log_time: int, message: Any) -> None:
        pose = pose_of(message.translation, message.rotation, f"{self.place}:{topic}")
        self.tree.add(message.parent_frame_id, message.child_frame_id, stamp_ns(message, log_time), pose)

    def _find_ego(self, cloud_frame: str, time: int) -> tuple[str, SE3]:
        known = self.tree.frames | {cloud_frame}
        if self.base_frame is not None:
            if self.base_frame not in known or self.tree.lookup(self.base_frame, cloud_frame, time) is None:
                raise ConfigError(
                    f'{self.place}: the frame "{self.base_frame}" is not connected with "{cloud_frame}"'
                    f'{suggestion(self.base_frame, known)}; known frames: {", ".join(sorted(known))}'
                )
            return self.base_frame, SE3.identity()
        for wanted in VEHICLE_FRAMES:
            for frame in sorted(known):
                if _bare(frame) == wanted and self.tree.lookup(frame, cloud_frame, time) is not None:
                    return frame, SE3.identity()
        logger.warning(
            "%s: no vehicle frame among %s; the ego frame is %r, %g m above the road",
            self.place, ", ".join(sorted(known)), cloud_frame, self.ego_height,
        )
        return cloud_frame, SE3.about_z(0.0, (0.0, 0.0, self.ego_height))

    def _global_from_ego(self, ego: str, lift: SE3, time: int) -> SE3 | None:
        root = self.tree.root_of(ego)
        if root != ego and _bare(root) in GLOBAL_FRAMES:
            global_from_frame = self.tree.lookup(root, ego, time)
            return None if global_from_frame is None else global_from_frame @ lift.inverse()
        nearest = _nearest(self._poses, time)
        if nearest is None:
            return None
        pose = nearest[1].pose
        return pose_of(pose.position, pose.orientation, self.place) @ lift.inverse()

    def _ego_from(self, frame: str, own_time: int, at: int, pose: SE3 | None) -> SE3 | None:
        """Pose of a frame at its own time in the ego frame of another; the vehicle's motion between is part of it."""
        assert self._ego is not None                       # set when the first moment is taken
        ego, lift = self._ego
        root = self.tree.root_of(ego)
        if own_time != at and pose is not None and _bare(root) in GLOBAL_FRAMES:
            global_from_frame = self.tree.lookup(root, frame, own_time)
            return None if global_from_frame is None else pose.inverse() @ global_from_frame
        ego_from_frame = self.tree.lookup(ego, frame, at)
        return None if ego_from_frame is None else lift @ ego_from_frame

    def _images_at(self, time: int, pose: SE3 | None) -> dict[str, tuple[int, Any, Any]]:
        found: dict[str, tuple[int, Any, Any]] = {}
        for topic, messages in self._images.items():
            nearest = _nearest(messages, time)
            if nearest is None or abs(nearest[0] - time) > MAX_PICTURE_GAP_NS:
                continue
            taken, message = nearest
            found.setdefault(message.frame_id or topic, (taken, message, self._calibration(message, taken, time, pose)))
        return found

    def _calibration(self, image: Any, taken: int, time: int, pose: SE3 | None) -> Any:
        message = self._calibrations.get(image.frame_id)
        ego_from_camera = self._ego_from(image.frame_id, taken, time, pose)
        if message is None or ego_from_camera is None or not (message.width and message.height):
            return None
        return calibration_of(message, ego_from_camera, f"{self.place}:calibration of {image.frame_id}")

    def _camera(self, name: str, taken: int, message: Any, calibration: Any) -> Camera:
        if hasattr(message, "encoding"):                   # a raw image
            return Camera(calibration, taken, image=raw_image_of(message, f"{self.place}:{name}"))
        return Camera(calibration, taken, source=bytes(message.data))

    def _wgs84(self, time: int) -> tuple[float, float, float] | None:
        nearest = _nearest(self._fixes, time)
        return None if nearest is None else (nearest[1].latitude, nearest[1].longitude, nearest[1].altitude)

    def _scaled(self, points: PointCloud, peak: float | None) -> PointCloud:
        """With an intensity in [0, 1]; floating ones that go beyond 1 in the first cloud are taken for [0, 255]."""
        if "intensity" not in points.channels:
            return points.with_channel("intensity", 0.0)
        if peak is None:
            return points
        if self._intensity_scale is None:
            self._intensity_scale = 255.0 if peak > 1.0 else 1.0
        return points.with_channel("intensity", (points.channel("intensity") / self._intensity_scale).clamp(0.0, 1.0))


def _bare(frame: str) -> str:
    """The last part of a frame's name, in lower case."""
    return frame.rstrip("/").rsplit("/", 1)[-1].lower()


def _nearest(messages: deque[tuple[int, Any]], time: int) -> tuple[int, Any] | None:
    return min(messages, key=lambda entry: abs(entry[0] - time), default=None)
