"""A nuScenes data root as the devkit opens it, with errors that name what is wrong."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from perception.errors import DataError

from .detection.json_stream import JsonStream


def open_tables(root: Path | str, version: str) -> Any:
    """The devkit's ``NuScenes`` over a data root. Raises DataError if a table is missing or malformed."""
    from nuscenes import NuScenes

    if not (Path(root) / version).is_dir():
        raise DataError(root, version, "a folder with the tables of that version", "no such folder")
    try:
        with silent():
            return NuScenes(version=version, dataroot=str(root), verbose=False)
    except (AssertionError, IndexError, KeyError, OSError, ValueError) as error:
        raise DataError(Path(root) / version, "tables", "tables that the nuScenes devkit opens", repr(error)) from error


def split_samples(tables: Any, split: str) -> list[str]:
    """Tokens of the samples of a split that the root holds, in table order.

    Raises:
        DataError: the split is unknown or has no sample in this root.
    """
    from nuscenes.utils.splits import create_splits_scenes, get_scenes_of_custom_split, is_predefined_split

    where = Path(tables.dataroot) / tables.version
    if is_predefined_split(split):
        names = set(create_splits_scenes()[split])
    else:
        try:
            names = set(get_scenes_of_custom_split(split, nusc=tables))
        except (AssertionError, KeyError, OSError, ValueError) as error:
            raise DataError(where, "split", "a split of nuScenes or of splits.json", split) from error
    scenes = {scene["token"] for scene in tables.scene if scene["name"] in names}
    tokens = [sample["token"] for sample in tables.sample if sample["scene_token"] in scenes]
    if not tokens:
        raise DataError(where, "scene", f"a scene of the split {split!r}", f"{len(tables.scene)} scenes outside it")
    return tokens


def read_split_samples(root: Path | str, version: str, split: str) -> list[str]:
    """`split_samples` without opening the other tables.

    Raises:
        DataError: a table is absent or malformed, the split is unknown, of another version, or not in this root.
    """
    where = Path(root) / version
    if not where.is_dir():
        raise DataError(root, version, "a folder with the tables of that version", "no such folder")
    _refuse_other_version(where, version, split)
    with malformed(where / "sample.json"):
        scenes, samples = list(read_table(where, "scene")), list(read_table(where, "sample"))
        tables = SimpleNamespace(dataroot=str(root), version=version, scene=scenes, sample=samples)
        return split_samples(tables, split)


def read_table(where: Path, table: str) -> Iterator[dict[str, Any]]:
    """The records of a table in the folder of a version, one after the other. Raises DataError."""
    path = where / f"{table}.json"
    try:
        with open(path, encoding="utf-8") as file:
            stream = JsonStream(file)
            yield from stream.items()
            stream.end()
    except (OSError, ValueError) as error:
        raise DataError(path, "records", "a JSON list of records", error) from error


@contextlib.contextmanager
def malformed(path: Path) -> Iterator[None]:
    """What a malformed record leads to, told as a DataError that names the table."""
    try:
        yield
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(path, "records", "a table of nuScenes", repr(error)) from error


def _refuse_other_version(where: Path, version: str, split: str) -> None:
    """As the devkit does where an official split belongs to another version of the data."""
    from nuscenes.utils.splits import is_predefined_split

    if is_predefined_split(split):
        kind = "test" if split == "test" else "mini" if split.startswith("mini") else "trainval"
        if not version.endswith(kind):
            raise DataError(where, "version", f"one that ends in {kind!r} for the split {split!r}", version)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The devkit prints and draws progress bars; neither belongs to a library."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield
