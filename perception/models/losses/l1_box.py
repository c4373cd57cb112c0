"""L1 loss between box codes."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module(role="loss")
class L1BoxLoss(nn.Module):
    """Weighted absolute difference of the codes of matched objects; a target that is NaN is left out.

    Args:
        code_weights: weight of each column of the code; none means ones.
        loss_weight: factor of the result.
    """

    code_weights: Tensor | None

    def __init__(self, code_weights: Sequence[float] | None = None, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.num_codes = None if code_weights is None else len(code_weights)
        weights = None if code_weights is None else Tensor(list(code_weights))
        self.register_buffer("code_weights", weights, persistent=False)

    def forward(self, codes: Tensor, target: Tensor, mask: Tensor, normalizer: Tensor | float) -> Tensor:
        """(B, K, D) codes and target, (B, K) bool mask -> scalar, the weighted sum divided by ``normalizer``."""
        if self.num_codes is not None and self.num_codes != codes.shape[2]:
            raise ValueError(f"code_weights has {self.num_codes} columns for codes of {codes.shape[2]}")
        counted = mask[:, :, None] & ~target.isnan()                                     # (B, K, D)
        difference = (codes - target.nan_to_num()).abs() * counted
        if self.code_weights is not None:
            difference = difference * self.code_weights
        return self.loss_weight * difference.sum() / normalizer
