"""Weights alone in fewer bits: smaller files and less memory; products are those of floats."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import nn

from ..registry import COMPRESSORS
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .float_parts import SMALLEST, Choice, choose, layers_to_keep
from .low_rank import rank_of_share, saves_numbers
from .stored_forms import Int4Tensor, Int8Tensor, LowRankTensor
from .stored_tensor import Slot, StoredTensor, store_all


class WeightCompressor(Compressor):
    """Stores matrices and kernels in another form.

    Args:
        keep: modules or parameters that stay in float; None keeps the last layers of the model, which are found with a
            batch of calibration data.
        smallest: numbers that a tensor must have to be worth it.
    """

    WANTS_FOLDED = True

    def __init__(self, *, keep: Sequence[str] | None = None, smallest: int = SMALLEST) -> None:
        self.keep, self.smallest = keep, smallest

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Store the weights; of the data one batch is needed at most."""
        self.keep = layers_to_keep(model, calibration, self.keep)
        choice = self.choice(model)
        if not choice.taken:
            raise ValueError(f"{type(self).__name__}: no weight is left to compress beside keep = {self.keep}")
        self.store(choice.taken)
        report = CompressionReport(tuple(slot.name for slot in choice.taken), tuple(choice.left))
        return Compression(model, ConfigChanges(steps=(self.step(),)), report)

    def restructure(self, model: nn.Module) -> nn.Module:
        """Store whatever numbers a model has."""
        self.store(self.choice(model).taken)
        return model

    def choice(self, model: nn.Module) -> Choice:
        """What is compressed and what is not."""
        return choose(model, self.keep or (), smallest=self.smallest)

    def store(self, taken: Sequence[Slot]) -> None:
        """Put the stored form in the place of each parameter."""
        store_all(taken, self.make)

    @abstractmethod
    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""

    def step(self) -> dict[str, Any]:
        """The config of this compressor, the layers that were kept included."""
        return {"type": type(self).__name__, "keep": list(self.keep or ()), "smallest": self.smallest}


@COMPRESSORS.register_module()
class Int8Weights(WeightCompressor):
    """Weights as symmetric 8-bit codes with a scale for each output; see `quantize_rows`."""

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return Int8Tensor(slot)


@COMPRESSORS.register_module()
class Int4Weights(WeightCompressor):
    """Weights as asymmetric 4-bit codes with a scale and a zero for each group of inputs; see `quantize_groups`.

    Args:
        group: inputs of a group.
        keep, smallest: see `WeightCompressor`.
    """

    def __init__(self, group: int = 32, *, keep: Sequence[str] | None = None, smallest: int = SMALLEST) -> None:
        super().__init__(keep=keep, smallest=smallest)
        if group < 1:
            raise ValueError(f"a group must have one input or more, got {group}")
        self.group = group

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return Int4Tensor(slot, self.group)

    def step(self) -> dict[str, Any]:
        """The config of this compressor."""
        return {**super().step(), "group": self.group}


class LowRankLinear(nn.Linear):
    """A linear layer that multiplies by two factors in turn."""

    def forward(self, x: Any) -> Any:
        """(..., K) -> (..., N)."""
        factors: Any = self.stored_weight
        return nn.functional.linear(nn.functional.linear(x, factors.right), factors.left, self.bias)


@COMPRESSORS.register_module()
class LowRank(WeightCompressor):
    """Linear layers as two thin ones, the nearest matrix of a rank; see `low_rank_factors`.

    Where something else than the layer reads its weight, such as an op that takes several layers at once, it gets the
    product of the factors: fewer bytes, the same operations.

    Args:
        share: numbers of the factors over those of the matrix, in (0, 1).
        keep, smallest: see `WeightCompressor`.
    """

    def __init__(
        self, share: float = 0.5, *, keep: Sequence[str] | None = None, smallest: int = SMALLEST
    ) -> None:
        super().__init__(keep=keep, smallest=smallest)
        if not 0.0 < share < 1.0:
            raise ValueError(f"share must lie in (0, 1), got {share}")
        self.share = share

    def choice(self, model: nn.Module) -> Choice:
        """Matrices of linear layers for which factors of the share are thinner."""
        taken, left = super().choice(model)
        thin = [slot for slot in taken if isinstance(slot.owner, nn.Linear) and self._is_thin(slot)]
        return Choice(thin, left + [slot.name for slot in taken if slot not in thin])

    def store(self, taken: Sequence[Slot]) -> None:
        """Put factors in the place of weights."""
        for slot in taken:
            if type(slot.owner) is nn.Linear:
                slot.owner.__class__ = LowRankLinear
        super().store(taken)

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return LowRankTensor(slot, rank_of_share(slot.parameter.shape[0], slot.parameter.shape[1], self.share))

    def step(self) -> dict[str, Any]:
        """The config of this compressor."""
        return {**super().step(), "share": self.share}

    def _is_thin(self, slot: Slot) -> bool:
        rows, columns = slot.parameter.shape
        return saves_numbers(rows, columns, rank_of_share(rows, columns, self.share))
