"""Linear layers through torchao, whose kernels may be quicker than ours; the extra is ``compress``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..errors import MissingExtraError
from ..registry import COMPRESSORS
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .float_parts import layers_to_keep
from .input_modules import watch_inputs

KINDS = {"int8_weights": "Int8WeightOnlyConfig", "int8_dynamic": "Int8DynamicActivationInt8WeightConfig"}


@COMPRESSORS.register_module()
class TorchAO(Compressor):
    """`torchao.quantization.quantize_` on plain linear layers whose own forward runs.

    torchao changes tensors into a class of its own, so the checkpoint keeps the float weights, and they are quantised
    each time when they have been loaded: less memory, the same file. Its integer products are not among the operations
    that are counted.

    Args:
        kind: "int8_weights", or "int8_dynamic" with products of integers.
        layers: what is quantised; found on the calibration data.
        keep: modules that stay in float; None keeps the last layers of the model.

    Raises:
        ValueError: the kind is another.
        MissingExtraError: torchao is not installed.
    """

    WANTS_FOLDED = True

    def __init__(
        self, kind: str = "int8_weights", *, layers: Sequence[str] | None = None, keep: Sequence[str] | None = None
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        self.kind, self.layers, self.keep = kind, layers, keep
        self.quantization = _quantization()

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Find the layers, keep the float weights, quantise."""
        calibration.need("TorchAO")
        keep, ran = layers_to_keep(model, calibration, self.keep), set()
        watch_inputs(model, (nn.Linear,), calibration, lambda name, _: ran.add(name))
        linear = [name for name, module in model.named_modules() if type(module) is nn.Linear]
        self.layers = [name for name in linear if name in ran and name not in keep]
        if not self.layers:
            raise ValueError("no plain linear layer beside those that are kept ran on the calibration data")
        weights = {key: value.clone() for key, value in model.state_dict().items()}
        self._quantize(model)
        left = tuple(name for name in linear if name not in self.layers)
        step = {"type": "TorchAO", "kind": self.kind, "layers": list(self.layers)}
        return Compression(model, ConfigChanges(steps=(step,)), CompressionReport(tuple(self.layers), left), weights)

    def restructure(self, model: nn.Module) -> nn.Module:
        """Quantise whenever weights have been loaded."""
        model.register_load_state_dict_post_hook(lambda loaded, _: self._quantize(loaded))
        return model

    def _quantize(self, model: nn.Module) -> None:
        chosen = set(self.layers or ())
        config = getattr(self.quantization, KINDS[self.kind])()
        self.quantization.quantize_(model, config, filter_fn=lambda _, name: name in chosen)


def _quantization() -> Any:
    try:
        from torchao import quantization
    except ImportError as error:
        raise MissingExtraError("compress", "the compressor TorchAO") from error
    return quantization
