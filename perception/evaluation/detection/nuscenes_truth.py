"""The ground truth of a nuScenes split from the tables of a data root, record by record.

What the devkit's ``load_gt`` gives, without opening the other tables and without an object a record: opened by the
devkit, the tables of v1.0-trainval take more than 10 GB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perception.datasets.nuscenes import CLASS_OF_CATEGORY

from ..nuscenes_results import DETECTION_NAMES
from ..nuscenes_root import malformed, read_split_samples, read_table
from .nuscenes_boxes import ATTRIBUTE_NAMES, NO_ATTRIBUTE, NuScenesBoxes, vector_column
from .nuscenes_filters import RACK_COLUMNS, Surroundings

LIDAR = "LIDAR_TOP"
RACK = "static_object.bicycle_rack"
MAX_TIME_DIFF_S = 1.5                                      # between neighbouring annotations that give a velocity
FIELDS = ("sample_token", "instance_token", "attribute_tokens", "translation", "size", "rotation", "prev", "next",
          "num_lidar_pts", "num_radar_pts")


def read_nuscenes_truth(root: Path | str, version: str, split: str) -> tuple[NuScenesBoxes, Surroundings]:
    """Boxes of the ten classes, the vehicle's positions and the racks of those samples of a split that the root holds.

    Args:
        root: nuScenes data root.
        version: folder of the tables, such as "v1.0-trainval".
        split: an official split of that version, or one of the root's splits.json.

    Raises:
        DataError: a table is absent or malformed, or the root does not hold the split.
    """
    where, tokens = Path(root) / version, read_split_samples(root, version, split)
    with malformed(where / "sample.json"):
        times = {sample["token"]: sample["timestamp"] for sample in read_table(where, "sample")}
    with malformed(where / "sample_annotation.json"):
        annotations = _Annotations.read(where, tokens)
        if split == "test" and not annotations.records:
            raise ValueError("the test split of this root has no annotations")
        truth = annotations.boxes(where, tokens, times)
        racks = annotations.of_category(RACK)
    with malformed(where / "sample_data.json"):
        ego_xy = _ego_positions(where, tokens)
    columns = (vector_column([annotations.records[row] for row in racks], *column) for column in RACK_COLUMNS.items())
    return truth, Surroundings(truth.tokens, ego_xy, annotations.sample[racks], *columns)


@dataclass(frozen=True)
class _Annotations:
    """The annotations of a split in the order of the table, and those of other samples that they name as neighbours."""

    records: list[dict[str, Any]] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)     # by token
    samples: list[int] = field(default_factory=list)       # -1: of no sample of the split
    categories: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, where: Path, tokens: Sequence[str]) -> _Annotations:
        number = {token: f for f, token in enumerate(tokens)}
        kept = cls()
        for record in read_table(where, "sample_annotation"):
            if record["sample_token"] in number:
                kept._add(record, number[record["sample_token"]])
        neighbours = {record[side] for record in kept.records for side in ("prev", "next")}
        elsewhere = neighbours - kept.rows.keys() - {""}
        for record in read_table(where, "sample_annotation") if elsewhere else ():
            if record["token"] in elsewhere:
                kept._add(record, -1)
        kept.categories.extend(_categories(where, kept.records))
        return kept

    def _add(self, record: Mapping[str, Any], sample: int) -> None:
        self.rows[record["token"]] = len(self.records)
        self.records.append({name: record[name] for name in FIELDS})
        self.samples.append(sample)

    @property
    def sample(self) -> np.ndarray:
        return np.array(self.samples, np.int64)

    def of_category(self, category: str) -> np.ndarray:
        """(R,) int64, rows of the split."""
        return np.array(
            [row for row, name in enumerate(self.categories) if name == category and self.samples[row] >= 0],
            np.int64,
        )

    def boxes(self, where: Path, tokens: Sequence[str], times: Mapping[str, int]) -> NuScenesBoxes:
        classes = [CLASS_OF_CATEGORY.get(name) for name in self.categories]
        sample = self.sample
        rows = np.array([row for row, name in enumerate(classes) if name and self.samples[row] >= 0], np.int64)
        rows = rows[np.argsort(sample[rows], kind="stable")]
        chosen = [self.records[row] for row in rows]
        counts = np.bincount(sample[rows], minlength=len(tokens))
        points = [record["num_lidar_pts"] + record["num_radar_pts"] for record in chosen]
        if any(type(count) is not int for count in points):
            raise ValueError("num_lidar_pts and num_radar_pts must be whole numbers")
        return NuScenesBoxes(
            tuple(tokens),
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            **{name: vector_column(chosen, name, width) for name, width in RACK_COLUMNS.items()},
            velocity=self._velocities(rows, times),
            label=np.array([DETECTION_NAMES.index(str(classes[row])) for row in rows], np.int8),
            score=np.full(len(rows), -1.0),
            attribute=_attributes(where, chosen),
            num_pts=np.array(points, np.int32),
        )

    def _velocities(self, rows: np.ndarray, times: Mapping[str, int]) -> np.ndarray:
        """(N,) rows -> (N, 2) the way from the annotation before to the one behind by the time [m/s], else NaN."""
        before, behind = (
            np.array([self.rows[token] if (token := self.records[row][side]) else -1 for row in rows], np.int64)
            for side in ("prev", "next")
        )
        first, last = np.where(before < 0, rows, before), np.where(behind < 0, rows, behind)
        position = vector_column(self.records, "translation", 3, may_be_nan=True)[:, :2]
        seconds = 1e-6 * np.array([times[record["sample_token"]] for record in self.records], np.float64)
        elapsed = seconds[last] - seconds[first]
        with np.errstate(invalid="ignore", divide="ignore"):                              # two at the same time
            velocity = (position[last] - position[first]) / elapsed[:, None]
        limit = np.where((before >= 0) & (behind >= 0), 2 * MAX_TIME_DIFF_S, MAX_TIME_DIFF_S)
        velocity[((before < 0) & (behind < 0)) | (elapsed > limit)] = np.nan
        return velocity


def _categories(where: Path, records: Sequence[Mapping[str, Any]]) -> list[str]:
    names = {record["token"]: record["name"] for record in read_table(where, "category")}
    wanted = {record["instance_token"] for record in records}
    of_instance = {
        record["token"]: names[record["category_token"]] for record in read_table(where, "instance")
        if record["token"] in wanted
    }
    return [of_instance[record["instance_token"]] for record in records]


def _attributes(where: Path, records: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """(N,) int8."""
    numbers = {record["token"]: ATTRIBUTE_NAMES.index(record["name"]) for record in read_table(where, "attribute")
               if record["name"] in ATTRIBUTE_NAMES}
    tokens = [record["attribute_tokens"] for record in records]
    most = max(map(len, tokens), default=0)
    if most > 1:
        raise ValueError(f"at most one of attribute_tokens, got {most}")
    return np.array([numbers[token[0]] if token else NO_ATTRIBUTE for token in tokens], np.int8)


def _ego_positions(where: Path, tokens: Sequence[str]) -> np.ndarray:
    """(F, 2) x, y [m, global] at the time of each sample's keyframe of the upper LiDAR."""
    sensors = {record["token"] for record in read_table(where, "sensor") if record["channel"] == LIDAR}
    mounted = {
        record["token"] for record in read_table(where, "calibrated_sensor") if record["sensor_token"] in sensors
    }
    wanted = set(tokens)
    pose_of: dict[str, str] = {}
    for record in read_table(where, "sample_data"):
        if record["is_key_frame"] and record["calibrated_sensor_token"] in mounted and record["sample_token"] in wanted:
            pose_of[record["sample_token"]] = record["ego_pose_token"]
    blind = [token for token in tokens if token not in pose_of]
    if blind:
        raise ValueError(f"{len(blind)} samples without a keyframe of {LIDAR}, e.g. {blind[0]}")
    poses = set(pose_of.values())
    positions = {
        record["token"]: record["translation"][:2]
        for record in read_table(where, "ego_pose") if record["token"] in poses
    }
    return np.array([positions[pose_of[token]] for token in tokens], np.float64).reshape(-1, 2)
