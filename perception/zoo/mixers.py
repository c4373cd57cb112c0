"""Every token mixer that is registered, and what it promises."""

from __future__ import annotations

from dataclasses import dataclass

from ..models.mixers.traits import MixerTraits
from ..registry import MODELS, list_registered

CORE = "core"


@dataclass(frozen=True)
class MixerEntry:
    """A token mixer.

    Args:
        name: its registered name.
        plugin: the package that it comes from; "core" if it needs none.
        traits: what it promises; None of a third party's that says nothing.
    """

    name: str
    plugin: str
    traits: MixerTraits | None


def registered_mixers() -> list[MixerEntry]:
    """Those of the core and of the plugins that are loaded, the core's first."""
    found = []
    for name in list_registered(MODELS, role="token_mixer"):
        kind = MODELS.module_dict[name]
        package = kind.__module__.split(".")
        plugin = CORE if package[0] == "perception" else package[min(1, len(package) - 1)]
        found.append(MixerEntry(name, plugin, getattr(kind, "TRAITS", None)))
    return sorted(found, key=lambda entry: (entry.plugin != CORE, entry.plugin, entry.name))
