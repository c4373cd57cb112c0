"""Training a model beside a trained one: losses between any two places of two task models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..engine.checkpoint import load_weights
from ..errors import ConfigError
from ..registry import MODELS
from .last_layers import tensors_of


@MODELS.register_module()
def Distilled(
    student: Mapping[str, Any], teacher: Mapping[str, Any], terms: Sequence[Mapping[str, Any]],
    teacher_checkpoint: str | None = None,
) -> nn.Module:
    """Build a student that also learns from a teacher.

    What it gives is the student, of its own class and with its own keys, so that a checkpoint of the training loads
    into the student's own config, unless a term projects. The teacher is built and loaded when the first loss is asked
    for; it is no part of the checkpoint, and a test does not need it. It sees what the student's data preprocessor
    gave, in evaluation mode.

    Args:
        student, teacher: configs of two task models that take the same inputs.
        terms: see `DistillationTerm`, whose arguments they are.
        teacher_checkpoint: weights of the teacher; None leaves its initial ones.
    """
    model = MODELS.build(student)
    model.add_module("distillation", Distillation(model, teacher, teacher_checkpoint, terms))
    model.register_forward_hook(model.distillation.add_losses, with_kwargs=True)
    return model


class DistillationTerm(nn.Module):
    """A loss between what two modules give.

    Args:
        loss: config of a loss of (student, teacher), such as `HeatmapDistillation`.
        student: name of a module of the student, such as "neck".
        teacher: of the teacher; None is the same name.
        key: takes only what lies under this key of dictionaries (or attribute of records), such as "heatmap"; None
            takes every tensor.
        project: channels of the student's and of the teacher's maps, between which a 1x1 convolution is learnt.
    """

    def __init__(
        self, loss: Mapping[str, Any], student: str, teacher: str | None = None, key: str | None = None,
        project: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.loss = MODELS.build(loss)
        self.student, self.teacher, self.key = student, teacher or student, key
        self.projection = None if project is None else nn.Conv2d(project[0], project[1], 1)

    def forward(self, student: Any, teacher: Any) -> Tensor:
        """Mean of the loss over the pairs of tensors in what two modules gave.

        Raises:
            ConfigError: they gave no tensors, or not as many.
        """
        own, wanted = list(tensors_under(student, self.key)), list(tensors_under(teacher, self.key))
        if not own or len(own) != len(wanted):
            raise ConfigError(
                f"distillation: {self.student} gives {len(own)} tensors and {self.teacher} of the teacher {len(wanted)}"
                f" (key {self.key})"
            )
        projected = own if self.projection is None else [self.projection(one) for one in own]
        return torch.stack([self.loss(*pair) for pair in zip(projected, wanted, strict=True)]).mean()


class Distillation(nn.Module):
    """The terms of a student, and its teacher, which is no part of it.

    Args:
        student: whose modules are watched.
        teacher, checkpoint, terms: see `Distilled`.

    Raises:
        ConfigError: the student has no module of a name.
    """

    def __init__(
        self, student: nn.Module, teacher: Mapping[str, Any], checkpoint: str | None,
        terms: Sequence[Mapping[str, Any]],
    ) -> None:
        super().__init__()
        self.teacher_cfg, self.checkpoint = teacher, checkpoint
        self.terms = nn.ModuleList(DistillationTerm(**term) for term in terms)
        self._teacher: list[nn.Module] = []        # a list, so that it is no sub-module
        self._own: dict[str, Any] = {}
        self._wanted: dict[str, Any] = {}
        self._watch(student, [str(term.student) for term in self.terms], self._own, "student")

    def add_losses(self, _: nn.Module, args: Any, inputs: Mapping[str, Any], output: Any) -> Any:
        """Hook behind the student's forward: in mode "loss", the terms stand beside its own losses."""
        if inputs.get("mode") != "loss":
            self._own.clear()
            return output
        teacher = self._loaded_teacher(next(tensors_of(output)).device)
        with torch.no_grad():
            teacher(*args, **{**inputs, "mode": "tensor"})
        losses = {
            f"distillation.loss_{place}": term(self._own[str(term.student)], self._wanted[str(term.teacher)])
            for place, term in enumerate(self.terms)
        }
        self._own.clear()
        self._wanted.clear()
        return {**output, **losses}

    def _loaded_teacher(self, device: torch.device) -> nn.Module:
        if not self._teacher:
            teacher = MODELS.build(self.teacher_cfg)
            if self.checkpoint is not None:
                load_weights(teacher, self.checkpoint)
            self._watch(teacher, [str(term.teacher) for term in self.terms], self._wanted, "teacher")
            self._teacher.append(teacher.to(device).eval().requires_grad_(False))
        return self._teacher[0]

    def _watch(self, model: nn.Module, names: Sequence[str], seen: dict[str, Any], who: str) -> None:
        modules = dict(model.named_modules())
        for name in dict.fromkeys(names):
            if name not in modules:
                raise ConfigError(f"distillation: the {who} has no module {name!r}")
            modules[name].register_forward_hook(partial(_note, seen, name))


def tensors_under(value: Any, key: str | None) -> Iterator[Tensor]:
    """Tensors in nested containers; with a key, those that lie under it."""
    if key is None:
        yield from tensors_of(value)
    elif isinstance(value, Mapping):
        if key in value:
            yield from tensors_of(value[key])
    elif isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        for part in value:
            yield from tensors_under(part, key)
    elif hasattr(value, key):
        yield from tensors_of(getattr(value, key))


def _note(seen: dict[str, Any], name: str, _: nn.Module, __: Any, output: Any) -> None:
    seen[name] = output
