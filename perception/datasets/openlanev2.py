"""OpenLane-V2, subset A: Argoverse 2 drives at 2 Hz with lane segments, areas, their topology and SD maps.

Wang et al., "OpenLane-V2: A topology reasoning benchmark for unified 3D HD mapping", NeurIPS 2023. The annotations are
those of the map element bucket (``-ls.json``). Poses are city-from-vehicle, in centimetre-true city frames.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import SE3, Calibration, Camera, Frame
from .argoverse2_log import CAMERAS as ARGOVERSE2_CAMERAS
from .base import FrameDataset, Transform
from .maps.sd_lines import read_json
from .maps.segment_sd_maps import SegmentSDMaps
from .openlanev2_lanes import lane_graph_of

logger = logging.getLogger(__name__)

CAMERAS = tuple(name for name in ARGOVERSE2_CAMERAS if name.startswith("ring_"))      # seven, front first


@DATASETS.register_module()
class OpenLaneV2Dataset(FrameDataset):
    """Frames of one split, named SEGMENT/TIMESTAMP, with `Frame.lane_graph` where it is annotated; there are no points.

    Args:
        root: folder ``OpenLane-V2``, which holds ``data_dict_subset_A.json``, ``train/``, ``val/`` and ``test/``.
        split: a split of the data dictionary.
        data_dict: file of the frames by split and segment; subset A's, whose timestamps are nanoseconds.
        only_scenes: segments to keep; all of the split by default.
        cameras: some of `CAMERAS`; one that a frame lacks is left out. Lens distortion is not applied, as in the
            official baselines.
        points: on every line of a lane.
        sd_map: arguments of `SegmentSDMaps` beside the split, its ``root`` being that of the data set unless it is
            given; None leaves `Frame.sd_map` None. Frames of segments without a usable map have none either.
        transforms, seed: see `FrameDataset`.

    Raises:
        DataError: a file is absent or malformed.
        ConfigError: a split, segment or camera is unknown (the nearest one is suggested).
        ValueError: ``points`` is below 2, or the region of the SD maps is empty.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        data_dict: str = "data_dict_subset_A.json",
        only_scenes: Sequence[str] | None = None,
        cameras: Sequence[str] = (),
        points: int = 10,
        sd_map: Mapping[str, Any] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, transforms=transforms, seed=seed)
        for name in cameras:
            _check_known("camera", name, CAMERAS)
        if points < 2:
            raise ValueError(f"points must be >= 2, got {points}")
        self.split, self.cameras, self.points = split, tuple(cameras), points
        self.frames = _frames(self.root / data_dict, split, only_scenes)
        self.sd_maps = None if sd_map is None else SegmentSDMaps(**{"root": self.root, "split": split, **sd_map})
        logger.info("%d frames of %s in %s", len(self.frames), split, self.root)

    @property
    def frame_tokens(self) -> Sequence[str]:
        """SEGMENT/TIMESTAMP of the frames, segments in the order of their names."""
        return [f"{segment}/{timestamp}" for segment, timestamp in self.frames]

    @property
    def scenes(self) -> Sequence[str]:
        """The segment of every frame."""
        return [segment for segment, _ in self.frames]

    def __len__(self) -> int:
        return len(self.frames)

    def load(self, index: int) -> Frame:
        """Read one frame: calibration, pose and annotation; pictures are files to read later."""
        segment, timestamp = self.frames[index]
        path = self.root / self.split / segment / "info" / f"{timestamp}-ls.json"
        content = read_json(path)
        global_from_ego = _pose(_field(content, "pose", path), path, "pose")
        annotation = content.get("annotation")
        try:
            lanes = None if annotation is None else lane_graph_of(annotation, self.points)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(path, "annotation", "lane segments, areas and their topology", repr(error)) from error
        return Frame(
            token=f"{segment}/{timestamp}",
            timestamp_ns=int(timestamp),
            scene=segment,
            global_from_ego=global_from_ego,
            cameras=self._cameras(_field(content, "sensor", path), path, int(timestamp)),
            lane_graph=lanes,
            sd_map=None if self.sd_maps is None else self.sd_maps.local(segment, global_from_ego),
        )

    def _cameras(self, sensors: Mapping[str, Any], path: Path, timestamp_ns: int) -> dict[str, Camera]:
        return {
            name: _camera(self.root, sensors[name], path, name, timestamp_ns)
            for name in self.cameras if sensors.get(name) is not None
        }


def _check_known(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        listed = ", ".join(known[:7]) + (", ..." if len(known) > 7 else "")        # a split has 700 segments
        raise ConfigError(f'unknown {kind} "{name}"{suggestion(name, known)}; known: {listed}')


def _frames(path: Path, split: str, segments: Sequence[str] | None) -> list[tuple[str, str]]:
    """Segment and timestamp of every frame of a split, by segment and time."""
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
        raise DataError(path, "file", "segments by split", type(content).__name__)
    _check_known("split", split, sorted(content))
    for name in segments or ():
        _check_known("segment", name, sorted(content[split]))
    frames = []
    for segment in sorted(set(content[split] if segments is None else segments)):
        names = [str(name).removesuffix(".json") for name in content[split][segment]]
        for name in names:
            if not name.isdigit():
                raise DataError(path, f"{split}/{segment}", "names TIMESTAMP.json", name)
        frames += [(segment, name) for name in sorted(names, key=int)]
    return frames


def _field(content: Any, name: str, path: Path) -> Mapping[str, Any]:
    value = content.get(name) if isinstance(content, dict) else None
    if not isinstance(value, dict):
        raise DataError(path, name, "an object", type(value).__name__)
    return value


def _pose(entry: Mapping[str, Any], path: Path, field: str) -> SE3:
    try:
        rotation, translation = (torch.tensor(entry[name], dtype=torch.float64) for name in ("rotation", "translation"))
        return SE3(rotation, translation)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(path, field, "a rotation (3, 3) and a translation (3,)", repr(error)) from error


def _camera(root: Path, entry: Mapping[str, Any], path: Path, name: str, timestamp_ns: int) -> Camera:
    """A camera whose size is read from the head of its picture, since the files don't tell it."""
    ego_from_camera = _pose(_field(entry, "extrinsic", path), path, f"{name}.extrinsic")
    try:
        picture = root / entry["image_path"]
        with Image.open(picture) as image:
            width, height = image.size
        intrinsics = torch.tensor(entry["intrinsic"]["K"], dtype=torch.float64)
        return Camera(Calibration(intrinsics, ego_from_camera, width, height), timestamp_ns, source=picture)
    except OSError as error:
        raise DataError(picture, f"picture of {name}", "a readable picture", error) from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(path, name, "image_path and intrinsic.K (3, 3)", repr(error)) from error
