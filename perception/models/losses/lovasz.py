"""The Lovász-Softmax loss: a convex surrogate of the mean intersection over union.

"The Lovász-Softmax loss: A tractable surrogate for the optimization of the intersection-over-union measure in neural
networks" (Berman et al., CVPR 2018), section 3 and algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.losses.normalizers import sum_over_ranks, world_size
from perception.registry import MODELS
from perception.structures.segmentation import IGNORE_LABEL


@MODELS.register_module(role="loss")
class LovaszSoftmaxLoss(nn.Module):
    """One loss for the whole batch; classes without a true row in it are left out of the mean.

    Args:
        ignore_label: rows of this class do not count.
        loss_weight: factor of the result.
    """

    def __init__(self, ignore_label: int = IGNORE_LABEL, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.ignore_label, self.loss_weight = ignore_label, loss_weight

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """(N, K) logits and (N,) int64 classes -> scalar: the mean over the classes of all ranks, 0 without any."""
        known = target != self.ignore_label
        scores, target = logits[known].float().softmax(dim=1), target[known]                 # (N', K), (N',)
        is_class = F.one_hot(target, logits.shape[1]).T                    # (K, N')
        present = is_class.any(dim=1)
        losses = logits.new_zeros((), dtype=torch.float32) + scores.sum() * 0.0              # keeps the graph whole
        if len(target):
            losses = losses + lovasz_hinge_sums(scores.T[present], is_class[present]).sum()
        classes = sum_over_ranks(present.sum()).clamp(min=1)
        return self.loss_weight * losses * world_size() / classes


def lovasz_hinge_sums(scores: Tensor, is_class: Tensor) -> Tensor:
    """Lovász extension of the Jaccard loss of each class at its errors.

    Args:
        scores: (K, N) probabilities of the classes.
        is_class: (K, N) int64, 1 where a row truly is of the class, at least once for each.

    Returns:
        (K,) losses in [0, 1].
    """
    errors, order = (is_class - scores).abs().sort(dim=1, descending=True)                   # (K, N)
    true = is_class.gather(1, order)
    return (errors * jaccard_steps(true)).sum(dim=1)


def jaccard_steps(true: Tensor) -> Tensor:
    """How much 1 - IoU grows when the rows, most mistaken first, become mistakes one after the other: (K, N) each."""
    total = true.sum(dim=1, keepdim=True)
    missed = true.cumsum(dim=1)
    intersection, union = total - missed, total + (1 - true).cumsum(dim=1)
    jaccard = 1.0 - intersection / union                                                     # (K, N) float
    return torch.cat([jaccard[:, :1], jaccard.diff(dim=1)], dim=1)
