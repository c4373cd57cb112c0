"""The student by itself, as a file that a config of its own loads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from perception.engine.checkpoint import save_checkpoint
from perception.registry import HOOKS

from .self_training import SelfTraining


@HOOKS.register_module()
class StudentHook(Hook):
    """Writes the student's weights into the work directory when the training ends.

    Args:
        filename: of the checkpoint, which a config whose model is the student loads.
    """

    priority = "LOW"

    def __init__(self, filename: str = "student.pth") -> None:
        self.filename = filename

    def after_train(self, runner: Any) -> None:
        """Write it."""
        model = getattr(runner.model, "module", runner.model)
        if get_rank() != 0 or not isinstance(model, SelfTraining):
            return
        path = Path(runner.work_dir) / self.filename
        meta = {"classes": list(model.classes), "model": type(model.student).__name__, "iter": runner.iter}
        save_checkpoint({"state_dict": model.student.state_dict(), "meta": meta}, path)
        runner.logger.info(f"the student is in {path}")
