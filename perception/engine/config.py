"""Reading a config: its plugins are imported and every type in it is looked up before anything is built."""

from __future__ import annotations

import ast
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..errors import ConfigError, PerceptionError, suggestion
from ..registry import check_types, load_plugins
from .config_variables import with_variables

# Keys that a config may leave to their defaults and a command line may set all the same.
OPTIONAL_KEYS = (
    "custom_hooks", "device", "find_unused_parameters", "load_from", "log_level", "num_threads", "param_scheduler",
    "plugins", "randomness", "sync_bn", "work_dir",
)
WORDS = {"true": True, "false": False, "none": None}


def load_config(path: Path | str, overrides: Mapping[str, Any] | Sequence[str] | None = None) -> Config:
    """Read a config file with its bases, import its plugins and check its types.

    Args:
        path: a python-file config.
        overrides: new values by dotted key, such as ``{"optim_wrapper.optimizer.lr": 1e-4}``, or ``"key=value"`` texts.
            A variable of the file, such as ``data_root``, is changed wherever the file and its bases use it.

    Returns:
        The whole config; ``default_scope`` is ``perception`` unless it says otherwise, and is in force from now on.

    Raises:
        ConfigError: the file is missing or broken, an override names nothing, or a type is unknown; names the file.
        PluginError: a plugin is missing or broken.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file")
    values = parse_overrides(overrides)
    cfg = _evaluated(path, {key: value for key, value in values.items() if "." not in key})
    cfg.setdefault("default_scope", "perception")
    init_default_scope(cfg.default_scope)
    try:
        override(cfg, values)
        load_plugins(_plugin_names(cfg))
        check_types(cfg._cfg_dict.to_dict())
    except PerceptionError as error:
        raise type(error)(f"{path}: {error}") from error
    return cfg


def _evaluated(path: Path, variables: Mapping[str, Any]) -> Config:
    try:
        with with_variables(path, variables) as source:
            cfg = Config.fromfile(str(source), lazy_import=False)
    except Exception as error:                     # a config is python: it can fail in any way
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from error
    object.__setattr__(cfg, "_filename", str(path))
    return cfg


def parse_overrides(overrides: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    """``["a.b=1", "c=text"]`` -> ``{"a.b": 1, "c": "text"}``; Python literals are read as such, other values are texts.

    Raises:
        ConfigError: a text has no ``=``.
    """
    if overrides is None or isinstance(overrides, Mapping):
        return dict(overrides or {})
    parsed = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f'an override reads key=value, got "{text}"')
        parsed[key.strip()] = _literal(value.strip())
    return parsed


def override(cfg: Config, values: Mapping[str, Any]) -> None:
    """Set dotted keys in ``cfg``; list elements are named by their position.

    Raises:
        ConfigError: a key leads nowhere. The last part of a key may be new, its parents may not.
    """
    for key, value in values.items():
        *parents, last = key.split(".")
        node: Any = cfg
        for depth, part in enumerate(parents):
            node = _child(node, part, ".".join(parents[: depth + 1]))
        if isinstance(node, list):
            _child(node, last, key)
            node[int(last)] = value
        elif node is cfg and last not in cfg and last not in OPTIONAL_KEYS:
            raise ConfigError(f'override "{key}": the config has no such key{suggestion(last, [*cfg, *OPTIONAL_KEYS])}')
        elif isinstance(node, (MutableMapping, Config)):
            node[last] = value
        else:
            raise ConfigError(f'override "{key}": {".".join(parents)} is {node!r}, which has no parts')


def _child(node: Any, part: str, where: str) -> Any:
    if isinstance(node, list):
        if part.isdigit() and int(part) < len(node):
            return node[int(part)]
        raise ConfigError(f'override "{where}": a list of {len(node)} has no element {part}')
    if isinstance(node, (Mapping, Config)) and part in node:
        return node[part]
    known = list(node) if isinstance(node, (Mapping, Config)) else []
    raise ConfigError(f'override "{where}": the config has no such key{suggestion(part, known)}')


def _literal(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _plugin_names(cfg: Config) -> list[str]:
    names = cfg.get("plugins", [])
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"plugins: expected a list of names, got {names!r}")
    return list(names)
