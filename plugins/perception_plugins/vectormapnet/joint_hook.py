"""The paper's second stage within one run: from an iteration on, the generator learns from what the detector finds."""

from __future__ import annotations

from typing import Any

from perception.engine.begin_hook import BeginHook
from perception.registry import HOOKS

from .map_head import VectorMapHead


@HOOKS.register_module()
class JointStageHook(BeginHook):
    """Sets ``joint`` of every `VectorMapHead` of the model.

    VectorMapNet (Liu et al., ICML 2023), section 3.5.

    Args:
        begin: first iteration of the second stage.
    """

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Every iteration, so that a training that is resumed is in the right stage."""
        for module in runner.model.modules():
            if isinstance(module, VectorMapHead):
                module.joint = runner.iter >= self.begin
