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
    "lift", "loss", "matcher", "task_model", "box_coder", "bev_encoder", "map_head",
    "auxiliary_head", "seg_head", "pixel_decoder", "image_classifier", "geo_head", "super_resolution_net",
)


class Registry(mmengine_registry.Registry):
    """mmengine's Registry whose classes may carry a role and whose core modules are imported on the first look-up."""

    def __init__(self, name: str, **kwargs: Any) -> None:
        super().__init__(name, **kwargs)
        self.roles: dict[str, str] = {}
        self._core_imported = False

    def register_module(
        self,
        name: str | list[str] | None = None,
        force: bool = False,
        module: type | None = None,
        *,
        role: str | None = None,
    ) -> Any:
        """As mmengine's, with the ``role`` that tests and the zoo list classes by.

        Raises:
            ValueError: the role is not one of `ROLES`.
            KeyError: the name is taken, and ``force`` is not set.
        """
        if role is not None and role not in ROLES:
            raise ValueError(f"unknown role {role!r}{suggestion(role, ROLES)}; known: {', '.join(ROLES)}")
        if module is None:
            return lambda cls: self.register_module(name, force, cls, role=role)
        super().register_module(name=name, force=force, module=module)
        if role is not None:
            self.roles.update(dict.fromkeys([name] if isinstance(name, str) else name or [module.__name__], role))
        return module

    def import_from_location(self) -> None:
        """Import every module of the core packages of this registry, once."""
        if self._core_imported:
            return
        self._core_imported = True                 # before the imports: they may look something up themselves
        try:
            for location in self._locations:
                package = importlib.import_module(location)
                for module in pkgutil.walk_packages(package.__path__, prefix=f"{location}."):
                    importlib.import_module(module.name)
        except BaseException:
            self._core_imported = False            # else the second look-up would call the rest unknown
            raise

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
        if isinstance(name, str) and not is_known(self, name):
            raise unknown_type(name, self.name, self.known_names())
        return super().build(cfg, *args, **kwargs)


def _child(name: str, parent: mmengine_registry.Registry, *locations: str) -> Registry:
    return Registry(name, parent=parent, scope="perception", locations=list(locations))


MODELS = _child("model", mmengine_registry.MODELS, "perception.models", "perception.compression")
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
COMPRESSORS = Registry("compressor", scope="perception", locations=["perception.compression"])
ALL_REGISTRIES = (
    MODELS, DATASETS, TRANSFORMS, METRICS, HOOKS, LOOPS, DATA_SAMPLERS, OPTIM_WRAPPERS, OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIMIZERS, PARAM_SCHEDULERS, VISUALIZERS, RUNNERS, COMPRESSORS,
)


@dataclass(frozen=True)
class VariantInfo:
    """What is known of a variant from those who made it.

    Args:
        score: the figure that they publish and the data that it was measured on; "" if there is none.
        source: where the figure stands.
        picture: height and width that they give it a picture in, at which the zoo counts operations; None if its input
            is not a single picture.
    """

    score: str = ""
    source: str = ""
    picture: tuple[int, int] | None = None


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
        variants: what the zoo tells of each config file.
    """

    name: str
    title: str
    year: int
    roles: tuple[str, ...]
    official: str = ""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    parity: str = "none"
    variants: Mapping[str, VariantInfo] = field(default_factory=dict)


def plugin_modules() -> dict[str, str]:
    """Module path by plugin name, of everything installed; no plugin is imported for it."""
    return {name: modules[0] for name, modules in _claims().items()}


def _claims() -> dict[str, tuple[str, ...]]:
    """Module paths by plugin name: one, unless several installed packages claim the name."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in importlib.metadata.entry_points(group=ENTRY_POINT_GROUP):
        module = entry.value.partition(":")[0].partition("[")[0].strip()         # of "module:name [extra]"
        members = _members_of_collection(module)
        modules = {entry.name: module} if members is None else {name: f"{module}.{name}" for name in members}
        for name, path in modules.items():
            found[name] = tuple(dict.fromkeys((*found.get(name, ()), path)))
    return dict(sorted(found.items()))


def _members_of_collection(module: str) -> list[str] | None:
    """Names of the sub-packages if ``module`` is a package whose ``__init__`` sets no PLUGIN, else None."""
    try:
        spec = importlib.util.find_spec(module)
    except Exception:                              # a parent package may raise anything; asking for it will tell
        return None
    if spec is None or not spec.submodule_search_locations or _sets_plugin(spec.origin):
        return None
    members = pkgutil.iter_modules(spec.submodule_search_locations)
    return sorted(member.name for member in members if member.ispkg and not member.name.startswith("_"))


def _sets_plugin(init_file: str | None) -> bool:
    """Whether the source of an ``__init__`` assigns or imports a PLUGIN."""
    if init_file is None or not init_file.endswith(".py"):
        return False
    try:
        nodes = list(ast.walk(ast.parse(Path(init_file).read_text(encoding="utf-8"))))
    except (OSError, SyntaxError, ValueError):
        return True                                # unreadable: treat it as one plugin, whose import will tell
    names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    imports = [alias for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names]
    return "PLUGIN" in names | {alias.asname or alias.name for alias in imports}


_failures: dict[str, str] = {}                     # by module path: a second import of a broken plugin may tell less


def load_plugin(name: str) -> PluginInfo:
    """Import one plugin, which registers its modules; one that fails leaves none of them registered.

    Raises:
        PluginError: no such plugin is installed, two packages claim its name, its import fails, or it exposes no
            `PluginInfo` named PLUGIN.
    """
    installed = _claims()
    if name not in installed:
        known = ", ".join(installed) or "none"
        raise PluginError(f'no plugin named "{name}" is installed{suggestion(name, installed)}; installed: {known}')
    if len(installed[name]) > 1:
        raise PluginError(f'plugin "{name}" is claimed by {" and by ".join(installed[name])}: uninstall all but one')
    (path,) = installed[name]
    if path in _failures:
        raise PluginError(_failures[path])
    try:
        info = getattr(importlib.import_module(path), "PLUGIN", None)
        if not isinstance(info, PluginInfo):
            raise TypeError("it has no PLUGIN of type PluginInfo")
    except (Exception, SystemExit) as error:       # whatever a third party's module raises, the user learns whose it is
        _unregister(path)
        _failures[path] = f'plugin "{name}" ({path}) cannot be imported: {type(error).__name__}: {error}'
        raise PluginError(_failures[path]) from error
    return info


def _unregister(package: str) -> None:
    for registry in ALL_REGISTRIES:
        for name, cls in list(registry.module_dict.items()):
            if f"{cls.__module__}.".startswith(f"{package}."):
                del registry.module_dict[name]
                registry.roles.pop(name, None)


def load_plugins(names: Iterable[str]) -> list[PluginInfo]:
    """Import the plugins that a config names, in order. Raises PluginError as `load_plugin` does."""
    return [load_plugin(name) for name in names]


def unknown_type(name: str, kind: str, known: Iterable[str]) -> ConfigError:
    """The error for a type that no loaded module registers; installed plugins are tried for the missing line."""
    known, broken = set(known), []
    for plugin in plugin_modules():
        try:
            load_plugin(plugin)
        except PluginError:
            broken.append(plugin)                  # nobody asked for it
            continue
        if any(name in registry.module_dict for registry in ALL_REGISTRIES):
            return ConfigError(f'{kind} "{name}" belongs to a plugin: add plugins = ["{plugin}"] to the config')
    unsearched = f"; broken plugins were not searched: {', '.join(broken)}" if broken else ""
    return ConfigError(f'unknown {kind} "{name}"{suggestion(name, known)}{unsearched}')


def is_known(registry: mmengine_registry.Registry, name: str) -> bool:
    """Whether ``registry`` or a parent can build ``name``: a registered name, or a path to an importable class."""
    try:
        return registry.get(name) is not None
    except RuntimeError:                           # mmengine's answer to a path whose import fails
        return False


def check_types(cfg: Any, where: str = "config") -> None:
    """Look every ``type`` in a config up before anything is built, so that a slip is told by its place.

    Raises:
        ConfigError: a type is in no registry; names the place, the nearest known name or the plugin that has it.
    """
    if isinstance(cfg, Mapping):
        name = cfg.get("type")
        if isinstance(name, str) and not any(is_known(registry, name) for registry in _every_registry()):
            known = {known for registry in _every_registry() for known in registry.module_dict}
            raise ConfigError(f"{where}.type: {unknown_type(name, 'type', known)}")
        for key, value in cfg.items():
            check_types(value, f"{where}.{key}")
    elif isinstance(cfg, (list, tuple)):
        for position, value in enumerate(cfg):
            check_types(value, f"{where}[{position}]")


def _every_registry() -> list[mmengine_registry.Registry]:
    """Ours, and mmengine's, some of which have no counterpart here (log processors, collate functions ...)."""
    importlib.import_module("mmengine.runner")     # registers all of mmengine
    roots = [value for value in vars(mmengine_registry).values() if isinstance(value, mmengine_registry.Registry)]
    return [*ALL_REGISTRIES, *roots]


def list_registered(registry: Registry, role: str | None = None, of: Callable[[type], bool] | None = None) -> list[str]:
    """Names registered in ``registry`` (core modules and the plugins loaded so far), of one role if given."""
    registry.import_from_location()
    names = sorted(registry.module_dict) if role is None else sorted(n for n, r in registry.roles.items() if r == role)
    return [name for name in names if of is None or of(registry.module_dict[name])]
