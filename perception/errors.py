"""The errors a user can meet, each naming the thing that is wrong and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path


class PerceptionError(Exception):
    """Base of every error that tells a user what to mend; tools print it as one line and exit with status 1."""


class DataError(PerceptionError):
    """A file or message of a data set is absent, truncated or malformed.

    Args:
        path: the file, or another name of the place such as ``log.mcap:/lidar/points``.
        field: the column, record or part of it that is wrong.
        expected: what a good file holds there.
        got: what stands there instead.
    """

    def __init__(self, path: Path | str, field: str, expected: str, got: object) -> None:
        super().__init__(f"{path}: {field}: expected {expected}, got {got}")
        self.path, self.field, self.expected, self.got = str(path), field, expected, got

    def __reduce__(self) -> tuple[type[DataError], tuple[str, str, str, object]]:
        return type(self), (self.path, self.field, self.expected, self.got)   # survives the way out of a data worker


class ConfigError(PerceptionError):
    """A config names something that does not exist or does not fit."""


class PluginError(ConfigError):
    """A plugin that a config asks for cannot be imported; the text names the plugin and the cause."""


class CheckpointError(PerceptionError):
    """A checkpoint is unreadable, unsafe or made for another architecture."""


class MissingExtraError(PerceptionError):
    """An optional dependency is needed and not installed.

    Args:
        extra: name of the extra in pyproject.toml.
        purpose: what it was needed for.
    """

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency: pip install 'perception[{extra}]'")
        self.extra, self.purpose = extra, purpose

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        return type(self), (self.extra, self.purpose)


def suggestion(name: str, known: Iterable[str]) -> str:
    """`` (did you mean "X"?)`` for the nearest known name, or an empty string."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f' (did you mean "{near[0]}"?)' if near else ""
