"""TFRecord files without TensorFlow: byte strings with checksums one after another, plain or gzipped.

A record is its length (uint64), the masked CRC32C of these 8 bytes, the bytes, and the masked CRC32C of those; all
numbers are little endian.
"""

from __future__ import annotations

import gzip
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, overload

import google_crc32c

from ...atomic_write import atomic_path
from ...errors import DataError
from .stored_bytes import GZIP_MAGIC, GzipBytes, PlainBytes, StoredBytes

logger = logging.getLogger(__name__)

HEADER = struct.Struct("<QI")          # length, checksum of its bytes
FOOTER = struct.Struct("<I")           # checksum of the record's bytes
_LENGTH = struct.Struct("<Q")
_MASK = 0xA282EAD8


@dataclass(frozen=True)
class RecordPlace:
    """Where a record lies.

    Args:
        number: records before it in the file, corrupt ones included; None if they were not counted.
        offset: of its first byte, the length's, in the file, or in the unzipped contents of a gzipped one.
        length: of what it holds [bytes].
    """

    number: int | None
    offset: int
    length: int

    @property
    def end(self) -> int:
        """Offset behind it, where the next one begins."""
        return self.offset + HEADER.size + self.length + FOOTER.size

    def __str__(self) -> str:
        return _named(self.number, self.offset)


def read_records(path: Path | str, *, skip_corrupt: bool = False) -> RecordReader:
    """The records of a file in their order; see `RecordReader`."""
    return RecordReader(path, skip_corrupt=skip_corrupt)


def write_records(path: Path | str, payloads: Iterable[bytes], *, compress: bool = False) -> Path:
    """Write a TFRecord file, whole or not at all; returns its path.

    Args:
        path: the file.
        payloads: what the records hold.
        compress: whether the file is gzipped.
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if compress:
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as zipped:   # without name and time
                _write(zipped, payloads)
        else:
            _write(file, payloads)
    return Path(path)


class RecordReader(Iterator[bytes]):
    """Iterates once over what the records of a file hold.

    Attributes:
        place: of the record that was given last; None before the first.
        skipped: corrupt records met so far; a rest of the file that is lost counts as one.

    Args:
        path: the file; whether it is gzipped is told by its first bytes.
        skip_corrupt: pass over records whose bytes do not fit their checksum, with a warning. Behind a length that
            does not fit its checksum, or a damaged place of a gzipped file, no record can be found: the file ends.

    Raises:
        DataError: on opening, the file is absent; on reading, a record is truncated or corrupt (names its number and
            offset) and ``skip_corrupt`` is off.
    """

    def __init__(self, path: Path | str, *, skip_corrupt: bool = False) -> None:
        self.path, self.skip_corrupt = Path(path), skip_corrupt
        self.place: RecordPlace | None = None
        self.skipped = 0
        self._records = self._read_all(_opened(self.path))

    def __next__(self) -> bytes:
        self.place, payload = next(self._records)
        return payload

    def _read_all(self, stored: StoredBytes) -> Iterator[tuple[RecordPlace, bytes]]:
        number = offset = 0
        while True:
            try:
                place = _read_place(self.path, stored, number, offset)
                if place is None:
                    return
                number, offset = number + 1, place.end
                payload = _read_payload(self.path, stored, place)
            except _RestLostError as error:
                self._skip(error)
                return
            except DataError as error:
                self._skip(error)
            else:
                yield place, payload

    def _skip(self, error: DataError) -> None:
        if not self.skip_corrupt:
            raise error
        self.skipped += 1
        logger.warning("skipped a corrupt record: %s", error)


class RecordFile(Sequence[bytes]):
    """The records of a file by number, through an index that is built on opening.

    The index is made of the lengths alone; the bytes of a record are checked when it is read. With ``skip_corrupt``
    all bytes are read and checked on opening. Pickling keeps the index.

    Attributes:
        places: where the records lie, in their order.
        skipped: corrupt records that were left out.

    Args:
        path: the file; whether it is gzipped is told by its first bytes.
        skip_corrupt: leave corrupt records out, as `RecordReader` does.

    Raises:
        DataError: the file is absent; a record is truncated, or corrupt in what was checked (names its number and
            offset).
    """

    def __init__(self, path: Path | str, *, skip_corrupt: bool = False) -> None:
        self.path = Path(path)
        self._stored = _opened(self.path)
        if skip_corrupt:
            reader = RecordReader(self.path, skip_corrupt=True)
            self.places = tuple(reader.place for _ in reader if reader.place is not None)
            self.skipped = reader.skipped
        else:
            self.places = tuple(_read_places(self.path, self._stored))
            self.skipped = 0

    def __len__(self) -> int:
        return len(self.places)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """What a record holds. Raises DataError if it is corrupt, IndexError if there is none."""
        if isinstance(index, slice):
            return [_read_payload(self.path, self._stored, place) for place in self.places[index]]
        return _read_payload(self.path, self._stored, self.places[index])


def read_record_at(path: Path | str, offset: int) -> bytes:
    """What the record that begins at an offset holds, for those who keep an index of their own.

    Args:
        path: the file. In a gzipped one all that comes before is unzipped for it.
        offset: as in `RecordPlace`.

    Raises:
        DataError: there is no record at that place, or it is corrupt.
    """
    path = Path(path)
    stored = _opened(path)
    place = _read_place(path, stored, None, offset)
    if place is None:
        raise DataError(path, _named(None, offset), "a record", "the end of the file")
    return _read_payload(path, stored, place)


def masked_crc32c(data: bytes) -> int:
    """Checksum as it stands in the file: CRC32C turned right by 15 bits, plus a constant, modulo 2^32."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


class _RestLostError(DataError):
    """A record is broken such that no record behind it can be found."""


def _opened(path: Path) -> StoredBytes:
    try:
        with open(path, "rb") as file:
            start = file.read(HEADER.size)
    except OSError as error:
        raise DataError(path, "file", "a readable TFRecord file", error.strerror or error) from error
    is_header = len(start) == HEADER.size and masked_crc32c(start[: _LENGTH.size]) == HEADER.unpack(start)[1]
    return GzipBytes(path) if start.startswith(GZIP_MAGIC) and not is_header else PlainBytes(path)


def _read_places(path: Path, stored: StoredBytes) -> Iterator[RecordPlace]:
    number = offset = 0
    while (place := _read_place(path, stored, number, offset)) is not None:
        _read(path, stored, str(place), place.end - FOOTER.size, FOOTER.size)
        yield place
        number, offset = number + 1, place.end


def _read_place(path: Path, stored: StoredBytes, number: int | None, offset: int) -> RecordPlace | None:
    """The record that begins at an offset, or None if the file ends there."""
    name = _named(number, offset)
    header = _read(path, stored, name, offset, HEADER.size, may_end=True)
    if not header:
        return None
    length, stated = HEADER.unpack(header)
    checksum = masked_crc32c(header[: _LENGTH.size])
    if checksum != stated:
        got = f"{checksum:#010x}: this is no TFRecord file, or no record can be found from here on"
        raise _RestLostError(path, name, f"the length's checksum to be {stated:#010x}", got)
    return RecordPlace(number, offset, length)


def _read_payload(path: Path, stored: StoredBytes, place: RecordPlace) -> bytes:
    stored_bytes = _read(path, stored, str(place), place.offset + HEADER.size, place.length + FOOTER.size)
    payload, (stated,) = stored_bytes[: place.length], FOOTER.unpack_from(stored_bytes, place.length)
    checksum = masked_crc32c(payload)
    if checksum != stated:
        raise DataError(path, str(place), f"the checksum of its {place.length} bytes to be {stated:#010x}",
                        f"{checksum:#010x}")
    return payload


def _read(
    path: Path, stored: StoredBytes, name: str, offset: int, count: int, *, may_end: bool = False
) -> bytes:
    """``count`` bytes of the record ``name``; or none, if the file ``may_end`` there."""
    try:
        found = stored.read_at(offset, count)
    except (OSError, EOFError, zlib.error) as error:
        raise _RestLostError(path, name, "readable bytes", error) from error
    if len(found) < count and not (may_end and not found):
        raise _RestLostError(path, name, f"{count} bytes at {offset}", f"{len(found)} before the file ends")
    return found


def _named(number: int | None, offset: int) -> str:
    return f"record at byte {offset}" if number is None else f"record {number} at byte {offset}"


def _write(file: BinaryIO | gzip.GzipFile, payloads: Iterable[bytes]) -> None:
    for payload in payloads:
        length = _LENGTH.pack(len(payload))
        file.write(HEADER.pack(len(payload), masked_crc32c(length)))
        file.write(payload)
        file.write(FOOTER.pack(masked_crc32c(payload)))
