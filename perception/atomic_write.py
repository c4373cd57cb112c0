"""Files that are either the old ones or whole new ones, never halves."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A path beside ``path`` to write to; on leaving it is synced and renamed to ``path``, on an exception removed.

    The suffix is kept, so that libraries which look at it behave the same. Missing parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(descriptor)
    try:
        yield Path(name)
        with open(name, "rb+") as file:
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_json(path: Path | str, content: Any, indent: int | None = 2) -> Path:
    """Write ``content`` as JSON, whole or not at all; returns the path."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=indent)
    return Path(path)


def write_json_entries(
    path: Path | str, head: Mapping[str, Any], name: str, entries: Iterable[tuple[str, Any]]
) -> Path:
    """Write ``{**head, name: dict(entries)}`` as JSON on one line, whole or not at all; returns the path.

    One entry is in memory at a time. Their keys must differ, and ``name`` from those of the head.
    """
    start = json.dumps({**head, name: {}}).removesuffix("}}")
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(start)
        for number, (key, value) in enumerate(entries):
            file.write(f"{', ' if number else ''}{json.dumps(key)}: {json.dumps(value)}")
        file.write("}}")
    return Path(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
