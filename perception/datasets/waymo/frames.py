"""Frames of Waymo's perception segments: a ``Frame`` message in plain typed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...structures import SE3, Camera
from .calibrations import CameraCalibration, LaserCalibration, camera_calibrations, laser_calibrations, pose_of
from .hd_map import HdMap, hd_map_of
from .labels import LaserLabels, NoLabelZone, PictureLabels, laser_labels, no_label_zones, picture_labels
from .matrices import float_matrix, int_matrix
from .names import LASERS, OBJECT_TYPES, name_of
from .pictures import CameraPicture, camera_pictures
from .range_images import LaserReturns, RangeImage, laser_returns
from .records import read_records
from .schema import Frame, parse_message

RETURNS = (1, 2)


@dataclass(frozen=True)
class SegmentStatistics:
    """What is told of a segment as a whole.

    Args:
        time_of_day: "Day", "Dawn/Dusk" or "Night".
        location: such as "location_sf".
        weather: such as "sunny".
        laser_objects: labelled objects in space by type, one of `names.OBJECT_TYPES`.
        camera_objects: objects labelled in pictures likewise.
    """

    time_of_day: str
    location: str
    weather: str
    laser_objects: Mapping[str, int]
    camera_objects: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class WaymoFrame:
    """One frame of a segment, but for its range images, which `returns` decodes.

    Args:
        segment: name of the segment.
        timestamp_micros: start of the sweep.
        global_from_vehicle: pose of the vehicle about the middle of the sweep; labels and points are in this frame.
        statistics: of the segment.
        cameras: calibrations by name of the camera.
        lasers: calibrations by name of the laser.
        pictures: by name of the camera.
        labels: objects in space.
        camera_labels: boxes drawn in pictures, by name of the camera.
        projected_labels: boxes around the pictures of objects in space, by name of the camera.
        no_label_zones: in the global frame.
        hd_map: of the segment, in the global frame; None if the frame has none, as all but the first one of a segment.
        place: where the frame comes from, told by errors.
        message: the ``Frame`` message; without range images if `range_images` is overridden.
    """

    segment: str
    timestamp_micros: int
    global_from_vehicle: SE3
    statistics: SegmentStatistics
    cameras: Mapping[str, CameraCalibration]
    lasers: Mapping[str, LaserCalibration]
    pictures: Mapping[str, CameraPicture]
    labels: LaserLabels
    camera_labels: Mapping[str, PictureLabels]
    projected_labels: Mapping[str, PictureLabels]
    no_label_zones: tuple[NoLabelZone, ...]
    hd_map: HdMap | None
    place: str
    message: Any

    @property
    def timestamp_ns(self) -> int:
        """Start of the sweep [ns]."""
        return self.timestamp_micros * 1000

    def returns(
        self, numbers: Sequence[int] = RETURNS, *, projections: bool = False, labels: bool = False
    ) -> list[LaserReturns]:
        """The points of all lasers, by number of the return and then in the order of `names.LASERS`.

        Args:
            numbers: which of the returns 1 and 2.
            projections: whether points are told where cameras see them.
            labels: whether points are told their class and instance.

        Raises:
            ValueError: a number is neither 1 nor 2.
            DataError: a range image is damaged, does not fit the calibration of its laser, or that is absent.
        """
        pose = self.global_from_vehicle.matrix().numpy()
        images = list(self.range_images(numbers, projections=projections, labels=labels))
        order = {name: position for position, name in enumerate(LASERS)}
        images.sort(key=lambda image: (image.return_number, order.get(image.laser, len(order)), image.laser))
        return [self._points_of(image, pose) for image in images]

    def range_images(
        self, numbers: Sequence[int] = RETURNS, *, projections: bool = False, labels: bool = False
    ) -> Iterator[RangeImage]:
        """The range images of all lasers; arguments and errors as of the function of this name."""
        return range_images(self.message.lasers, numbers, self.place, projections=projections, labels=labels)

    def camera(self, name: str) -> Camera:
        """One picture with its camera, as all data sets give them: the distortion is left out.

        Raises:
            DataError: the frame has no such picture or no calibration of that camera, or that is no camera's.
        """
        if name not in self.pictures or name not in self.cameras:
            missing = "picture" if name not in self.pictures else "calibration"
            raise DataError(self.place, f"camera {name}", f"a {missing}", "none")
        picture = self.pictures[name]
        moved = self.global_from_vehicle.inverse() @ picture.global_from_vehicle
        try:
            calibration = self.cameras[name].pinhole(moved)
        except ValueError as error:
            raise DataError(self.place, f"camera {name}", "a calibration", error) from error
        labels = None if picture.panoptic is None else picture.panoptic.pixel_labels()
        return Camera(calibration, picture.timestamp_ns, source=picture.jpeg, labels=labels)

    def _points_of(self, image: RangeImage, pose: np.ndarray) -> LaserReturns:
        calibration = self.lasers.get(image.laser)
        if calibration is None:
            raise DataError(self.place, f"laser {image.laser}", "a calibration", "none")
        try:
            return laser_returns(image, calibration, pose)
        except ValueError as error:
            raise DataError(self.place, f"laser {image.laser}", "a range image that fits its laser", error) from error


def read_frames(path: Path | str, *, skip_corrupt: bool = False) -> Iterator[WaymoFrame]:
    """The frames of a TFRecord file in their order.

    Args:
        path: the file.
        skip_corrupt: pass over records that do not fit their checksum; see `records.RecordReader`.

    Raises:
        DataError: a record is truncated, corrupt or no frame (names file, number and offset).
    """
    reader = read_records(path, skip_corrupt=skip_corrupt)
    for payload in reader:
        yield frame_of(payload, f"{path}: {reader.place}")


def frame_of(payload: bytes, place: Path | str) -> WaymoFrame:
    """A frame out of what a record holds.

    Args:
        payload: the serialized ``Frame`` message.
        place: told by errors, such as "FILE: record 3 at byte 99".

    Raises:
        DataError: the bytes are no frame, or a pose, a calibration or a map feature is malformed.
    """
    return frame_of_message(parse_message(Frame, payload, place), place)


def frame_of_message(message: Any, place: Path | str) -> WaymoFrame:
    """A frame out of its message; errors as of `frame_of`."""
    place = str(place)
    if not message.context.name:
        raise DataError(place, "context.name", "name of a segment", "none")
    return WaymoFrame(
        segment=message.context.name,
        timestamp_micros=message.timestamp_micros,
        global_from_vehicle=pose_of(message.pose, place, "pose"),
        statistics=_statistics(message.context.stats),
        cameras=camera_calibrations(message.context, place),
        lasers=laser_calibrations(message.context, place),
        pictures=camera_pictures(message, place),
        labels=laser_labels(message.laser_labels),
        camera_labels=picture_labels(message.camera_labels, place, "camera_labels"),
        projected_labels=picture_labels(message.projected_lidar_labels, place, "projected_lidar_labels"),
        no_label_zones=no_label_zones(message.no_label_zones, place),
        hd_map=hd_map_of(message.map_features, place, message.map_pose_offset) if message.map_features else None,
        place=place,
        message=message,
    )


def range_images(
    lasers: Sequence[Any], numbers: Sequence[int], place: str, *, projections: bool = False, labels: bool = False
) -> Iterator[RangeImage]:
    """The range images of ``Laser`` messages; of a return that has none, nothing.

    Args:
        lasers: the messages.
        numbers: which of the returns 1 and 2.
        place: told by errors.
        projections: whether to read where cameras see the pixels.
        labels: whether to read classes and instances.

    Raises:
        ValueError: a number is neither 1 nor 2.
        DataError: a laser has two of a return, or a matrix is damaged or does not fit the others.
    """
    wanted, known = checked_returns(numbers), set[str]()
    for message in lasers:
        laser = name_of(message.name, LASERS)
        poses = message.ri_return1.range_image_pose_compressed
        pixel_poses = float_matrix(poses, place, f"laser {laser}, pixel poses") if poses else None
        for number in wanted:
            stored = message.ri_return1 if number == 1 else message.ri_return2
            values = stored.range_image_compressed or _plain(stored)
            if not values:
                continue
            field = f"laser {laser}, return {number}"
            if field in known:
                raise DataError(place, field, "one", "two of that name")
            known.add(field)
            seen = stored.camera_projection_compressed if projections else b""
            classes = stored.segmentation_label_compressed if labels else b""
            try:
                yield RangeImage(
                    laser=laser,
                    return_number=number,
                    values=float_matrix(values, place, f"{field}, range image"),
                    pixel_poses=pixel_poses,
                    projections=int_matrix(seen, place, f"{field}, camera projections") if seen else None,
                    labels=int_matrix(classes, place, f"{field}, labels") if classes else None,
                )
            except ValueError as error:
                raise DataError(place, field, "matrices that fit each other", error) from error


def checked_returns(numbers: Sequence[int]) -> list[int]:
    """Numbers of returns in order, each once. Raises ValueError if one is neither 1 nor 2."""
    if not set(numbers) <= set(RETURNS):
        raise ValueError(f"numbers of returns are 1 and 2, got {tuple(numbers)}")
    return sorted(set(numbers))


def _plain(stored: Any) -> bytes:
    """The range image of old files, which is a message within the message."""
    return stored.range_image.SerializeToString() if stored.HasField("range_image") else b""


def _statistics(stats: Any) -> SegmentStatistics:
    return SegmentStatistics(
        time_of_day=stats.time_of_day,
        location=stats.location,
        weather=stats.weather,
        laser_objects={name_of(entry.type, OBJECT_TYPES): entry.count for entry in stats.laser_object_counts},
        camera_objects={name_of(entry.type, OBJECT_TYPES): entry.count for entry in stats.camera_object_counts},
    )
