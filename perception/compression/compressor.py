"""What makes a trained model smaller, and what a config needs so that the result can be built again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from perception.structures import Frame


@dataclass(frozen=True)
class Calibration:
    """Data that a compressor may look at.

    Args:
        batches: what a model's data preprocessor gave for some frames of the training split.
        score: the metric of a model on held-out frames, larger is better; None if the caller has none.
    """

    batches: Sequence[Mapping[str, Any]] = ()
    score: Callable[[nn.Module], float] | None = None

    @torch.no_grad()
    def run(self, model: nn.Module) -> None:
        """Run all batches through a model in evaluation mode; what it gives is dropped."""
        for batch in self.batches:
            model(**batch, mode="tensor")

    def need(self, purpose: str) -> None:
        """Raise ValueError if there are no batches, saying what they are needed for."""
        if not self.batches:
            raise ValueError(f"{purpose} needs calibration data, got no batches")


@dataclass(frozen=True)
class ConfigChanges:
    """How the config of a model becomes that of its compressed form.

    Args:
        overrides: new values by dotted key inside the model's config, for architectures that are told apart by their
            arguments, such as a hidden width.
        steps: configs of compressors whose `Compressor.restructure` a model goes through once it is built, in order.
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class CompressionReport:
    """What was done.

    Args:
        compressed: names of the tensors or modules that were.
        left_float: names of those that could have been and were left as they are, or that no rule knows.
        notes: further figures by name.
    """

    compressed: tuple[str, ...] = ()
    left_float: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


class Compression(NamedTuple):
    """What a compressor gives.

    Args:
        model: the compressed one.
        changes: of its config.
        report: what was done.
        weights: what a checkpoint is to hold, if not the model's state dict.
    """

    model: nn.Module
    changes: ConfigChanges
    report: CompressionReport
    weights: Mapping[str, Tensor] | None = None


class Compressor(ABC):
    """Makes a model smaller or cheaper.

    Registered in `COMPRESSORS`, by the core or by a plugin; arguments are plain values, since the steps of
    `ConfigChanges` are configs.
    """

    WANTS_FOLDED: ClassVar[bool] = False           # normalisations are to be folded into their layers first

    @abstractmethod
    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Compress a trained model in evaluation mode.

        Args:
            model: may be changed in place.
            calibration: data, maybe none.

        Raises:
            ValueError: the model has nothing of the kind that is compressed, or data is needed and missing.
        """

    def restructure(self, model: nn.Module) -> nn.Module:
        """Give a model as its config builds it the structure into which the compressed weights load.

        Called for the compressors in ``steps``; those that change only numbers leave the model as it is.
        """
        return model


def run_frames(model: Any, frames: Sequence[Frame]) -> Any:
    """Raw maps of a task model for some frames."""
    return model(**model.data_preprocessor(list(frames), False), mode="tensor")
