"""The metrics of files by name, listed from the modules beside this one: adding a metric adds a file."""

from __future__ import annotations

import argparse
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perception.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from .scored_files import ScoredFiles

_SCORES = re.compile(r"^def score\(", re.MULTILINE)


class FileMetric(Protocol):
    """What a module of a metric has; importing it loads nothing heavy.

    Its docstring is the help of the metric.
    """

    PREDICTIONS: str
    GROUND_TRUTH: str

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the options of the metric."""

    @staticmethod
    def score(args: argparse.Namespace) -> ScoredFiles:
        """Score ``args.predictions`` against ``args.ground_truth``."""


def list_metrics() -> tuple[str, ...]:
    """Names of the metrics: those of their modules, with dashes."""
    modules = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(
        path.stem.replace("_", "-") for path in modules if _SCORES.search(path.read_text(encoding="utf-8"))
    )


def file_metric(name: str) -> FileMetric:
    """The module of a metric. Raises ConfigError that suggests the nearest name."""
    known = list_metrics()
    if name not in known:
        raise ConfigError(f'unknown metric "{name}"{suggestion(name, known)}; known: {", ".join(known)}')
    module: FileMetric = importlib.import_module(  # type: ignore[assignment]  # a module has what the protocol asks
        f"{__package__}.{name.replace('-', '_')}"
    )
    return module
