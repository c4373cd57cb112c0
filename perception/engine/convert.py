"""From an official checkpoint to one of ours, through the key map of its plugin."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..registry import load_plugin, plugin_modules
from .checkpoint import load_checkpoint, save_checkpoint


@dataclass(frozen=True)
class ConvertedCheckpoint:
    """What was written.

    Args:
        num_tensors: tensors in the file.
        num_values: numbers in all of them.
        config_options: config overrides that a model needs to take the weights.
    """

    num_tensors: int
    num_values: int
    config_options: Mapping[str, Any] = field(default_factory=dict)


def convert_checkpoint(plugin: str, source: Path | str, target: Path | str) -> ConvertedCheckpoint:
    """Map the keys of an official checkpoint and write it anew, whole or not at all.

    Args:
        plugin: its ``load_official`` maps the keys; its ``config_options``, if it has one, tells what the config needs.
        source: official checkpoint; it is read without running code.
        target: file to write.

    Raises:
        PluginError: there is no such plugin.
        CheckpointError: the plugin has no key map, the source is unreadable, unsafe or of another architecture (its
            keys are listed), or the target cannot be written.
    """
    load_plugin(plugin)
    module = sys.modules[plugin_modules()[plugin]]
    if not hasattr(module, "load_official"):
        raise CheckpointError(f'plugin "{plugin}" has no official checkpoints to convert')
    official = load_checkpoint(source)["state_dict"]
    try:
        state = module.load_official(official)
        options = module.config_options(official) if hasattr(module, "config_options") else {}
    except CheckpointError as error:
        raise CheckpointError(f"{source}: not a {plugin} checkpoint: {error}") from error
    meta = {"converted_from": Path(source).name, "plugin": plugin, "config_options": dict(options)}
    save_checkpoint({"state_dict": state, "meta": meta}, target)
    return ConvertedCheckpoint(len(state), sum(tensor.numel() for tensor in state.values()), options)
