"""The tables of a nuScenes root, one record in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perception.errors import DataError

from .json_stream import JsonStream


def table_records(tables: Path, name: str) -> Iterator[dict[str, Any]]:
    """The records of ``NAME.json`` in their order.

    Args:
        tables: folder of a version, such as ``v1.0-trainval``.
        name: of the table.

    Raises:
        DataError: the table is absent or no list of records.
    """
    path = tables / f"{name}.json"
    try:
        with open(path, encoding="utf-8") as file:
            stream = JsonStream(file)
            yield from stream.items()
            stream.end()
    except (OSError, ValueError) as error:
        raise DataError(path, "records", "a JSON list of records", error) from error
