"""The nuScenes results file, read sample by sample: a full validation set is a gigabyte of text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perception.errors import DataError

from .json_stream import JsonStream
from .nuscenes_boxes import BoxTable, NuScenesBoxes

FORMAT = "the nuScenes results format"


class ResultsFile:
    """A results file of which one sample at a time is in memory.

    Args:
        path: the JSON file.

    Attributes:
        meta: which inputs were used, as the file says; known once `samples` has come to its end.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = path
        self.meta: dict[str, Any] = {}

    def samples(self) -> Iterator[tuple[str, Any]]:
        """Token and rows of the samples in the order of the file, unchecked; a token may come twice.

        Raises:
            DataError: there is no such file, or its text is not JSON with the fields ``results`` and ``meta``.
        """
        seen: list[str] = []
        with _open(self.path) as stream:
            for key in stream.members():
                if key in seen and key in ("results", "meta"):
                    raise DataError(self.path, key, "this field once", "it twice")
                seen.append(key)
                if key == "results":
                    for token in stream.members():
                        yield token, stream.value()
                elif key == "meta":
                    self.meta = stream.value()
                else:
                    stream.value()
            stream.end()
        for field in ("results", "meta"):
            if field not in seen:
                raise DataError(self.path, "results", FORMAT, f"no field {field!r}")


def read_nuscenes_boxes(path: Path | str, most: int | None = None) -> tuple[NuScenesBoxes, dict[str, Any]]:
    """The boxes of a results file and its ``meta``.

    Args:
        path: the JSON file.
        most: rows that a sample may have; any number if not given.

    Raises:
        DataError: see `ResultsFile.samples`; or a sample has more rows, or one that is no box (the text tells which).
    """
    file, table = ResultsFile(path), BoxTable(most)
    for token, rows in file.samples():
        try:
            table.add(token, rows)
        except ValueError as error:
            raise DataError(path, "results", FORMAT, error) from error
    return table.boxes(), file.meta


def refuse_other_samples(path: Path | str, found: Collection[str], expected: Sequence[str]) -> None:
    """Raise DataError unless a results file has the samples of the split, in any order."""
    found, wanted = set(found), set(expected)
    odd = sorted(found ^ wanted)
    if odd:
        got = f"{len(found)} samples of which {len(found & wanted)} belong to it (odd one: {odd[0]})"
        raise DataError(path, "results", f"the {len(expected)} samples of the split", got)


@contextmanager
def _open(path: Path | str) -> Iterator[JsonStream]:
    try:
        with open(path, encoding="utf-8") as file:
            yield JsonStream(file)
    except FileNotFoundError as error:
        raise DataError(path, "file", "a nuScenes results file", "no such file") from error
    except OSError as error:
        raise DataError(path, "file", "a file that can be read", error) from error
    except (ValueError, RecursionError) as error:
        raise DataError(path, "results", FORMAT, error) from error
