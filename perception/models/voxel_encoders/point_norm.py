"""Batch normalisation over rows that may be few or none."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_eval

from perception_ops import is_portable


class PointBatchNorm(nn.BatchNorm1d):
    """BatchNorm1d over (N, C) rows; with fewer than two rows a training step uses and keeps the running statistics."""

    def forward(self, rows: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        if self.training and rows.shape[0] < 2:
            return F.batch_norm(rows, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        return self._written_out(rows) if is_portable() and not self.training else super().forward(rows)

    def _written_out(self, rows: Tensor) -> Tensor:
        """The same in evaluation; torch's own asks whether there are rows, which a traced graph does not know yet."""
        assert self.running_mean is not None
        assert self.running_var is not None
        normal = (rows - self.running_mean) * (self.running_var + self.eps).rsqrt()
        return normal if self.weight is None else normal * self.weight + self.bias


class PointLayer(nn.Module):
    """Linear without bias, batch normalisation, ReLU: (N, C_in) -> (N, C_out).

    Args:
        in_channels: C_in.
        channels: C_out.
        eps: of the normalisation.
        momentum: of its running statistics.
    """

    def __init__(self, in_channels: int, channels: int, *, eps: float = 1e-3, momentum: float = 0.01) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, channels, bias=False)
        self.norm: nn.Module = PointBatchNorm(channels, eps=eps, momentum=momentum)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, C_in) -> (N, C_out)."""
        return self.norm(self.linear(rows)).relu()

    def fold_batch_norm(self) -> None:
        """Give the normalisation's scale and shift to the linear layer; for evaluation only."""
        if isinstance(self.norm, PointBatchNorm):
            self.linear = fuse_linear_bn_eval(self.linear, self.norm)
            self.norm = nn.Identity()
