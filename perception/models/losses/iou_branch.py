"""Loss of a branch that predicts how well its own box fits: the 3-D IoU with the matched object.

"CIA-SSD: Confident IoU-Aware Single-Stage Object Detector From Point Cloud" (Zheng et al., AAAI 2021), section 3.3.
"""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module(role="loss")
class IoUBranchLoss(nn.Module):
    """L1 between the predicted and the true IoU of each matched object.

    Args:
        loss_weight: factor of the result.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, predicted: Tensor, target: Tensor, mask: Tensor, normalizer: Tensor | float) -> Tensor:
        """(B, K) raw prediction, (B, K) IoU in [0, 1], (B, K) bool mask -> scalar."""
        return self.loss_weight * ((predicted - target).abs() * mask).sum() / normalizer
