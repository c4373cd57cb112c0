"""The data sets by name, listed without importing any: a loader's own packages are needed only by its users."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError, suggestion

if TYPE_CHECKING:
    from .base import FrameDataset

_REGISTERED = re.compile(r"^@DATASETS\.register_module\(\)\nclass (\w+)", re.MULTILINE)


def list_datasets() -> dict[str, str]:
    """Module by the name of each data set of this package."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for name in _REGISTERED.findall(path.read_text(encoding="utf-8")):
            found[name] = f"{__package__}.{path.stem}"
    return found


def dataset_class(name: str) -> type[FrameDataset]:
    """The class of a data set, whose module alone is imported. Raises ConfigError that suggests the nearest name."""
    modules = list_datasets()
    if name not in modules:
        raise ConfigError(f'unknown data set "{name}"{suggestion(name, modules)}; known: {", ".join(sorted(modules))}')
    return getattr(importlib.import_module(modules[name]), name)
