"""One drive of a nuScenes root (or of the synthetic city): every sweep of the 20 Hz LiDAR, or the 2 Hz keyframes."""

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ...datasets.index import FrameRecord, SweepRecord, pose_from_row
from ...datasets.nuscenes import NuScenesDataset
from ...datasets.nuscenes_index import CAMERAS, SPLITS_OF_VERSION, build_nuscenes_index
from ...datasets.nuscenes_pictures import label_path, picture_labels
from ...datasets.nuscenes_point_labels import KINDS
from ...errors import ConfigError, DataError, suggestion
from ...structures import Frame
from ..source import FrameSource, PendingFrame

logger = logging.getLogger(__name__)

MAX_SWEEPS_BETWEEN_KEYFRAMES = 20                          # at 20 Hz there are nine
KEYFRAME_SWEEPS = 10                                       # earlier sweeps offered with a keyframe


class NuScenesScene(FrameSource):
    """One scene. Keyframes have annotations, pictures and official names, the sweeps between them points and a pose.

    Args:
        path: "ROOT:SCENE", or ROOT if it holds a single scene or ``scene`` is given.
        scene: name of the scene, such as "scene-0061".
        keyframes: play the keyframes alone; their sweeps come from the tables.
        map_region: x0, y0, x1, y1 [m] of `Frame.vector_map`, which is None without it.
        labels: read what is labelled in keyframes: points (panoptic, else lidarseg) and, as the synthetic city has it,
            pixels (``image_panoptic/``).

    Raises:
        DataError: the tables are broken, or labels are asked for and there are none.
        ConfigError: the root has no such scene, or several and none is named.
    """

    NAME = "nuscenes"
    LAYOUT = "a nuScenes scene as ROOT:scene-0061"
    OPTIONS = frozenset({"scene", "keyframes", "map_region", "labels"})

    def __init__(
        self,
        path: str,
        scene: str | None = None,
        keyframes: bool = False,
        map_region: Sequence[float] | None = None,
        labels: bool = False,
    ) -> None:
        root, named = _split_path(path)
        self.scene, version = _find_scene(root, scene or named)
        self.brings_sweeps = keyframes
        num_sweeps = KEYFRAME_SWEEPS if keyframes else 0
        self.dataset = _open_scene(root, version, self.scene, num_sweeps, map_region, labels)
        self.labels = labels
        self._frames = self._keyframes() if keyframes else self._all_sweeps()

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A root with tables, or one of its scenes."""
        return bool(_versions(_split_path(path)[0]))

    def __len__(self) -> int:
        return len(self._frames)

    def pending(self) -> Iterator[PendingFrame]:
        """The sweeps of the scene, or its keyframes, oldest first."""
        return iter(self._frames)

    def _keyframes(self) -> list[PendingFrame]:
        return [self._keyframe(index, self.dataset.record(index)) for index in range(len(self.dataset))]

    def _keyframe(self, index: int, record: FrameRecord) -> PendingFrame:
        lidar = record.lidar
        pose, cameras = pose_from_row(lidar.global_from_ego), self.dataset.cameras_of(record)
        return PendingFrame(lidar.timestamp_ns, partial(self._load_keyframe, index), pose, cameras)

    def _load_keyframe(self, index: int) -> Frame:
        frame = self.dataset.load(index)
        return _with_pixel_labels(frame, self.dataset.root) if self.labels else frame

    def _all_sweeps(self) -> list[PendingFrame]:
        frames: list[PendingFrame] = []
        absent = 0
        for index in range(len(self.dataset)):
            record = self.dataset.record(index)
            last = frames[-1].timestamp_ns if frames else -1
            between = [sweep for sweep in reversed(record.sweeps) if sweep.timestamp_ns > last]
            present = [sweep for sweep in between if (self.dataset.root / sweep.path).is_file()]
            absent += len(between) - len(present)
            frames += [*(self._between(sweep, record) for sweep in present), self._keyframe(index, record)]
        if absent:
            logger.warning("%s: %d sweeps between keyframes have no file and are left out", self.scene, absent)
        return frames

    def _between(self, sweep: SweepRecord, keyframe: FrameRecord) -> PendingFrame:
        pose = pose_from_row(sweep.global_from_ego)

        def load() -> Frame:
            ego_from_lidar = None if sweep.ego_from_lidar is None else pose_from_row(sweep.ego_from_lidar)
            points = self.dataset.read_sweep(self.dataset.root / sweep.path, ego_from_lidar)
            return Frame(
                token=Path(sweep.path).name.split(".")[0],
                timestamp_ns=sweep.timestamp_ns,
                scene=self.scene,
                global_from_ego=pose,
                points=points,
                ego_from_lidar=ego_from_lidar,
                vector_map=self.dataset.local_map(keyframe, pose),
            )

        return PendingFrame(sweep.timestamp_ns, load, pose, cameras=())


def _split_path(path: str) -> tuple[Path, str | None]:
    """ROOT and SCENE of "ROOT:SCENE"."""
    root, colon, scene = path.rpartition(":")
    return (Path(root), scene) if colon and not Path(path).exists() else (Path(path), None)


def _versions(root: Path) -> list[str]:
    return [version for version in SPLITS_OF_VERSION if (root / version / "scene.json").is_file()]


def _find_scene(root: Path, wanted: str | None) -> tuple[str, str]:
    """The name of the scene and the version whose tables hold it."""
    versions = _versions(root)
    if not versions:
        raise DataError(root, "tables", "a folder such as v1.0-mini with scene.json", "none")
    found = {name: version for version in versions for name in _scene_names(root / version / "scene.json")}
    if wanted is None and len(found) == 1:
        wanted = next(iter(found))
    if wanted not in found:
        listed = ", ".join(sorted(found)[:5]) + (", ..." if len(found) > 5 else "")
        problem = f'has no scene "{wanted}"{suggestion(wanted, found)}' if wanted else "needs a scene, as in ROOT:SCENE"
        raise ConfigError(f"{root} {problem}; it has {listed}")
    return wanted, found[wanted]


def _scene_names(table: Path) -> list[str]:
    try:
        return [str(entry["name"]) for entry in json.loads(table.read_text(encoding="utf-8"))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(table, "name", "a table of scenes", repr(error)) from error


def _open_scene(
    root: Path, version: str, scene: str, num_sweeps: int, map_region: Sequence[float] | None, labels: bool
) -> NuScenesDataset:
    """The data set of one scene, over an index that is made for the occasion."""
    with tempfile.TemporaryDirectory() as folder:
        index = build_nuscenes_index(
            root, version, "all", Path(folder) / "scene.parquet", max_sweeps=MAX_SWEEPS_BETWEEN_KEYFRAMES,
            progress=lambda scenes: [entry for entry in scenes if entry["name"] == scene],
        )
        open_index = partial(
            NuScenesDataset, root, version=version, split="all", index=index, num_sweeps=num_sweeps,
            map=None if map_region is None else {"region": map_region},
        )
        first = open_index().record(0)
        present = {camera.name: (root / camera.path).is_file() for camera in first.cameras}
        names = [name for name in CAMERAS if present.get(name)]
        if names and len(names) < len(present):
            absent = ", ".join(name for name, is_there in present.items() if not is_there)
            logger.warning("%s: the pictures of %s have no file and are left out", scene, absent)
        return open_index(cameras=names, point_labels=_kind_of_labels(root, first) if labels else None)


def _kind_of_labels(root: Path, record: FrameRecord) -> str | None:
    """The best labels of points that there are; None if pixels alone are labelled. Raises DataError without any."""
    kinds = [kind for kind in reversed(KINDS) if getattr(record, kind) is not None]
    if not kinds and not any((root / label_path(camera.path)).is_file() for camera in record.cameras):
        raise DataError(root, "labels", "lidarseg, panoptic or image_panoptic", "none of them")
    return kinds[0] if kinds else None


def _with_pixel_labels(frame: Frame, root: Path) -> Frame:
    """With the labels of those pictures that have some."""
    cameras = dict(frame.cameras)
    for name, camera in cameras.items():
        assert isinstance(camera.source, Path)             # a data set of files
        path = root / label_path(camera.source.relative_to(root).as_posix())
        if path.is_file():
            cameras[name] = replace(camera, labels=picture_labels(path))
    return replace(frame, cameras=cameras)
