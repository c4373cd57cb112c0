"""Building the compressed form of a model from a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from ..registry import COMPRESSORS, MODELS
from .compressor import ConfigChanges


@MODELS.register_module()
def Compressed(model: Mapping[str, Any], steps: Sequence[Mapping[str, Any]]) -> nn.Module:
    """Build a model and give it the structure that its compressed weights have.

    As ``model = dict(type="Compressed", model=dict(type="Detector", ...), steps=[...])`` it takes the place of the
    model in a config, so that every tool builds it; what it gives is of the inner model's class. `tools/compress.py`
    writes such configs.

    Args:
        model: config of the model.
        steps: configs of the compressors that were applied, in order.
    """
    built = MODELS.build(model)
    for step in steps:
        built = COMPRESSORS.build(step).restructure(built)
    return built


def changed_config(model: Mapping[str, Any], changes: ConfigChanges) -> dict[str, Any]:
    """The config of a compressed model from that of the model, which may be a compressed one itself.

    Raises:
        KeyError: an override leads nowhere.
    """
    inner, steps = (model["model"], model["steps"]) if model["type"] == "Compressed" else (model, ())
    inner = _copied(inner)
    for key, value in changes.overrides.items():
        *parents, last = key.split(".")
        node = inner
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[int(last) if isinstance(node, list) else last] = value
    steps = [*(_copied(step) for step in steps), *(_copied(step) for step in changes.steps)]
    return {"type": "Compressed", "model": inner, "steps": steps} if steps else inner


def _copied(value: Any) -> Any:
    """Plain containers that can be written to a config."""
    if isinstance(value, Mapping):
        return {key: _copied(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copied(part) for part in value] if isinstance(value, list) else tuple(_copied(part) for part in value)
    return value
