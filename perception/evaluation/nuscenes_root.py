"""A nuScenes data root as the devkit opens it, with errors that name what is wrong."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from perception.errors import DataError


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


def refuse_other_samples(results_json: Path | str, expected: Sequence[str]) -> None:
    """Compare the keys of the file with the split's samples, for a clearer error than the devkit's."""
    try:
        with open(results_json, encoding="utf-8") as file:
            found = set(json.load(file)["results"])
    except FileNotFoundError as error:
        raise DataError(results_json, "file", "a nuScenes results file", "no such file") from error
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(results_json, "results", "the nuScenes results format", repr(error)) from error
    odd = sorted(found ^ set(expected))
    if odd:
        got = f"{len(found)} samples of which {len(found & set(expected))} belong to it (odd one: {odd[0]})"
        raise DataError(results_json, "results", f"the {len(expected)} samples of the split", got)


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The devkit prints and draws progress bars; neither belongs to a library."""
    with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
        yield
