"""Every installed plugin and its variants."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import PerceptionError, PluginError
from ..registry import PluginInfo, VariantInfo, load_plugin, plugin_modules
from .model_size import ModelSize, model_size


@dataclass(frozen=True)
class Variant:
    """A config that a plugin names.

    Args:
        config: its file.
        info: what the plugin tells of it.
        size: of its model; None if it has not been counted or cannot be.
        fault: why the model cannot be built.
    """

    config: str
    info: VariantInfo
    size: ModelSize | None = None
    fault: str | None = None


@dataclass(frozen=True)
class Entry:
    """A plugin.

    Args:
        name: as configs name it.
        module: what is imported.
        info: what it says of itself; None if it is broken.
        summary: first line of the module's docstring.
        variants: in the plugin's order.
        fault: why it cannot be imported.
    """

    name: str
    module: str
    info: PluginInfo | None = None
    summary: str = ""
    variants: tuple[Variant, ...] = ()
    fault: str | None = None


def installed_entries() -> list[Entry]:
    """Every installed plugin by name, the broken ones too; nothing is counted."""
    return [_entry(name, module) for name, module in plugin_modules().items()]


def _entry(name: str, module: str) -> Entry:
    try:
        info = load_plugin(name)
    except PluginError as error:
        return Entry(name, module, fault=str(error))
    summary = (importlib.import_module(module).__doc__ or "").strip().partition("\n")[0]
    configs = dict.fromkeys((*info.variants, *info.checkpoints.values()))
    variants = tuple(Variant(config, info.variants.get(config, VariantInfo())) for config in configs)
    return Entry(name, module, info, summary, variants)


def with_sizes(entry: Entry, root: Path, *, operations: bool = True) -> Entry:
    """The entry with the sizes of its variants.

    Args:
        entry: as `installed_entries` gives it.
        root: what the paths of configs are relative to if they are not to the working directory.
        operations: count those too.
    """
    return replace(entry, variants=tuple(_sized(variant, root, operations) for variant in entry.variants))


def _sized(variant: Variant, root: Path, operations: bool) -> Variant:
    path = Path(variant.config) if Path(variant.config).is_file() else root / variant.config
    try:
        return replace(variant, size=model_size(path, variant.info.picture if operations else None))
    except PerceptionError as error:
        return replace(variant, fault=f"cannot be built: {error}")


def sizes_of(entry: Entry) -> Iterator[tuple[str, str]]:
    """Config and size in words of the variants that were counted."""
    for variant in entry.variants:
        if variant.size is not None:
            yield variant.config, f"{variant.size.parameters:,} parameters"
        elif variant.fault is not None:
            yield variant.config, variant.fault


def as_record(entry: Entry) -> dict[str, Any]:
    """An entry for a JSON file; ``broken`` holds the reason if the plugin cannot be imported, else None."""
    place = {"name": entry.name, "module": entry.module, "broken": entry.fault}
    if entry.info is None:
        return place
    variants = {
        variant.config: {
            **asdict(variant.info), **(asdict(variant.size) if variant.size is not None else {}),
            **({} if variant.fault is None else {"broken": variant.fault}),
        }
        for variant in entry.variants
    }
    return {**asdict(entry.info), **place, "summary": entry.summary, "variants": variants}
