"""Parameters and operations of the models of configs, counted without memory for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.engine.benchmark.flops import count_flops
from perception.engine.build import build_model
from perception.engine.config import load_config
from perception.errors import ConfigError
from perception.models.image_backbones.deform_conv import ModulatedDeformConv2d
from perception.zoo.model_size import ModelSize, model_size

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def test_parameters_of_a_model_are_counted_without_allocating_it(tmp_path: Path):
    config = tmp_path / "model.py"
    config.write_text("model = dict(type='torch.nn.Linear', in_features=10**6, out_features=10**6)\n")
    assert model_size(config) == ModelSize(10**12 + 10**6)


def test_both_are_those_of_the_model_itself():
    config = CONFIGS / "poolformer/poolformer_s12.py"
    model = build_model(load_config(config).model).eval()
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        operations = count_flops(lambda: model.network(images))
    assert model_size(config, (64, 96)) == ModelSize(sum(p.numel() for p in model.parameters()), operations)


@pytest.mark.parametrize(("config", "picture", "parameters", "multiply_adds"), [   # the last as published or counted
    ("poolformer/poolformer_s12", (224, 224), 11_915_176, 1.8e9),
    ("rmt/rmt_t_imagenet", (224, 224), 14_334_216, 2.64e9),
    ("slab/slab_pvt_tiny", (224, 224), 12_157_692, 2.04e9),
    ("tnt/ptnt_s_patch16_256", (256, 256), 31_953_200, 3.3e9),
])
def test_they_agree_with_the_authors_models(config, picture, parameters, multiply_adds):
    size = model_size(CONFIGS / f"{config}.py", picture)
    assert size.parameters == parameters
    assert size.flops == pytest.approx(2 * multiply_adds, rel=0.01)      # the figures have three digits at most


def test_a_deformable_convolution_counts_alike_wherever_it_runs():
    layer = ModulatedDeformConv2d(6, 10)
    with torch.no_grad():
        here = count_flops(lambda: layer(torch.randn(1, 6, 8, 9)))
        shapes = count_flops(lambda: layer.to("meta")(torch.empty(1, 6, 8, 9, device="meta")))
    assert here == shapes == 2 * 8 * 9 * 6 * 9 * (27 + 10)


def test_of_a_model_with_a_teacher_the_student_is_counted():
    trained = model_size(CONFIGS / "daformer/p2at_day2rain_synthetic.py")
    assert trained == model_size(CONFIGS / "p2at/p2at_s_synthetic.py")


def test_operations_that_cannot_be_counted_are_told_and_left_out(caplog: pytest.LogCaptureFixture):
    size = model_size(CONFIGS / "tnt/tnt_s_patch16_224.py", (1, 1))
    assert size.flops is None
    assert "operations for a picture of 1 x 1 cannot be counted" in caplog.text


@pytest.mark.parametrize(("text", "reason"), [
    ("model = dict(type='NoSuchModel')", 'unknown type "NoSuchModel"'),
    ("model = dict(type='torch.nn.Linear', in_features=1)", "out_features"),
    ("train_cfg = None", "it has no model"),
    ("model = dict(", "was never closed"),
])
def test_a_config_that_cannot_be_built_says_why(tmp_path: Path, text: str, reason: str):
    config = tmp_path / "model.py"
    config.write_text(text + "\n")
    with pytest.raises(ConfigError, match=reason) as told:
        model_size(config)
    assert str(config) in str(told.value)
