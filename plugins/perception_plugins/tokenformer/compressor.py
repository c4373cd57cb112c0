"""Growth of parameter tokens, as a compressor: the opposite of compression, by the same tool."""

from __future__ import annotations

from torch import nn

from perception.compression.compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from perception.registry import COMPRESSORS

from .growth import grow_model
from .pattention import Pattention


@COMPRESSORS.register_module()
class TokenGrowth(Compressor):
    """A larger model that begins with equal outputs (TokenFormer, section 3.3): the opposite of compression.

    Args:
        factor: times as many rows of each table, rounded; above 1.
        zero_keys, pin_scale: see `Pattention.grow`.
    """

    def __init__(self, factor: float = 2.0, *, zero_keys: bool = True, pin_scale: bool = True) -> None:
        self.factor, self.zero_keys, self.pin_scale = factor, zero_keys, pin_scale

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Grow; needs no data. Raises ValueError as `grow_model`."""
        grow_model(model, factor=self.factor, zero_keys=self.zero_keys, pin_scale=self.pin_scale)
        names = tuple(name for name, part in model.named_modules() if isinstance(part, Pattention))
        changes = ConfigChanges(steps=({"type": "TokenGrowth", "factor": self.factor, "pin_scale": self.pin_scale},))
        return Compression(model, changes, CompressionReport(names))

    def restructure(self, model: nn.Module) -> nn.Module:
        """With tables of the grown sizes."""
        grow_model(model, factor=self.factor, pin_scale=self.pin_scale)
        return model
