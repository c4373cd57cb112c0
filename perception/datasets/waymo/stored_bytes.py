"""Bytes of a file at any place, be it plain or gzipped.

A file is opened for each reading and holds no handle between them, so what is opened here may be pickled, or live on in
the processes of a data loader.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

GZIP_MAGIC = b"\x1f\x8b\x08"           # the only compression that gzip files have
_PIECE = 1 << 18                       # read at a time of a gzipped file [bytes]
_MARK_EVERY = 1 << 23                  # of the unzipped bytes
_GZIP_WINDOW = 31                      # what zlib calls a gzip stream


class StoredBytes(Protocol):
    """What `PlainBytes` and `GzipBytes` do."""

    def read_at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on; fewer only where the contents end."""
        ...


class PlainBytes:
    """The contents of a file as they are.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read_at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset`` on; fewer only where the file ends. Raises OSError."""
        with open(self.path, "rb", buffering=0) as file:
            missing, parts = min(count, file.seek(0, 2) - offset), []
            if missing > 0:
                file.seek(offset)
            while missing > 0 and (part := file.read(missing)):    # one call gives 2 GiB at most
                parts.append(part)
                missing -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class GzipBytes:
    """The unzipped contents of a gzip file of one or more members.

    Reading on is cheap. For reading back the state of the decompressor is marked every 8 MiB of contents, 40 kB each,
    so a place that was passed before costs at most 8 MiB of decompression. Not for several threads at a time.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._here = _Position()
        self._marks = [_Position()]

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["path"])   # type: ignore[misc]  # decompressors can't be pickled: begin anew

    def read_at(self, offset: int, count: int) -> bytes:
        """``count`` unzipped bytes from ``offset`` on; fewer only where the contents end.

        Raises:
            OSError: the file cannot be read.
            EOFError, zlib.error: it ends early or is damaged before that place.
        """
        mark = self._marks[bisect_right(self._marks, offset, key=lambda position: position.unzipped) - 1]
        if not mark.unzipped <= self._here.unzipped <= offset:
            self._here = mark.copy()
        try:
            with open(self.path, "rb", buffering=0) as file:
                self._pass(file, offset - self._here.unzipped)
                return b"".join(self._pieces(file, count))
        except (OSError, EOFError, zlib.error):
            self._here = _Position()   # of the damaged place nothing is known
            raise

    def _pass(self, file: BinaryIO, count: int) -> None:
        for _ in self._pieces(file, count):
            pass

    def _pieces(self, file: BinaryIO, count: int) -> Iterator[bytes]:
        while count > 0:
            piece = self._here.advance(file, min(count, _PIECE))
            if not piece:
                return
            count -= len(piece)
            if self._here.unzipped >= self._marks[-1].unzipped + _MARK_EVERY:
                self._marks.append(self._here.copy())
            yield piece


class _Position:
    """A place in a gzip file, with the decompressor that reads on from there."""

    def __init__(self) -> None:
        self.zipped = self.unzipped = 0
        self.decompressor = zlib.decompressobj(_GZIP_WINDOW)
        self.is_at_member = True       # nothing of the member has been read

    def copy(self) -> _Position:
        twin = _Position()
        twin.zipped, twin.unzipped, twin.is_at_member = self.zipped, self.unzipped, self.is_at_member
        twin.decompressor = self.decompressor.copy()
        return twin

    def advance(self, file: BinaryIO, limit: int) -> bytes:
        """The next bytes, ``limit`` of them at most; none where the contents end."""
        while True:
            if self.decompressor.eof:
                self.decompressor, self.is_at_member = zlib.decompressobj(_GZIP_WINDOW), True
            file.seek(self.zipped)
            taken = file.read(_PIECE)
            if not taken and self.is_at_member:
                return b""
            given = self.decompressor.decompress(taken, limit)
            is_done = self.decompressor.eof        # then the rest is that of another member, else it awaits a turn
            rest = self.decompressor.unused_data if is_done else self.decompressor.unconsumed_tail
            self.zipped += len(taken) - len(rest)
            self.unzipped += len(given)
            self.is_at_member = False
            if given:
                return given
            if not taken and not is_done:
                raise EOFError("the gzip stream ends early")
