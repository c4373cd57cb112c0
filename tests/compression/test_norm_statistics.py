from __future__ import annotations

import pytest
import torch
from torch import nn

from perception.compression.norm_statistics import estimate_statistics


def batches() -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(16, 3, generator=draw) * 2 + 5 for _ in range(4)]


def test_statistics_become_the_mean_of_those_of_the_batches():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(3))
    model(torch.randn(16, 3))
    assert estimate_statistics(model, batches()) == 4
    mean, variance = (torch.stack([getattr(x, name)(dim=0) for x in batches()]).mean(dim=0) for name in ("mean", "var"))
    torch.testing.assert_close(model[1].running_mean, mean)          # nothing was dropped
    torch.testing.assert_close(model[1].running_var, variance)
    assert not any(module.training for module in model.modules())
    assert model[1].momentum == 0.1


def test_a_batch_may_be_anything_that_the_model_is_run_with():
    model = nn.BatchNorm1d(3)
    estimate_statistics(model, [{"x": x} for x in batches()], lambda model, batch: model(batch["x"]))
    torch.testing.assert_close(model.running_mean, torch.cat(batches()).mean(dim=0))


def test_without_batches_statistics_stay():
    model = nn.BatchNorm1d(3)
    model(torch.randn(16, 3))
    before = model.running_mean.clone()
    with pytest.raises(ValueError, match="batches must be at least one"):
        estimate_statistics(model, [])
    assert torch.equal(model.running_mean, before)
