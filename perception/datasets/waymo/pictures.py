"""Camera pictures of Waymo's frames, with the vehicle's motion at their time and their panoptic labels."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import DataError
from ...structures import SE3, PixelLabels
from ...structures.segmentation import IGNORE_LABEL
from ..class_partners import WAYMO_LABELS
from .calibrations import pose_of
from .names import CAMERAS, name_of


@dataclass(frozen=True, eq=False)
class PanopticLabels:
    """Classes and instances of the pixels of one picture, still encoded.

    Args:
        png: 16-bit picture of class * divisor + number of the instance within the picture, 0 for none.
        divisor: what the class is multiplied by.
        sequence_id: name of the stretch of the segment in which global numbers of instances hold; "" if none.
        global_ids: number of an instance in the stretch by its number within the picture.
        tracked: numbers within the picture of the instances that are followed over the stretch.
        coverage_png: 8-bit picture of how many cameras see each pixel; empty if there is none.
        place: where it comes from, told by errors.
    """

    png: bytes
    divisor: int
    sequence_id: str
    global_ids: Mapping[int, int]
    tracked: frozenset[int]
    coverage_png: bytes
    place: str

    def codes(self) -> np.ndarray:
        """(H, W) int64 class * divisor + instance. Raises DataError if the picture is damaged."""
        return _decoded(self.png, self.place, "panoptic_label").astype(np.int64)

    def coverage(self) -> np.ndarray | None:
        """(H, W) uint8 cameras that see each pixel, None if unknown. Raises DataError if the picture is damaged."""
        if not self.coverage_png:
            return None
        return _decoded(self.coverage_png, self.place, "num_cameras_covered").astype(np.uint8)

    def pixel_labels(self) -> PixelLabels:
        """Labels in the classes of `perception.datasets.waymo_pictures`, without "undefined", whose pixels are ignored.

        An instance has the number that stands in the picture, class included, so those of two classes never meet.

        Raises:
            DataError: the picture is damaged, or a class is unknown.
        """
        codes = self.codes()
        classes = codes // self.divisor
        if classes.size and classes.max() >= len(WAYMO_LABELS):
            raise DataError(self.place, "panoptic_label", f"classes below {len(WAYMO_LABELS)}", int(classes.max()))
        instances = np.where((codes % self.divisor > 0) & (classes > 0), codes, 0)
        return PixelLabels(
            torch.from_numpy(np.where(classes > 0, classes - 1, IGNORE_LABEL)),
            torch.from_numpy(instances),
            WAYMO_LABELS[1:],
        )


@dataclass(frozen=True, eq=False)
class CameraPicture:
    """One picture and the vehicle at its time.

    Args:
        camera: name of the camera.
        jpeg: the encoded picture.
        global_from_vehicle: pose of the vehicle when the picture's middle was exposed.
        velocity: (6,) float64 of the vehicle then: x, y, z [m/s], about x, y, z [rad/s].
        pose_time_s: time of that pose.
        shutter_s: how long each row or column was exposed.
        trigger_time_s: when the exposure began.
        readout_done_time_s: when the last of the picture had been read out.
        panoptic: labels of the pixels; None if there are none.
    """

    camera: str
    jpeg: bytes
    global_from_vehicle: SE3
    velocity: np.ndarray
    pose_time_s: float
    shutter_s: float
    trigger_time_s: float
    readout_done_time_s: float
    panoptic: PanopticLabels | None

    @property
    def timestamp_ns(self) -> int:
        """Time of the pose [ns]; as precise as its float64 seconds, a quarter of a microsecond."""
        return round(self.pose_time_s * 1e9)


def camera_pictures(frame: Any, place: Path | str) -> dict[str, CameraPicture]:
    """Pictures of a ``Frame`` message by name of the camera, in the order of the message.

    Raises:
        DataError: a camera has two, a pose is malformed or a divisor of labels is below 1.
    """
    pictures: dict[str, CameraPicture] = {}
    for message in frame.images:
        camera = name_of(message.name, CAMERAS)
        if camera in pictures:
            raise DataError(place, f"picture of camera {camera}", "one", "two of that name")
        motion = message.velocity
        pictures[camera] = CameraPicture(
            camera=camera,
            jpeg=message.image,
            global_from_vehicle=pose_of(message.pose, place, f"pose of the picture of camera {camera}"),
            velocity=np.array([motion.v_x, motion.v_y, motion.v_z, motion.w_x, motion.w_y, motion.w_z]),
            pose_time_s=message.pose_timestamp,
            shutter_s=message.shutter,
            trigger_time_s=message.camera_trigger_time,
            readout_done_time_s=message.camera_readout_done_time,
            panoptic=_panoptic(message, f"{place}: camera {camera}"),
        )
    return pictures


def _panoptic(message: Any, place: str) -> PanopticLabels | None:
    label = message.camera_segmentation_label
    if not label.panoptic_label:
        return None
    if label.panoptic_label_divisor < 1:
        raise DataError(place, "panoptic_label_divisor", "a whole number >= 1", label.panoptic_label_divisor)
    instances = label.instance_id_to_global_id_mapping
    return PanopticLabels(
        png=label.panoptic_label,
        divisor=label.panoptic_label_divisor,
        sequence_id=label.sequence_id,
        global_ids={instance.local_instance_id: instance.global_instance_id for instance in instances},
        tracked=frozenset(instance.local_instance_id for instance in instances if instance.is_tracked),
        coverage_png=label.num_cameras_covered,
        place=place,
    )


def _decoded(png: bytes, place: str, field: str) -> np.ndarray:
    """(H, W) numbers of a picture with one channel."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.array(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:     # Pillow's ways to refuse a file
        raise DataError(place, field, "a whole PNG picture", error) from error
    if pixels.ndim != 2:
        raise DataError(place, field, "one channel of numbers", f"a picture of the shape {pixels.shape}")
    return pixels
