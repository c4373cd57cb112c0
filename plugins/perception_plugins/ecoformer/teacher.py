"""From one attention to the next: PVTv2's own -> softmax among all tokens (the teacher) -> codes (the student).

EcoFormer's recipe: a released PVTv2 is trained on with softmax attention, and what comes of it is the beginning of the
network with hash functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from perception.engine.checkpoint import load_checkpoint, load_weights
from perception.registry import HOOKS


def with_attention_of(wanted: Iterable[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a network whose attention is of another kind, as a network with the wanted keys takes them.

    Packed softmax attention is put together from separate queries, keys and values, whose reduction is dropped; shared
    queries and keys take the queries, and the keys are dropped.

    Args:
        wanted: keys of the network that is to begin with these weights.
        state: weights by our keys.
    """
    adapted = dict(state)
    for key in wanted:
        stem, layer, name = _split(key)
        if key in state or layer not in ("in_proj", "to_qk"):
            continue
        packed = _taken(adapted, stem, name)
        if packed is not None and layer == "in_proj":
            adapted[key] = packed
        elif packed is not None:
            adapted[key], _, adapted[f"{stem}to_v.{name}"] = packed.chunk(3)
    return adapted


def _split(key: str) -> tuple[str, str, str]:
    """``a.b.layer.weight`` -> ``a.b.``, ``layer``, ``weight``."""
    stem, _, name = key.rpartition(".")
    stem, dot, layer = stem.rpartition(".")
    return stem + dot, layer, name


def _taken(state: dict[str, Tensor], stem: str, name: str) -> Tensor | None:
    """Rows of queries, keys and values of one attention, which lose their places in the state."""
    if f"{stem}in_proj.{name}" in state:
        return state.pop(f"{stem}in_proj.{name}")
    if f"{stem}kv.{name}" not in state:
        return None
    for part in ("reduce", "norm"):
        state.pop(f"{stem}{part}.{name}", None)
    for part in ("weight", "bias"):
        if f"{stem}proj.{part}" in state:
            state[f"{stem}out_proj.{part}"] = state.pop(f"{stem}proj.{part}")
    return torch.cat([state.pop(f"{stem}q.{name}"), state.pop(f"{stem}kv.{name}")])


def load_teacher(model: nn.Module, source: Path | str) -> None:
    """Begin with the weights of a network that has another attention; hash functions stay as they are.

    Args:
        model: takes the weights.
        source: checkpoint with our keys; those of a released one come from `load_official`.

    Raises:
        CheckpointError: unreadable, or of another architecture in more than its attention.
    """
    checkpoint = load_checkpoint(source)
    wanted = model.state_dict()
    state = with_attention_of(wanted, checkpoint["state_dict"])
    hashes = sorted({key[: key.index(".hash.") + len(".hash.")] for key in wanted if ".hash." in key})
    load_weights(model, {**checkpoint, "state_dict": state}, str(source), may_lack=hashes)


@HOOKS.register_module()
class TeacherHook(Hook):
    """A training begins with the weights of its teacher, see `load_teacher`; one that is resumed does not.

    Args:
        checkpoint: of the teacher.
    """

    priority = "VERY_HIGH"

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def before_train(self, runner: Any) -> None:
        """Load them."""
        if not runner._resume:
            load_teacher(getattr(runner.model, "module", runner.model), self.checkpoint)
