"""JSON files that hold one object, refused by their first bytes if they are something else, however large."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from perception.errors import DataError

HEAD_CHARACTERS = 64                                       # looked at before a file is read


def refuse_other_than_object(path: Path, expected: str) -> None:
    """Raise DataError unless a file begins as a JSON object does; ``expected`` says what the object holds."""
    try:
        with open(path, encoding="utf-8") as file:
            head = file.read(HEAD_CHARACTERS).lstrip()
    except OSError as error:
        raise DataError(path, "file", f"a JSON object of {expected}", error.strerror or error) from error
    except ValueError as error:
        raise DataError(path, "file", f"a JSON object of {expected}", error) from error
    if not head.startswith("{"):
        raise DataError(path, "file", f"a JSON object of {expected}", f"{head[:16]!r}" if head else "nothing")


def read_json_object(path: Path, expected: str) -> dict[str, Any]:
    """The object of a JSON file, in which no name comes twice.

    Raises:
        DataError: the file is absent, empty, no JSON or no object, or a name comes twice in an object.
    """
    refuse_other_than_object(path, expected)
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file, object_pairs_hook=_without_repeats)
    except (OSError, ValueError) as error:
        raise DataError(path, "file", f"a JSON object of {expected}", error) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(name for name in names if names.count(name) > 1)!r} comes twice")
    return content
