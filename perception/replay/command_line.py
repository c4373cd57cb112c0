"""What the tools that open a recording share on their command lines; importing it loads nothing heavy."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from .source import FrameSource

SOURCE_HELP = "ROOT:SCENE, a log folder, or an .mcap file"


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """The recording and its options."""
    parser.add_argument("source", help=SOURCE_HELP)
    add_source_options(parser)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """What can be said about a recording besides where it is."""
    parser.add_argument("--scene", help="name of the scene, or of the list, where the source holds several")
    parser.add_argument("--keyframes", action="store_true", default=None, help="nuScenes: annotated keyframes alone")
    parser.add_argument("--source-options", nargs="+", default=[], metavar="KEY=VALUE", help="options of the source")


def source_from(args: argparse.Namespace) -> FrameSource:
    """Open what ``args.source`` and its options ask for. Raises DataError or ConfigError if that cannot be."""
    from .source import open_source

    options = {"scene": args.scene, "keyframes": args.keyframes, "labels": getattr(args, "labels", None)}
    return open_source(args.source, **{**options, **source_options(args.source_options)})


def source_options(words: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE words as options: numbers, true and false, lists with commas, and texts. Raises ConfigError."""
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ConfigError(f'--source-options takes KEY=VALUE, got "{word}"')
        options[key] = tuple(map(_value, value.split(","))) if "," in value else _value(value)
    return options


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return float(text)
    except ValueError:
        return text


def progress_bar(entries: Iterable[Any], total: int, doing: str = "replaying") -> Iterator[Any]:
    """A bar with the time left on a terminal; elsewhere nothing."""
    from rich.progress import track

    return iter(track(entries, doing, total=total, disable=not sys.stderr.isatty()))
