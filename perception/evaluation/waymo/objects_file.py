"""The official ``Objects`` files of Waymo's detection metrics, read and written piece by piece.

A serialized ``Objects`` message is one record an object, so any run of whole records is such a message too: files of
any size can be read and written in pieces, without protobuf's limit of 2 GiB.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from perception.atomic_write import atomic_path
from perception.datasets.waymo.schema import Objects, parse_message
from perception.errors import DataError

from .objects import WaymoObjects

_PIECE_BYTES = 1 << 22
_PIECE_OBJECTS = 1 << 14
_WITH_LENGTH = 2                                           # wire type of strings and messages
_OBJECT, _NO_LABEL_ZONE = 1, 2                             # fields of Objects
_BOX = ("center_x", "center_y", "center_z", "length", "width", "height", "heading")


def read_waymo_objects(path: Path | str) -> WaymoObjects:
    """The objects of a file in its order; those of no-label zones are not among them.

    Raises:
        DataError: the file is absent, empty, cut off or no ``Objects`` message; an object has no box, or holds numbers
            that cannot be scored (see `WaymoObjects`). The text names the byte or the object.
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if not path.stat().st_size:
                raise DataError(path, "file", "a serialized waymo.open_dataset.Objects message", "an empty file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                columns = _Columns(path)
                for piece in _pieces(content, path):
                    columns.add(parse_message(Objects, piece, path))
    except OSError as error:
        raise DataError(path, "file", "a readable file", error.strerror) from error
    return columns.joined()


def write_waymo_objects(path: Path | str, objects: WaymoObjects) -> Path:
    """Write the objects as the official tool and server read them; the file appears whole or not at all.

    The file of no objects has no bytes, and `read_waymo_objects` refuses it.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        for start in range(0, len(objects), _PIECE_OBJECTS):
            file.write(_message(objects[start:start + _PIECE_OBJECTS]).SerializeToString())
    return Path(path)


def _pieces(content: mmap.mmap, path: Path) -> Iterator[bytes]:
    """Runs of whole records of objects, of some MiB each; no-label zones are passed over."""
    start = place = 0
    while place < len(content):
        key, after_key = _varint(content, place, path)
        if key & 7 != _WITH_LENGTH or key >> 3 not in (_OBJECT, _NO_LABEL_ZONE):
            raise DataError(path, f"byte {place}", "the start of an object in an Objects message", f"the key {key}")
        length, after_length = _varint(content, after_key, path)
        end = after_length + length
        if end > len(content):
            got = f"the end of the file after {len(content) - after_length}"
            raise DataError(path, f"byte {place}", f"an object of {length} bytes", got)
        if key >> 3 == _NO_LABEL_ZONE:
            yield content[start:place]
            start = end
        elif end - start >= _PIECE_BYTES:
            yield content[start:end]
            start = end
        place = end
    yield content[start:]


def _varint(content: mmap.mmap, place: int, path: Path) -> tuple[int, int]:
    """A whole number of seven bits a byte, the lowest first, and the place behind it."""
    value = 0
    for shift, byte in enumerate(content[place:place + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, place + shift + 1
    raise DataError(path, f"byte {place}", "a whole number", "the end of the file or more than 10 bytes")


class _Columns:
    """Collects the numbers of messages."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        self.contexts: dict[str, int] = {}
        self.numbers: list[np.ndarray] = [np.zeros((0, 15))]
        self.keys: list[np.ndarray] = [np.zeros((0, 2), np.int64)]

    def add(self, message: Any) -> None:
        numbers: list[tuple[float, ...]] = []
        keys: list[tuple[int, int]] = []
        for entry in message.objects:
            label = entry.object
            if not label.HasField("box"):
                raise DataError(self.path, f"object {self.count + len(keys)}", "a box", "none")
            box, metadata = label.box, label.metadata
            numbers.append((
                box.center_x, box.center_y, box.center_z, box.length, box.width, box.height, box.heading,
                label.type, entry.score, entry.overlap_with_nlz, label.detection_difficulty_level,
                label.num_lidar_points_in_box, metadata.speed_x, metadata.speed_y, entry.camera_name,
            ))
            context = self.contexts.setdefault(entry.context_name, len(self.contexts))
            keys.append((context, entry.frame_timestamp_micros))
        if keys:
            self.numbers.append(np.array(numbers))
            self.keys.append(np.array(keys, np.int64))
            self.count += len(keys)

    def joined(self) -> WaymoObjects:
        numbers, keys = np.concatenate(self.numbers), np.concatenate(self.keys)
        try:
            return WaymoObjects(
                tuple(self.contexts), context=keys[:, 0], timestamp_us=keys[:, 1], boxes=numbers[:, :7],
                types=numbers[:, 7], scores=numbers[:, 8], overlap_with_nlz=numbers[:, 9] != 0,
                difficulty=numbers[:, 10], num_points=numbers[:, 11], speed=numbers[:, 12:14], camera=numbers[:, 14],
            )
        except ValueError as error:
            raise DataError(self.path, "objects", "numbers that can be scored", error) from error


def _message(objects: WaymoObjects) -> Any:
    message = Objects()
    rows = zip(
        objects.context.tolist(), objects.timestamp_us.tolist(), objects.boxes.tolist(), objects.types.tolist(),
        objects.scores.tolist(), objects.overlap_with_nlz.tolist(), objects.difficulty.tolist(),
        objects.num_points.tolist(), objects.speed.tolist(), objects.camera.tolist(), strict=True,
    )
    for context, time, box, kind, score, in_nlz, difficulty, num_points, speed, camera in rows:
        entry = message.objects.add(
            context_name=objects.context_names[context], frame_timestamp_micros=time, score=score
        )
        label = entry.object
        label.type = kind
        for name, value in zip(_BOX, box, strict=True):
            setattr(label.box, name, value)
        if speed != [0.0, 0.0]:
            label.metadata.speed_x, label.metadata.speed_y = speed
        if in_nlz:
            entry.overlap_with_nlz = True
        if camera:
            entry.camera_name = camera
        if difficulty:
            label.detection_difficulty_level = difficulty
        if num_points:
            label.num_lidar_points_in_box = num_points
    return message
