from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import (
    Foldable,
    absorb,
    affine_of,
    fold_batch_norms,
    fold_into_next,
    fold_into_previous,
)
from perception.engine.config import load_config
from perception.models.conv_unit import ConvUnit, conv3x3
from perception.models.voxel_encoders.point_norm import PointLayer
from perception.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """With the statistics and weights that a training could leave."""
    draw = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(generator=draw)
            module.running_var.uniform_(0.3, 3.0, generator=draw)
            if module.affine:
                nn.init.uniform_(module.weight, 0.5, 1.5, generator=draw)
                nn.init.normal_(module.bias, generator=draw)
    return model.eval()


@pytest.mark.parametrize(
    ("part", "shape"),
    [
        (ConvUnit(conv3x3(3, 5)), (2, 3, 6, 7)),
        (ConvUnit(conv3x3(4, 4), residual=True), (1, 4, 5, 5)),
        (ConvUnit(nn.ConvTranspose2d(3, 6, 2, stride=2, bias=False)), (2, 3, 4, 3)),
        (PointLayer(4, 7), (9, 4)),
    ],
    ids=["convolution", "residual", "transposed", "rows"],
)
@torch.inference_mode()
def test_a_folded_part_gives_what_it_gave(part, shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    before = lived_in(part)(x)
    assert fold_batch_norms(part) == 1
    assert not any(isinstance(module, _BatchNorm) for module in part.modules())
    torch.testing.assert_close(part(x), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "config", ["flatformer/flatformer_tiny.py", "centerpoint_pillar/centerpoint_pillar_synthetic.py"]
)
@torch.inference_mode()
def test_a_detectors_maps_stay_within_1e_4(config):
    torch.manual_seed(0)
    model = lived_in(MODELS.build(load_config(CONFIGS / config).model))
    points = torch.randn(3000, model.voxel_encoder.in_channels, generator=torch.Generator().manual_seed(2))
    points[:, :2] *= 8
    before = model({"points": [points]})
    assert fold_batch_norms(model) == sum(isinstance(part, Foldable) for part in model.modules()) > 5
    for maps, expected in zip(model({"points": [points]}), before, strict=True):
        for name in maps:
            scale = max(1.0, float(expected[name].abs().max()))           # of maps whose weights are random
            assert float((maps[name] - expected[name]).abs().max()) < 1e-4 * scale, name


def test_folding_twice_changes_nothing():
    part, x = lived_in(ConvUnit(conv3x3(3, 5))), torch.randn(1, 3, 4, 4)
    fold_batch_norms(part)
    before = part(x)
    fold_batch_norms(part)
    assert torch.equal(part(x), before)


def test_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match="in evaluation mode"):
        fold_batch_norms(ConvUnit(conv3x3(3, 5)).train())


class Pair(nn.Module):
    """A normalisation of pictures between a layer and another."""

    def __init__(self, before: nn.Module, norm: nn.Module, behind: nn.Module) -> None:
        super().__init__()
        self.before, self.norm, self.behind = before, norm, behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.norm(self.before(x)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("affine", [True, False])
@torch.inference_mode()
def test_a_convolution_behind_a_norm_takes_it_over(bias, groups, affine):
    conv = nn.Conv2d(4, 6, 2, stride=2, groups=groups, bias=bias)
    pair = lived_in(Pair(nn.Identity(), nn.BatchNorm2d(4, affine=affine), conv))
    x = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(1))
    before = pair(x)
    fold_into_next(pair, "norm", pair.behind)
    assert isinstance(pair.norm, nn.Identity)
    torch.testing.assert_close(pair(x), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_a_convolution_before_a_norm_takes_it_over(bias):
    pair = lived_in(Pair(nn.Conv2d(3, 4, 3, padding=1, bias=bias), nn.BatchNorm2d(4), nn.Identity()))
    x = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(1))
    before = pair(x)
    fold_into_previous(pair, "norm", pair.before)
    assert isinstance(pair.norm, nn.Identity)
    torch.testing.assert_close(pair(x), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("norm", "behind"), [
    (nn.BatchNorm2d(4), nn.Conv2d(4, 6, 3, padding=1)),      # which sees zeros at the border, not shifts
    (nn.BatchNorm2d(4), nn.ReLU()),
    (nn.BatchNorm2d(4, track_running_stats=False), nn.Conv2d(4, 6, 1)),
    (nn.GroupNorm(2, 4), nn.Conv2d(4, 6, 1)),
], ids=["padding", "relu", "no_statistics", "group_norm"])
def test_a_norm_that_cannot_be_taken_over_stays(norm, behind):
    pair = Pair(nn.Identity(), norm, behind).eval()
    fold_into_next(pair, "norm", pair.behind)
    assert pair.norm is norm


def test_a_norm_with_two_readers_is_taken_over_by_both_or_none():
    pair = lived_in(Pair(nn.Identity(), nn.BatchNorm1d(4), nn.Linear(4, 3)))
    weight = pair.behind.weight.clone()
    fold_into_next(pair, "norm", pair.behind, nn.ReLU())
    assert torch.equal(pair.behind.weight, weight)
    other = nn.Linear(4, 2)
    x = torch.randn(5, 4)
    expected = pair.behind(pair.norm(x)), other(pair.norm(x))
    fold_into_next(pair, "norm", pair.behind, other)
    for found, value in zip((pair.behind(x), other(x)), expected, strict=True):
        torch.testing.assert_close(found, value, atol=1e-5, rtol=1e-5)


def test_a_layer_norm_is_no_scale_and_shift():
    assert affine_of(nn.LayerNorm(3)) is None


def test_what_is_no_layer_takes_nothing_over():
    with pytest.raises(ValueError, match="want a linear layer or a convolution without padding, got ReLU"):
        absorb(nn.ReLU(), torch.ones(3), torch.zeros(3))
