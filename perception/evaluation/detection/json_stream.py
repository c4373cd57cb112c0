"""JSON texts of any length, read value by value: no more of them is in memory than the value that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TextIO

_DECODER = json.JSONDecoder()
_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER_GOES_ON = 4                                        # 1e-5 may be cut behind the 1 and is a number all the same
_LONGEST_TOKEN = 16                                        # what is cut within so many characters may be whole beyond


class JsonStream:
    """A cursor in a JSON text; it begins before the first value. Values are those of `json.loads`.

    Args:
        file: the text, from its start.
        chunk: characters that are read at a time, unless a value is longer.

    Every method raises ValueError, with the place, where the text is not JSON or is other JSON than was asked for.
    """

    def __init__(self, file: TextIO, chunk: int = 1 << 22) -> None:
        self._file, self._chunk = file, chunk
        self._text, self._at, self._before = "", 0, 0

    def peek(self) -> str:
        """The next character that is no white space; empty at the end of the text."""
        while True:
            space = _SPACE.match(self._text, self._at)
            assert space is not None                       # it may be of no length
            self._at = space.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._read_on():
                return ""

    def value(self) -> Any:
        """The value at the cursor, which moves behind it."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                near_end = error.pos > len(self._text) - _LONGEST_TOKEN or error.msg.startswith("Unterminated string")
                if not (near_end and self._read_on()):
                    raise ValueError(f"{error.msg}: character {self._before + error.pos}") from error
            else:
                if end + _NUMBER_GOES_ON <= len(self._text) or not self._read_on():
                    self._at = end
                    return value

    def members(self) -> Iterator[str]:
        """The keys of the object at the cursor. The caller takes the value of each before it asks for the next."""
        self._take("{")
        while self.peek() != "}":
            if self.peek() != '"':
                raise self._unexpected("a key in double quotes")
            key = self.value()
            self._take(":")
            yield key
            if self.peek() == "}":
                break
            self._take(",")
            if self.peek() == "}":
                raise self._unexpected("a key behind the comma")
        self._take("}")

    def items(self) -> Iterator[Any]:
        """The values of the array at the cursor."""
        self._take("[")
        while self.peek() != "]":
            yield self.value()
            if self.peek() == "]":
                break
            self._take(",")
            if self.peek() == "]":
                raise self._unexpected("a value behind the comma")
        self._take("]")

    def end(self) -> None:
        """Make sure that nothing follows."""
        if self.peek():
            raise self._unexpected("the end of the text")

    def _take(self, character: str) -> None:
        if self.peek() != character:
            raise self._unexpected(repr(character))
        self._at += 1

    def _read_on(self) -> bool:
        more = self._file.read(max(self._chunk, len(self._text) - self._at))
        if more:
            self._before += self._at
            self._text, self._at = self._text[self._at :] + more, 0
        return bool(more)

    def _unexpected(self, wanted: str) -> ValueError:
        while len(self._text) - self._at < _LONGEST_TOKEN and self._read_on():
            pass                                           # so that there is something to show
        got = self._text[self._at : self._at + _LONGEST_TOKEN]
        return ValueError(f"{got or 'the end'!r} at character {self._before + self._at} where {wanted} belongs")
