"""The losses of `distillation` as modules, for configs."""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS

from .distillation import (
    attention_transfer,
    channel_distillation,
    dense_distillation,
    heatmap_distillation,
    logit_distillation,
)


class DistillationLoss(nn.Module):
    """A weighted loss of (student, teacher).

    Args:
        temperature: T > 0; losses without one leave it alone.
        loss_weight: factor of the result.

    Raises:
        ValueError: the temperature is not positive.
    """

    def __init__(self, *, temperature: float = 1.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        self.temperature, self.loss_weight = temperature, loss_weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Two tensors of one place of both models -> scalar."""
        return self.loss_weight * self.compare(student, teacher)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss before its weight."""
        raise NotImplementedError


@MODELS.register_module(role="loss")
class LogitDistillation(DistillationLoss):
    """`logit_distillation` of (B, K); each place of more dimensions (B, K, ...) counts as a sample."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss before its weight."""
        if student.dim() <= 2:
            return logit_distillation(student, teacher, self.temperature)
        return dense_distillation(student, teacher, temperature=self.temperature)


@MODELS.register_module(role="loss")
class HeatmapDistillation(DistillationLoss):
    """`heatmap_distillation` of logits of any shape."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss before its weight."""
        return heatmap_distillation(student, teacher)


@MODELS.register_module(role="loss")
class AttentionTransfer(DistillationLoss):
    """`attention_transfer` of maps (B, C, H, W), whose channels may differ."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss before its weight."""
        return attention_transfer(student, teacher)


@MODELS.register_module(role="loss")
class ChannelDistillation(DistillationLoss):
    """`channel_distillation` of maps (B, C, H, W)."""

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss before its weight."""
        return channel_distillation(student, teacher, self.temperature)
