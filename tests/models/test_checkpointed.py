"""Blocks whose norms count a batch are run again for the gradient without counting it again."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.checkpointed import checkpointed


class NormedLayer(nn.Module):
    """A block whose output and gradient depend on the batch's own statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, momentum=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.bn(self.conv(x)))


def test_a_block_that_runs_again_counts_its_batch_once():
    torch.manual_seed(0)
    plain = NormedLayer()
    again = NormedLayer()
    again.load_state_dict(plain.state_dict())
    x = torch.randn(4, 3, 5, 5)
    plain(x).square().sum().backward()
    checkpointed(again, x).square().sum().backward()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(again.bn, name), getattr(plain.bn, name))
    assert again.bn.momentum == 0.3
    torch.testing.assert_close([p.grad for p in again.parameters()], [p.grad for p in plain.parameters()])
