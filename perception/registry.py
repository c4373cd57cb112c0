"""Registries of scope ``perception`` and the discovery of plugins.

A config names the plugins it uses (``plugins = ["flatformer"]``); only those are imported. Names are found through the
entry-point group ``perception.plugins``, whose entries are plugin packages or collections of them.
"""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import importlib.util
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine import registry as mmengine_registry

from .errors import ConfigError, PluginError, suggestion

ENTRY_POINT_GROUP = "perception.plugins"
ROLES = (
    "image_backbone", "lidar_backbone", "voxel_encoder", "bev_backbone", "neck", "head", "token_mixer", "channel_mixer",
    "lift", "loss", "matcher", "task_model", "box_coder",
)


class Registry(mmengine_registry.Registry):
    """mmengine's Registry whose classes may carry a role and whose core modules are imported on the first look-up."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.roles: dict[str, str] = {}

    def register_module(
        self, name: str | list[str] | None = None, force: bool = False, module: type | None = None, *, role: str | None = None
    ) -> Any:
        """As mmengine's, with the ``role`` that tests and the zoo list classes by.

        Raises:
            ValueError: the role is not one of `ROLES`.
        """
        if role is not None and role not in ROLES:
            raise ValueError(f"unknown role {role!r}{suggestion(role, ROLES)}; known: {', '.join(ROLES)}")
        register = super().register_module(name=name, force=force, module=module)
        if module is not None or role is None:
            return register

        def register_with_role(cls: type) -> type:
            self.roles[name if isinstance(name, str) else cls.__name__] = role
            return register(cls)

        return register_with_role

    def import_from_location(self) -> None:
        """Import every module of the core packages of this registry, once."""
        if not self._imported:
            self._imported = True                  # before the imports: they may look something up themselves
            for location in self._locations:
                package = importlib.import_module(location)
                for module in pkgutil.walk_packages(package.__path__, prefix=f"{location}."):
                    importlib.import_module(module.name)

    def known_names(self) -> list[str]:
        """Every name that can be built, those of mmengine's own registry included."""
        self.import_from_location()
        names = set(self._module_dict)
        parent = self.parent
        while parent is not None:
            names |= set(parent._module_dict)
            parent = parent.parent
        return sorted(names)

    def build(self, cfg: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Build ``cfg["type"]``. Raises ConfigError with the nearest known name if there is none such."""
        name = cfg.get("type") if isinstance(cfg, Mapping) else None
        if isinstance(name, str) and self.get(name) is None:
            raise unknown_type(name, self.name, self.known_names())
        return super().build(cfg, *args, **kwargs)


def _child(name: str, parent: mmengine_registry.Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope="perception", locations=list(locations))


MODELS = _child("model", mmengine_registry.MODELS, "perception.models")
DATASETS = _child("dataset", mmengine_registry.DATASETS, "perception.datasets")
TRANSFORMS = _child("transform", mmengine_registry.TRANSFORMS, "perception.transforms")
METRICS = _child("metric", mmengine_registry.METRICS, "perception.evaluation")
HOOKS = _child("hook", mmengine_registry.HOOKS, "perception.engine")
LOOPS = _child("loop", mmengine_registry.LOOPS, "perception.engine")
DATA_SAMPLERS = _child("data sampler", mmengine_registry.DATA_SAMPLERS, "perception.engine")
OPTIM_WRAPPERS = _child("optim_wrapper", mmengine_registry.OPTIM_WRAPPERS, "perception.engine")
OPTIM_WRAPPER_CONSTRUCTORS = _child(
    "optimizer wrapper constructor", mmengine_registry.OPTIM_WRAPPER_CONSTRUCTORS, "perception.engine"
)
OPTIMIZERS = _child("optimizer", mmengine_registry.OPTIMIZERS, "perception.engine")
PARAM_SCHEDULERS = _child("parameter scheduler", mmengine_registry.PARAM_SCHEDULERS, "perception.engine")
VISUALIZERS = _child("visualizer", mmengine_registry.VISUALIZERS, "perception.visualization")
RUNNERS = _child("runner", mmengine_registry.RUNNERS, "perception.engine")
ALL_REGISTRIES = (
    MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, LOOPS, DATA_SAMPLERS, OPTIM_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIMIZERS, PARAM_SCHEDULERS, VISUALIZERS, RUNNERS,
)


@dataclass(frozen=True)
class PluginInfo:
    """What a plugin package says of itself in its ``PLUGIN``.

    Args:
        name: the name that configs use; equal to the package's last name.
        title: title of the paper.
        year: its year.
        roles: roles of the classes it registers (see `ROLES`).
        official: repository of the authors, "owner/name"; "" if none.
        checkpoints: config file by the name of a released (or release-shaped) checkpoint.
        parity: what has been compared with the authors' code, in a few words.
    """

    name: str
    title: str
    year: int
    roles: tuple[str, ...]
    official: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    parity: str = "none"


def plugin_modules() -> dict[str, str]:
    """Module path by plugin name, of everything installed; no plugin is imported for it."""
    found: dict[str, str] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        members = _members_of_collection(entry.value)
        found.update({entry.name: entry.value} if members is None else {name: f"{entry.value}.{name}" for name in members})
    return found


def _members_of_collection(module: str) -> list[str] | None:
    """Names of the sub-packages if ``module`` is a package whose ``__init__`` sets no PLUGIN, else None."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None                                # a broken entry is reported when its plugin is asked for
    if spec is None or not spec.submodule_search_locations or _assigns_plugin(spec.origin):
        return None
    return sorted(member.name for member in pkgutil.iter_modules(spec.submodule_search_locations) if member.ispkg)


def _assigns_plugin(init_file: str | None) -> bool:
    if init_file is None or not init_file.endswith(".py"):
        return False
    try:
        tree = ast.parse(Path(init_file).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return True                                # unreadable: treat it as one plugin, whose import will tell
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    targets += [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    return any(isinstance(target, ast.Name) and target.id == "PLUGIN" for target in targets)


def load_plugin(name: str) -> PluginInfo:
    """Import one plugin, which registers its modules.

    Raises:
        PluginError: no such plugin is installed, its import fails, or it exposes no `PluginInfo` named PLUGIN.
    """
    modules = plugin_modules()
    if name not in modules:
        raise PluginError(
            f'no plugin named "{name}" is installed{suggestion(name, modules)}; installed: {", ".join(sorted(modules)) or "none"}'
        )
    try:
        module = importlib.import_module(modules[name])
    except Exception as error:                     # whatever a third party's module raises, the user learns whose it is
        raise PluginError(f'plugin "{name}" ({modules[name]}) failed to import: {type(error).__name__}: {error}') from error
    info = getattr(module, "PLUGIN", None)
    if not isinstance(info, PluginInfo):
        raise PluginError(f'plugin "{name}" ({modules[name]}) has no PLUGIN of type PluginInfo')
    return info


def load_plugins(names: Iterable[str]) -> list[PluginInfo]:
    """Import the plugins that a config names, in order. Raises PluginError as `load_plugin` does."""
    return [load_plugin(name) for name in names]


def unknown_type(name: str, kind: str, known: Iterable[str]) -> ConfigError:
    """The error for a type that no loaded module registers; installed plugins are tried for the missing line."""
    for plugin in plugin_modules():
        try:
            load_plugin(plugin)
        except PluginError:
            continue                               # broken, and nobody asked for it
        if any(name in registry.module_dict for registry in ALL_REGISTRIES):
            return ConfigError(f'{kind} "{name}" belongs to a plugin: add plugins = ["{plugin}"] to the config')
    return ConfigError(f'unknown {kind} "{name}"{suggestion(name, known)}')


def check_types(cfg: Any, where: str = "config") -> None:
    """Look every ``type`` in a config up before anything is built, so that a slip is told by its place.

    Raises:
        ConfigError: a type is in no registry; names the place, the nearest known name or the plugin that has it.
    """
    if isinstance(cfg, Mapping):
        name = cfg.get("type")
        if isinstance(name, str) and "." not in name and all(registry.get(name) is None for registry in ALL_REGISTRIES):
            known = {known for registry in ALL_REGISTRIES for known in registry.known_names()}
            raise ConfigError(f"{where}.type: {unknown_type(name, 'type', known)}")
        for key, value in cfg.items():
            check_types(value, f"{where}.{key}")
    elif isinstance(cfg, (list, tuple)):
        for position, value in enumerate(cfg):
            check_types(value, f"{where}[{position}]")


def list_registered(registry: Registry, role: str | None = None, of: Callable[[type], bool] | None = None) -> list[str]:
    """Names registered in ``registry`` (core modules and the plugins loaded so far), of one role if given."""
    registry.import_from_location()
    names = sorted(registry.module_dict) if role is None else sorted(n for n, r in registry.roles.items() if r == role)
    return [name for name in names if of is None or of(registry.module_dict[name])]
