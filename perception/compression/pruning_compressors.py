"""Weights that become zero, and hidden units that go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from ..registry import COMPRESSORS
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .float_parts import SMALLEST, Choice, choose, layers_to_keep
from .hidden_units import keep_units, most_important, unit_importance
from .magnitude import global_magnitude_masks, two_of_four_mask


class _ZeroWeights(Compressor):
    """Sets weights to zero; the model keeps its structure, and its config.

    Args:
        keep: modules or parameters that stay; None keeps the last layers of the model.
        smallest: numbers that a tensor must have.
    """

    def __init__(self, *, keep: Sequence[str] | None = None, smallest: int = SMALLEST) -> None:
        self.keep, self.smallest = keep, smallest

    def choice(self, model: nn.Module, calibration: Calibration) -> Choice:
        """What is masked and what is not."""
        return choose(model, layers_to_keep(model, calibration, self.keep), smallest=self.smallest)

    def result(self, model: nn.Module, choice: Choice, masks: Sequence[Tensor]) -> Compression:
        """Set to zero where the masks say False, and tell the share."""
        with torch.no_grad():
            for slot, mask in zip(choice.taken, masks, strict=True):
                slot.parameter.mul_(mask)
        total, stay = sum(mask.numel() for mask in masks), sum(int(mask.sum()) for mask in masks)
        report = CompressionReport(
            tuple(slot.name for slot in choice.taken), tuple(choice.left), {"zero": 1 - stay / max(1, total)}
        )
        return Compression(model, ConfigChanges(), report)


@COMPRESSORS.register_module()
class MagnitudeMask(_ZeroWeights):
    """Sets the smallest weights of all tensors together to zero; see `global_magnitude_masks`.

    Args:
        sparsity: share of them, in [0, 1].
        keep, smallest: as there.
    """

    def __init__(
        self, sparsity: float = 0.5, *, keep: Sequence[str] | None = None, smallest: int = SMALLEST
    ) -> None:
        super().__init__(keep=keep, smallest=smallest)
        self.sparsity = sparsity

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Mask; the data serves to find the last layers alone."""
        choice = self.choice(model, calibration)
        return self.result(model, choice, global_magnitude_masks([s.parameter for s in choice.taken], self.sparsity))


@COMPRESSORS.register_module()
class TwoOfFour(_ZeroWeights):
    """Of each four consecutive inputs two weights become zero; see `two_of_four_mask`.

    Of convolutions the inputs are the channels at one place of the kernel; layers whose inputs do not come in fours
    stay as they are. Quicker only on GPUs that have units for it.
    """

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Mask; the data serves to find the last layers alone."""
        found = self.choice(model, calibration)
        taken = [slot for slot in found.taken if slot.parameter.shape[1] % 4 == 0]
        choice = Choice(taken, found.left + [slot.name for slot in found.taken if slot not in taken])
        masks = [two_of_four_mask(slot.parameter.movedim(1, -1)).movedim(-1, 1) for slot in taken]
        return self.result(model, choice, masks)


class HiddenPair(NamedTuple):
    """Two linear layers with hidden units between them.

    Args:
        name: of the module that has both.
        fc1, fc2: the layers.
    """

    name: str
    fc1: nn.Linear
    fc2: nn.Linear


@COMPRESSORS.register_module()
class PruneHidden(Compressor):
    """Keeps the heaviest hidden units of the feed-forward parts; see `unit_importance`.

    Args:
        share: of the units of each part that stays, in (0, 1].
        widths: units that stay by the name of the part; replaces ``share``.
    """

    def __init__(self, share: float = 0.5, *, widths: Mapping[str, int] | None = None) -> None:
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        self.share, self.widths = share, widths

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Drop units; needs no data."""
        pairs = list(hidden_pairs(model))
        if not pairs:
            raise ValueError("PruneHidden: the model has no feed-forward part of two linear layers")
        widths = self.widths or {pair.name: max(1, round(self.share * pair.fc1.out_features)) for pair in pairs}
        for pair in pairs:
            if pair.name in widths:
                weigh = unit_importance(pair.fc1.weight, pair.fc1.bias, pair.fc2.weight)
                keep_units(pair.fc1, pair.fc2, most_important(weigh, widths[pair.name]))
        step = {"type": "PruneHidden", "widths": dict(widths)}
        return Compression(model, ConfigChanges(steps=(step,)), CompressionReport(tuple(widths)))

    def restructure(self, model: nn.Module) -> nn.Module:
        """Give the parts the widths that were kept."""
        for pair in hidden_pairs(model):
            if self.widths and pair.name in self.widths:
                keep_units(pair.fc1, pair.fc2, torch.arange(self.widths[pair.name], device=pair.fc1.weight.device))
        return model


def hidden_pairs(model: nn.Module) -> Iterator[HiddenPair]:
    """Modules whose only parameters are those of two plain linear layers, C to F to C, with F another width than C."""
    seen: set[nn.Module] = set()
    for name, module in model.named_modules():
        learnt: list[Any] = [part for part in module.modules() if part._parameters]
        if len(learnt) != 2 or any(type(part) is not nn.Linear for part in learnt):
            continue
        fc1, fc2 = (cast(nn.Linear, part) for part in learnt)
        is_pair = fc1.out_features == fc2.in_features != fc1.in_features == fc2.out_features
        if is_pair and fc1 not in seen:
            seen.add(fc1)
            yield HiddenPair(name, fc1, fc2)
