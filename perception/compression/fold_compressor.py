"""Folding of normalisations as a step of compression: what is rounded afterwards is what is computed."""

from __future__ import annotations

from torch import nn

from ..registry import COMPRESSORS
from .batch_norm import Foldable, fold_batch_norms
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges


@COMPRESSORS.register_module()
class FoldBatchNorm(Compressor):
    """`fold_batch_norms`; outputs stay as they were, up to rounding."""

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Fold; needs no data."""
        names = tuple(name for name, part in model.named_modules() if isinstance(part, Foldable))
        fold_batch_norms(model)
        steps = ({"type": "FoldBatchNorm"},) if names else ()
        return Compression(model, ConfigChanges(steps=steps), CompressionReport(names))

    def restructure(self, model: nn.Module) -> nn.Module:
        """Fold what has been built, whatever its numbers are."""
        was_training = model.training
        fold_batch_norms(model.eval())
        return model.train(was_training)
