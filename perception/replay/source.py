"""What a recording is: frames by their recorded times, read only when they are wanted."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ..errors import ConfigError, DataError, suggestion
from ..structures import SE3, Frame


@dataclass(frozen=True, eq=False)
class PendingFrame:
    """A frame that has not been read yet.

    Args:
        timestamp_ns: its recorded time, as in `Frame.timestamp_ns`.
        load: reads it.
        global_from_ego: pose of the vehicle if it is known without reading; frames with poses serve each other as
            sweeps.
        cameras: names of its cameras in the order of `Frame.cameras` if they are known without reading.
    """

    timestamp_ns: int
    load: Callable[[], Frame]
    global_from_ego: SE3 | None = None
    cameras: tuple[str, ...] | None = None


class FrameSource(ABC):
    """A recording. A new kind of it is a new module in `perception.replay.sources`; no other file changes.

    The constructor takes the path and, as keywords, those of ``OPTIONS`` that the user gave.
    """

    NAME: ClassVar[str]                                    # what stands before the colon in "NAME:PATH"
    LAYOUT: ClassVar[str]                                  # what it reads, for people
    OPTIONS: ClassVar[frozenset[str]] = frozenset()
    LAST_RESORT: ClassVar[bool] = False                    # taken only if no other kind can read the path
    brings_sweeps: bool = False                            # its frames carry their own `Frame.sweeps`

    @classmethod
    @abstractmethod
    def can_read(cls, path: str) -> bool:
        """Whether ``path`` looks like a recording of this kind; looks at names alone and never raises."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def pending(self) -> Iterator[PendingFrame]:
        """The frames, oldest first. Raises DataError if the recording is broken."""

    def __iter__(self) -> Iterator[Frame]:
        """The frames, read one by one, without the sweeps that `perception.replay.history` would add."""
        return (entry.load() for entry in self.pending())


def known_sources() -> dict[str, type[FrameSource]]:
    """Source class by name, of the modules in `perception.replay.sources`."""
    package = importlib.import_module("perception.replay.sources")
    found: dict[str, type[FrameSource]] = {}
    for entry in pkgutil.iter_modules(package.__path__, prefix=f"{package.__name__}."):
        module = importlib.import_module(entry.name)
        for cls in vars(module).values():
            if inspect.isclass(cls) and issubclass(cls, FrameSource) and cls.__module__ == entry.name:
                found[cls.NAME] = cls
    return found


def open_source(path: str | Path, **options: Any) -> FrameSource:
    """Open a recording; its kind is guessed from the path unless "NAME:PATH" says it.

    Args:
        path: see the ``LAYOUT`` of the sources.
        options: those that are None are as if not given.

    Raises:
        DataError: there is no such path, nothing knows its layout, or the recording is empty or broken.
        ConfigError: an option does not belong to this kind of recording, or several kinds could be meant.
    """
    text, sources = str(path), known_sources()
    name, _, rest = text.partition(":")
    if name in sources:
        cls, text = sources[name], rest
    else:
        cls = _guess(text, sources)
    given = {key: value for key, value in options.items() if value is not None}
    for key in given:
        if key not in cls.OPTIONS:
            known = ", ".join(sorted(cls.OPTIONS)) or "none"
            raise ConfigError(f'{cls.LAYOUT} has no option "{key}"{suggestion(key, cls.OPTIONS)}; it has {known}')
    return cls(text, **given)                              # type: ignore[call-arg]  # checked against OPTIONS


def _guess(text: str, sources: dict[str, type[FrameSource]]) -> type[FrameSource]:
    able = [cls for cls in sources.values() if cls.can_read(text)]
    able = [cls for cls in able if not cls.LAST_RESORT] or able
    if len(able) == 1:
        return able[0]
    if able:
        names = " or ".join(f"{cls.NAME}:{text}" for cls in able)
        raise ConfigError(f"{text} could be read as {' or as '.join(cls.LAYOUT for cls in able)}; say {names}")
    known = "; ".join(cls.LAYOUT for cls in sources.values())
    if not Path(text).exists():
        raise DataError(text, "path", f"a recording ({known})", "no such file or folder")
    if Path(text).is_dir():
        inside = sorted(entry.name for entry in Path(text).iterdir())
        listed = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
        raise DataError(text, "layout", f"a recording ({known})", f"a folder with {listed or 'nothing in it'}")
    raise DataError(text, "file", f"a recording ({known})", f"another file ({Path(text).suffix or 'no suffix'})")
