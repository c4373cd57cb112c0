"""Stop the statistics of batch normalisation before a training ends, so that the weights end up fitting them."""

from __future__ import annotations

from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from ..registry import HOOKS
from .begin_hook import BeginHook


@HOOKS.register_module()
class FreezeNormHook(BeginHook):
    """From an iteration on, normalise by the running statistics, as evaluation does, instead of each batch's own.

    "Rethinking 'Batch' in BatchNorm" (Wu and Johnson, 2021), section 3.3: with small batches the two differ, and what
    is learnt last should fit the ones that are used later. Scale and shift are still trained.

    Args:
        begin: first iteration with frozen statistics.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Every iteration, since an evaluation in between puts the whole model back into training mode."""
        if runner.iter >= self.begin:
            for module in runner.model.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
