"""Boxes of the nuScenes detection benchmark in columns: 110 bytes a box, where the devkit's objects have 1.1 kB."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..nuscenes_results import COLUMNS, DETECTION_NAMES, MOVING_SPEED, attribute_name, speeds

logger = logging.getLogger(__name__)

ATTRIBUTE_NAMES = (
    "pedestrian.moving", "pedestrian.sitting_lying_down", "pedestrian.standing", "cycle.with_rider",
    "cycle.without_rider", "vehicle.moving", "vehicle.parked", "vehicle.stopped",
)
NO_ATTRIBUTE = -1
VECTORS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}
MAY_BE_NAN = ("velocity",)                                 # unknown where an object is annotated only once
_LABELS = {name: label for label, name in enumerate(DETECTION_NAMES)}
_ATTRIBUTES = {"": NO_ATTRIBUTE, **{name: number for number, name in enumerate(ATTRIBUTE_NAMES)}}
_SCALARS = {"label": np.int8, "score": np.float64, "attribute": np.int8, "num_pts": np.int32}
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class NuScenesBoxes:
    """N boxes of F samples, sample by sample: ground truth or predictions.

    Args:
        tokens: (F,) the samples.
        offsets: (F + 1,) int64; those of sample f are rows offsets[f] to offsets[f + 1].
        translation: (N, 3) float64 centre x y z [m, global].
        size: (N, 3) float64 width, length, height [m].
        rotation: (N, 4) float64 quaternion w x y z, global from box.
        velocity: (N, 2) float64 [m/s, global]; NaN where it is unknown.
        label: (N,) int8, index into `DETECTION_NAMES`.
        score: (N,) float64; -1 in ground truth.
        attribute: (N,) int8, index into `ATTRIBUTE_NAMES`, or -1.
        num_pts: (N,) int32 LiDAR and radar points in a true box; -1 in predictions.
        owner: (N,) int32, the sample that a row names as its own where that may be another than the one that lists it,
            and -1 if it is none of ``tokens``: the devkit filters by the latter and matches by the former.

    Raises:
        ValueError: shapes or dtypes differ, tokens repeat, NaN where there must be a number, or an unknown class.
    """

    tokens: tuple[str, ...]
    offsets: np.ndarray
    translation: np.ndarray
    size: np.ndarray
    rotation: np.ndarray
    velocity: np.ndarray
    label: np.ndarray
    score: np.ndarray
    attribute: np.ndarray
    num_pts: np.ndarray
    owner: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len(set(self.tokens)) != len(self.tokens):
            raise ValueError(f"tokens must differ, got {len(self.tokens)} of which {len(set(self.tokens))} differ")
        offsets = self.offsets
        if offsets.shape != (len(self.tokens) + 1,) or offsets[0] != 0 or (np.diff(offsets) < 0).any():
            raise ValueError(f"offsets must rise from 0 over {len(self.tokens)} samples, got {offsets}")
        for name, width in VECTORS.items():
            self._check(name, (len(self), width), np.float64)
        for name, dtype in _SCALARS.items():
            self._check(name, (len(self),), dtype)
        for name in (*VECTORS, "score"):
            unknown = np.isnan(getattr(self, name))
            if name not in MAY_BE_NAN and unknown.any():
                raise ValueError(f"{name} must not be NaN, row {np.flatnonzero(unknown)[0] // (unknown[0].size)} is")
        for name, known in (("label", len(DETECTION_NAMES)), ("attribute", len(ATTRIBUTE_NAMES))):
            least, column = 0 if name == "label" else NO_ATTRIBUTE, getattr(self, name)
            if len(self) and not least <= column.min() <= column.max() < known:
                raise ValueError(f"{name} must lie in [{least}, {known}), got {column.min()} to {column.max()}")
        if self.owner is not None:
            self._check("owner", (len(self),), np.int32)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @cached_property
    def sample(self) -> np.ndarray:
        """(N,) int32: the sample that lists each row."""
        return np.repeat(np.arange(len(self.tokens), dtype=np.int32), np.diff(self.offsets))

    @classmethod
    def from_rows(cls, rows: Mapping[str, Rows]) -> NuScenesBoxes:
        """Of rows of the results format by sample token. Raises ValueError that tells the row and what is wrong."""
        table = BoxTable()
        for token, of_sample in rows.items():
            table.add(token, of_sample)
        return table.boxes()

    @classmethod
    def from_columns(
        cls, columns: Mapping[str, Mapping[str, np.ndarray]], tokens: Sequence[str]
    ) -> NuScenesBoxes:
        """Of predictions by sample token, given as `nuscenes_results.COLUMNS`: what their results file would give.

        Args:
            columns: as `nuscenes_columns` makes them; `StoredFrames` of them will do.
            tokens: the samples in their order; one without predictions is empty.
        """
        parts = [columns.get(token, {}) for token in tokens]
        counts = [len(part["score"]) if part else 0 for part in parts]
        parts = [part for part in parts if part]
        gathered = {                                       # one after another, so that little is there twice
            name: np.concatenate([np.empty((0, *column.shape), column.dtype), *(part[name] for part in parts)])
            for name, column in COLUMNS.items()
        }
        return cls(
            tuple(tokens), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), **gathered,
            attribute=_usual_attributes(gathered), num_pts=np.full(len(gathered["score"]), -1, np.int32),
        )

    def _check(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        column = getattr(self, name)
        if column.shape != shape or column.dtype != dtype:
            raise ValueError(f"{name} must be {np.dtype(dtype)} {shape}, got {column.dtype} {column.shape}")


class BoxTable:
    """Takes the rows of one sample after another, and holds them in columns.

    Args:
        most: rows that a sample may have; any number if not given.
    """

    def __init__(self, most: int | None = None) -> None:
        self.most = most
        self._parts: dict[str, dict[str, np.ndarray]] = {}
        self._strangers: dict[str, list[str]] = {}         # the samples that rows name, where one names another

    def add(self, token: str, rows: Rows) -> None:
        """Take the rows of a sample; those of a sample that came before are replaced, as ``json.load`` does.

        Raises:
            ValueError: too many rows, or one that the devkit would not take.
        """
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise ValueError(f"sample {token!r} must have a list of boxes, got {rows!r:.80}")
        if self.most is not None and len(rows) > self.most:
            raise ValueError(f"sample {token!r} must have at most {self.most} boxes, got {len(rows)}")
        if token in self._parts:
            logger.warning("sample %s comes more than once: its last boxes count, as in the devkit", token)
        try:
            columns, names = _columns(rows), _owners(rows)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise _first_refused(token, rows, error) from error
        self._parts[token] = columns
        self._strangers.pop(token, None)
        if names.count(token) != len(names):
            self._strangers[token] = names

    def boxes(self) -> NuScenesBoxes:
        """All that was taken; the table is empty afterwards."""
        counts = [len(part["score"]) for part in self._parts.values()]
        tokens, offsets = tuple(self._parts), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        owner = self._owner(tokens, offsets)
        columns = {}
        for name, empty in _columns([]).items():           # one after another, so that little is there twice
            columns[name] = np.concatenate([empty, *(part.pop(name) for part in self._parts.values())])
        self._parts, self._strangers = {}, {}
        return NuScenesBoxes(tokens, offsets, **columns, owner=owner)

    def _owner(self, tokens: Sequence[str], offsets: np.ndarray) -> np.ndarray | None:
        if not self._strangers:
            return None
        number = {token: f for f, token in enumerate(tokens)}
        owner = np.repeat(np.arange(len(tokens), dtype=np.int32), np.diff(offsets))
        for token, names in self._strangers.items():
            f = number[token]
            owner[offsets[f] : offsets[f + 1]] = [number.get(name, -1) for name in names]
        logger.warning("boxes of %d samples name another as theirs, and are matched there", len(self._strangers))
        return owner


def with_known_velocity(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ground truth whose velocity may be null or absent, with NaN for what is unknown."""
    velocity = row.get("velocity") or (None, None)
    return {**row, "velocity": [np.nan if value is None else value for value in velocity]}


def _usual_attributes(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) int8: the attribute that a box's class has at its speed."""
    usual = np.array(                                      # at rest, moving
        [[_ATTRIBUTES[attribute_name(name, speed)] for speed in (0.0, np.inf)] for name in DETECTION_NAMES], np.int8
    )
    return usual[columns["label"], (speeds(columns) > MOVING_SPEED).astype(np.int8)]


def _columns(rows: Rows) -> dict[str, np.ndarray]:
    vectors = {name: vector_column(rows, name, width, name in MAY_BE_NAN) for name, width in VECTORS.items()}
    if any("ego_translation" in row for row in rows):      # not used, but the devkit looks at it
        vector_column([row for row in rows if "ego_translation" in row], "ego_translation", 3)
    score = np.array([float(row.get("detection_score", -1.0)) for row in rows], np.float64)
    if np.isnan(score).any():
        raise ValueError("detection_score must not be NaN")
    return {
        **vectors,
        "label": _codes(rows, "detection_name", _LABELS),
        "score": score,
        "attribute": _codes(rows, "attribute_name", _ATTRIBUTES),
        "num_pts": np.array([int(row.get("num_pts", -1)) for row in rows], np.int32),
    }


def vector_column(rows: Rows, name: str, width: int, may_be_nan: bool = False) -> np.ndarray:
    """(N, width) float64 of a field that holds vectors. Raises ValueError unless all are numbers, and KeyError."""
    values = [row[name] for row in rows]
    if not values:
        return np.empty((0, width))
    try:
        table = np.array(values)
    except ValueError:                                     # of several lengths
        table = np.empty(0)
    if table.shape != (len(values), width) or table.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be {width} numbers, got {values[0]!r:.80}")
    if not may_be_nan and np.isnan(table).any():
        raise ValueError(f"{name} must not hold NaN, got {values[0]!r:.80}")
    return table.astype(np.float64, copy=False)


def _codes(rows: Rows, name: str, codes: Mapping[str, int]) -> np.ndarray:
    """(N,) int8."""
    values = [row[name] for row in rows]
    try:
        return np.array([codes[value] for value in values], np.int8)
    except (KeyError, TypeError) as error:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, codes))}, got {values[0]!r:.80}") from error


def _owners(rows: Rows) -> list[str]:
    names = [row["sample_token"] for row in rows]
    if any(type(name) is not str for name in names):
        raise ValueError(f"sample_token must be a text, got {names[0]!r:.80}")
    return names


def _first_refused(token: str, rows: Rows, error: Exception) -> ValueError:
    """The same error for one row alone, which so knows what it is about."""
    for position, row in enumerate(rows):
        try:
            _columns([row])
            _owners([row])
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as reason:
            what = f"it lacks {reason}" if isinstance(reason, KeyError) else reason
            where = f"box {position} of sample {token!r}"
            return ValueError(f"{where} is not a row of the nuScenes results format: {what}")
    return ValueError(f"the boxes of sample {token!r} are not rows of the nuScenes results format: {error}")
