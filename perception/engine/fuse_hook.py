"""Fold batch normalisation before a test."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from ..compression.batch_norm import fold_batch_norms
from ..registry import HOOKS


@HOOKS.register_module()
class FuseHook(Hook):
    """Folds the model's normalisations once its weights are loaded; see `fold_batch_norms`."""

    def before_test(self, runner: Any) -> None:
        """Fold; a second test finds nothing left to fold."""
        folded = fold_batch_norms(runner.model.eval())
        runner.logger.info("folded batch normalisation in %d parts of the model", folded)
