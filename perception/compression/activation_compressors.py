"""Weights and activations in 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from ..registry import COMPRESSORS
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .float_parts import SMALLEST
from .input_modules import InputRange, InputScale, put_before, watch_inputs
from .int8 import linear_dynamic
from .last_layers import LAYERS
from .smooth_scale import smooth_scale
from .stored_forms import FakeInt8Tensor, Int8Tensor
from .stored_tensor import Slot, StoredTensor, slots
from .weight_compressors import WeightCompressor


class DynamicLinear(nn.Linear):
    """A linear layer on integers: each row of its input gets the scale of its own largest number."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        return linear_dynamic(x, cast(Int8Tensor, self.stored_weight).rows, self.bias)


@COMPRESSORS.register_module()
class Int8Dynamic(WeightCompressor):
    """8-bit weights everywhere, and products of integers in linear layers (`linear_dynamic`).

    Convolutions, and linear layers whose weights something else reads, compute in float.
    """

    def store(self, taken: Sequence[Slot]) -> None:
        """Put codes in the place of weights."""
        for slot in taken:
            if type(slot.owner) is nn.Linear and slot.key == "weight":
                slot.owner.__class__ = DynamicLinear
        super().store(taken)

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return Int8Tensor(slot)


@COMPRESSORS.register_module()
class Int8Static(WeightCompressor):
    """8-bit weights, and inputs of linear layers and convolutions rounded to a range that data showed.

    Values are those of integers; the products run on floats that hold them.

    Args:
        ranged: layers that have a range; found on the calibration data.
        keep, smallest: see `WeightCompressor`.
    """

    def __init__(
        self, *, ranged: Sequence[str] | None = None, keep: Sequence[str] | None = None, smallest: int = SMALLEST
    ) -> None:
        super().__init__(keep=keep, smallest=smallest)
        self.ranged = ranged

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Look at the inputs of the layers, then store the weights."""
        calibration.need(type(self).__name__)
        bounds: dict[str, tuple[Tensor, Tensor]] = {}

        def note(name: str, x: Tensor) -> None:
            lowest, highest = bounds.get(name, (x.new_zeros(()), x.new_zeros(())))
            if x.numel():
                bounds[name] = torch.minimum(lowest, x.min()), torch.maximum(highest, x.max())

        watch_inputs(model, LAYERS, calibration, note)
        result = super().apply(model, calibration)
        stored = {name.rpartition(".")[0] for name in result.report.compressed}
        self.ranged = [name for name in bounds if name in stored]
        self._place_ranges(model)
        for name in self.ranged:
            cast(InputRange, model.get_submodule(f"{name}.input_range")).set_range(*bounds[name])
        notes = {"layers with a range": len(self.ranged)}
        report = CompressionReport(result.report.compressed, result.report.left_float, notes)
        return Compression(model, ConfigChanges(steps=(self.step(),)), report)

    def restructure(self, model: nn.Module) -> nn.Module:
        """Store whatever numbers a model has, and give the layers ranges to load."""
        super().restructure(model)
        self._place_ranges(model)
        return model

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return Int8Tensor(slot)

    def step(self) -> dict[str, Any]:
        """The config of this compressor."""
        return {**super().step(), "ranged": list(self.ranged or ())}

    def _place_ranges(self, model: nn.Module) -> None:
        for name in self.ranged or ():
            layer = model.get_submodule(name)
            put_before(layer, "input_range", InputRange().to(cast(Tensor, layer.weight).device))


@COMPRESSORS.register_module()
class QuantizeAware(Int8Static):
    """As `Int8Static`, with weights that stay parameters and are rounded when they are read: to be trained further.

    The gradient passes straight through the rounding. `tools/train.py` on the config that is written, with
    ``--cfg-options load_from=...`` of the checkpoint, trains it.
    """

    def make(self, slot: Slot) -> StoredTensor:
        """The form in which a parameter is stored."""
        return FakeInt8Tensor(slot)


@COMPRESSORS.register_module()
class SmoothScale(Compressor):
    """Moves the range of inputs of linear layers into their weights (`smooth_scale`), before both are rounded.

    Outputs stay as they were, up to rounding. For plain layers whose own forward runs and that share no weight.

    Args:
        alpha: share of the range that the weights take.
        scaled: layers that have a scale; found on the calibration data.
    """

    WANTS_FOLDED = True

    def __init__(self, alpha: float = 0.5, *, scaled: Sequence[str] | None = None) -> None:
        self.alpha, self.scaled = alpha, scaled

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Look at the inputs of linear layers, then scale inputs and weights."""
        calibration.need("SmoothScale")
        peaks: dict[str, Tensor] = {}

        def note(name: str, x: Tensor) -> None:
            if x.numel():
                peak = x.abs().reshape(-1, x.shape[-1]).amax(dim=0)                 # (K,)
                peaks[name] = torch.maximum(peaks.get(name, peak), peak)

        watch_inputs(model, (nn.Linear,), calibration, note)
        self.scaled = [name for name in peaks if _has_own_weight(model, name)]
        if not self.scaled:
            raise ValueError("SmoothScale: no plain linear layer ran on the calibration data")
        self.restructure(model)
        with torch.no_grad():
            for name in self.scaled:
                layer = cast(nn.Linear, model.get_submodule(name))
                scale = smooth_scale(peaks[name].float(), layer.weight.abs().amax(dim=0).float(), self.alpha)
                cast(InputScale, layer.input_scale).scale.copy_(scale)
                layer.weight.mul_(scale)
        step = {"type": "SmoothScale", "alpha": self.alpha, "scaled": list(self.scaled)}
        return Compression(model, ConfigChanges(steps=(step,)), CompressionReport(tuple(self.scaled)))

    def restructure(self, model: nn.Module) -> nn.Module:
        """Give the layers scales to load."""
        for name in self.scaled or ():
            layer = cast(nn.Linear, model.get_submodule(name))
            put_before(layer, "input_scale", InputScale(layer.in_features).to(layer.weight.device))
        return model


def _has_own_weight(model: nn.Module, name: str) -> bool:
    layer = model.get_submodule(name)
    return type(layer) is nn.Linear and sum(slot.parameter is layer.weight for slot in slots(model)) == 1
