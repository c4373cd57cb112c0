"""Detections of one frame with what places the frame: the form between the files of all data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from perception.atomic_write import write_json
from perception.datasets.index import pose_from_row
from perception.datasets.kitti import KittiCalibration
from perception.errors import DataError
from perception.structures import SE3, Boxes3D, Predictions

from ..json_files import read_json_object


@dataclass(frozen=True, eq=False)
class FrameResults:
    """What was detected in a frame of a drive.

    Args:
        predictions: boxes in the ego frame, best first or not; here they are float64, as are the scores, since files
            hold that many digits.
        scene: name of the drive: a nuScenes scene, an Argoverse 2 log, a Waymo segment.
        calibration: KITTI's camera, whose frame its files use; None where there is none.
    """

    predictions: Predictions
    scene: str
    calibration: KittiCalibration | None = None


@dataclass(frozen=True, eq=False)
class FramePlace:
    """When and where a frame was taken.

    Args:
        token: name of the frame.
        scene: name of its drive.
        timestamp_ns: time.
        global_from_ego: pose of the vehicle; None if unknown.
    """

    token: str
    scene: str
    timestamp_ns: int
    global_from_ego: SE3 | None = None

    def with_boxes(
        self, boxes: Boxes3D, scores: torch.Tensor, labels: torch.Tensor, classes: tuple[str, ...],
        calibration: KittiCalibration | None = None,
    ) -> FrameResults:
        """Detections of this frame; ``boxes`` are in its ego frame."""
        predictions = Predictions(
            self.token, self.timestamp_ns, boxes, scores, labels, classes, self.global_from_ego
        )
        return FrameResults(predictions, self.scene, calibration)

    def moved_to(self, pose: SE3 | None) -> FramePlace:
        """The same with another pose."""
        return FramePlace(self.token, self.scene, self.timestamp_ns, pose)


@dataclass(frozen=True)
class FrameSource:
    """Where to find what a file of results does not tell.

    Args:
        root: of the data set that the results are of: a nuScenes root, an Argoverse 2 split folder, a KITTI root.
        version: of a nuScenes root.
        places: JSON file of frames, see `read_places`; it goes before the root.
    """

    root: Path | None = None
    version: str = "v1.0-trainval"
    places: Path | None = None


def read_places(path: Path) -> dict[str, FramePlace]:
    """Frames by the name that a file of results gives them.

    ``{NAME: {"scene": "drive-1", "timestamp_ns": 100, "global_from_ego": [qw, qx, qy, qz, x, y, z], "token": TOKEN}}``;
    the token is the name unless it is given, the pose may be null, scene and time may be left out.

    Raises:
        DataError: the file is absent or malformed (the frame is named).
    """
    content = read_json_object(path, "frames by name")
    places = {}
    for name, entry in content.items():
        try:
            pose = entry.get("global_from_ego")
            places[name] = FramePlace(
                str(entry.get("token", name)), str(entry.get("scene", "")), int(entry.get("timestamp_ns", 0)),
                None if pose is None else pose_from_row(pose),
            )
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise DataError(path, f"frame {name}", "scene, timestamp_ns and a pose of seven numbers", error) from error
    return places


def write_places(path: Path, places: Mapping[str, FramePlace]) -> Path:
    """Write the file that `read_places` reads, whole or not at all."""
    return write_json(path, {
        name: {
            "token": place.token, "scene": place.scene, "timestamp_ns": place.timestamp_ns,
            "global_from_ego": None if place.global_from_ego is None else _row(place.global_from_ego),
        }
        for name, place in places.items()
    })


def _row(pose: SE3) -> list[float]:
    return [*pose.quaternion().tolist(), *pose.translation.tolist()]
