"""MCAP recordings with Foxglove's protobuf schemas: point clouds, pictures, calibrations, transforms, boxes, positions.

Messages are told apart by the schema in the file, never by the name of their topic. The ego frame is the vehicle's if
the tree of transforms has one (see `VEHICLE_FRAMES`), else the point cloud's own.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from ...errors import ConfigError, DataError, suggestion
from ..foxglove_messages import stamp_ns
from ..foxglove_stream import CloudMoment, FoxgloveStream
from ..source import FrameSource, PendingFrame

logger = logging.getLogger(__name__)

MAGIC = b"\x89MCAP0\r\n"
CLOUD = "foxglove.PointCloud"
UNDERSTOOD = (
    CLOUD, "foxglove.FrameTransform", "foxglove.FrameTransforms", "foxglove.CompressedImage", "foxglove.RawImage",
    "foxglove.CameraCalibration", "foxglove.SceneUpdate", "foxglove.LocationFix", "foxglove.PoseInFrame",
)


class McapSource(FrameSource):
    """One file. A frame is a point cloud with the pictures nearest to it and the boxes that are valid at its time.

    Args:
        path: the file.
        topic: topic of the point clouds; by default the one with most messages.
        base_frame: name of the vehicle's frame; guessed if not given.
        ego_height: height of the point cloud's frame above the road [m], used where there is no vehicle frame.

    Raises:
        DataError: the file is cut off or damaged, or holds no point cloud.
        ConfigError: it has no such topic.
    """

    NAME = "mcap"
    LAYOUT = "an MCAP file with Foxglove schemas"
    OPTIONS = frozenset({"topic", "base_frame", "ego_height"})

    def __init__(
        self, path: str, topic: str | None = None, base_frame: str | None = None, ego_height: float = 0.0
    ) -> None:
        self.path, self.base_frame, self.ego_height = Path(path), base_frame, ego_height
        _check_ends(self.path)
        counts, schemas = self._contents()
        if not counts:
            got = ", ".join(sorted(schemas)) or "no message"
            raise DataError(self.path, "schemas", f"messages of {CLOUD} (protobuf)", got)
        if topic is not None and topic not in counts:
            known = ", ".join(sorted(counts))
            raise ConfigError(f'{path} has no point clouds on "{topic}"{suggestion(topic, counts)}; it has {known}')
        self.topic = topic or max(sorted(counts), key=lambda name: counts[name])
        if topic is None and len(counts) > 1:
            others = ", ".join(sorted(set(counts) - {self.topic}))
            logger.warning("%s: playing the point clouds of %s, not those of %s", path, self.topic, others)
        self._count = counts[self.topic]

    @classmethod
    def can_read(cls, path: str) -> bool:
        """A file by its suffix."""
        return Path(path).is_file() and Path(path).suffix.lower() == ".mcap"

    def __len__(self) -> int:
        return self._count

    def pending(self) -> Iterator[PendingFrame]:
        """A frame for every message of the point cloud topic."""
        stream = FoxgloveStream(str(self.path), self.base_frame, self.ego_height)
        for schema, topic, log_time, message in self._messages():
            if schema == CLOUD:
                if topic == self.topic:
                    yield from _as_pending(stream, stream.take_moment())
                    stream.add_cloud(message, stamp_ns(message, log_time))
            else:
                stream.add(schema, topic, log_time, message)
        yield from _as_pending(stream, stream.take_moment())

    def _contents(self) -> tuple[dict[str, int], set[str]]:
        """Number of point clouds by topic, and the names of all schemas (with the encoding if it is not protobuf)."""
        from mcap.reader import make_reader

        with _damage_told(self.path), open(self.path, "rb") as file:
            summary = make_reader(file).get_summary()
        if summary is None or summary.statistics is None or not summary.channels:
            return self._count_messages()
        counts: dict[str, int] = {}
        for number, channel in summary.channels.items():
            schema = summary.schemas.get(channel.schema_id)
            messages = summary.statistics.channel_message_counts.get(number, 0)
            if schema is not None and schema.name == CLOUD and channel.message_encoding == "protobuf" and messages:
                counts[channel.topic] = counts.get(channel.topic, 0) + messages
        return counts, {_schema_label(schema) for schema in summary.schemas.values()}

    def _count_messages(self) -> tuple[dict[str, int], set[str]]:
        """As `_contents` for a file without a summary: by reading it through."""
        counts: dict[str, int] = {}
        schemas: set[str] = set()
        with _damage_told(self.path), open(self.path, "rb") as file:
            for schema, channel, _ in _reader(file).iter_messages():
                schemas.add("none" if schema is None else _schema_label(schema))
                if schema is not None and schema.name == CLOUD and channel.message_encoding == "protobuf":
                    counts[channel.topic] = counts.get(channel.topic, 0) + 1
        return counts, schemas

    def _messages(self) -> Iterator[tuple[str, str, int, Any]]:
        """Schema, topic, log time [ns] and decoded message of everything that is understood, in log order."""
        from mcap_protobuf.decoder import DecoderFactory

        factory = DecoderFactory()
        with _damage_told(self.path), open(self.path, "rb") as file:
            for schema, channel, message in _reader(file).iter_messages():
                if schema is None or schema.name not in UNDERSTOOD:
                    continue
                decode = factory.decoder_for(channel.message_encoding, schema)
                if decode is not None:
                    yield schema.name, channel.topic, message.log_time, decode(message.data)


def _as_pending(stream: FoxgloveStream, moment: CloudMoment | None) -> Iterator[PendingFrame]:
    if moment is not None:
        load, cameras = partial(stream.frame_of, moment), tuple(moment.images)
        yield PendingFrame(moment.timestamp_ns, load, moment.global_from_ego, cameras)


def _schema_label(schema: Any) -> str:
    return schema.name if schema.encoding == "protobuf" else f"{schema.name} ({schema.encoding})"


def _reader(file: IO[bytes]) -> Any:
    """A reader by the file's index, or, where its summary does not list the channels, one that reads all of it."""
    from mcap.reader import NonSeekingReader, make_reader

    reader = make_reader(file, validate_crcs=True)
    summary = reader.get_summary()
    if summary is None or summary.channels:
        return reader
    file.seek(0)
    return NonSeekingReader(file, validate_crcs=True)


def _check_ends(path: Path) -> None:
    """Both ends of a file that was closed bear MCAP's magic."""
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            head = file.read(len(MAGIC))
            file.seek(max(0, size - len(MAGIC)))
            tail = file.read()
    except OSError as error:
        raise DataError(path, "file", "an MCAP file", error.strerror or error) from error
    if head != MAGIC:
        raise DataError(path, "first bytes", "MCAP's magic", head.hex(" ") or "an empty file")
    if tail != MAGIC or size < 2 * len(MAGIC):
        raise DataError(path, "last bytes", "MCAP's magic", f"{tail.hex(' ')} (cut off after {size} bytes?)")


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    """Failures of the MCAP, compression and protobuf packages, told as DataError.

    A wrong checksum is a ValueError there, and lz4 raises RuntimeError; nothing of ours runs inside.
    """
    from google.protobuf.message import DecodeError
    from mcap.exceptions import McapError
    from zstandard import ZstdError

    try:
        yield
    except (McapError, DecodeError, ZstdError, struct.error, EOFError, RuntimeError, ValueError) as error:
        raise DataError(path, "records", "an undamaged MCAP file", f"{type(error).__name__}: {error}") from error
