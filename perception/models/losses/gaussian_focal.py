"""Focal loss for heatmaps with Gaussian bumps.

"CornerNet: Detecting Objects as Paired Keypoints" (Law and Deng, ECCV 2018), equation 1.
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS

EPS = 1e-12


@MODELS.register_module(role="loss")
class GaussianFocalLoss(nn.Module):
    """Penalty-reduced focal loss: a cell near a peak that is no peak counts less.

    Args:
        alpha: exponent of the focal term.
        beta: exponent of the penalty reduction (1 - target).
        loss_weight: factor of the result.
    """

    def __init__(self, alpha: float = 2.0, beta: float = 4.0, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.alpha, self.beta, self.loss_weight = alpha, beta, loss_weight

    def forward(self, logits: Tensor, target: Tensor, normalizer: Tensor | float) -> Tensor:
        """Sum over all cells divided by ``normalizer``: (...) logits and (...) target in [0, 1] -> scalar."""
        score = logits.sigmoid().clamp(1e-4, 1 - 1e-4)
        at_peak = -(score + EPS).log() * (1 - score) ** self.alpha * (target == 1)
        elsewhere = -(1 - score + EPS).log() * score**self.alpha * (1 - target) ** self.beta
        return self.loss_weight * (at_peak + elsewhere).sum() / normalizer
