"""Pattention by hand and against a loop, its edges, and growth: exact with a pinned scale, and as the reference."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perception.engine.config import load_config
from perception.registry import MODELS
from perception.structures import Frame, PointCloud
from perception_plugins.tokenformer import (
    Pattention,
    PattentionFeedForward,
    PattentionMixer,
    grow_checkpoint,
    grow_config,
    grow_model,
    grow_optimizer,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs/tokenformer"
ACTIVATIONS = ("l2_norm_gelu", "gelu_l2_norm", "softmax")
EXACT = ACTIVATIONS[:2]
CLASSIFIER = {
    "type": "BackboneClassifier", "num_classes": 5,
    "backbone": {"type": "TokenFormer", "depth": 2, "width": 32, "heads": 2, "qkv_slots": 20, "proj_slots": 12,
                 "ffn_slots": 50},
}
close = torch.testing.assert_close


def table(activation: str = "l2_norm_gelu", slots: int = 20, **options: Any) -> Pattention:
    """Random rows large enough that every part of f is met."""
    torch.manual_seed(0)
    built = Pattention(12, 9, slots, activation=activation, **options)
    for parameter in built.parameters():
        nn.init.normal_(parameter)
    return built


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def weights_of(scores: list[float], activation: str, scale: float) -> list[float]:
    """f, number by number."""
    if activation == "softmax":
        return [scale * math.exp(a) / sum(map(math.exp, scores)) for a in scores]
    if activation == "gelu_l2_norm":
        raised = [gelu(a) for a in scores]
        return [a / math.sqrt(sum(b * b for b in raised)) * math.sqrt(scale) for a in raised]
    return [gelu(a / math.sqrt(sum(b * b for b in scores)) * math.sqrt(scale)) for a in scores]


def test_two_rows_by_hand():
    small = Pattention(2, 1, 2)
    with torch.no_grad():
        small.key_param_tokens.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        small.value_param_tokens.copy_(torch.tensor([[1.0], [10.0]]))
    y = small(torch.tensor([[3.0, 4.0]]))                    # scores 3 and 4, of length 5, times sqrt(2)
    close(y, torch.tensor([[gelu(0.6 * math.sqrt(2)) + 10 * gelu(0.8 * math.sqrt(2))]]))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_weights_equal_those_of_a_loop(activation):
    built = table(activation).double()
    x = torch.randn(3, 12, dtype=torch.float64)
    expected = [weights_of((built.key_param_tokens @ row).tolist(), activation, 20) for row in x]
    close(built.weights(x), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_masked_score_is_0_and_not_minus_infinity(activation):
    built, mask = table(activation), torch.ones(4, 20, dtype=torch.bool)
    mask[:, 5:] = False
    x = torch.randn(2, 4, 12)
    cleared = table(activation)
    with torch.no_grad():
        cleared.key_param_tokens[5:] = 0                     # scores of 0 by other means
    close(built(x, mask), cleared(x))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_token_of_zeros_gives_numbers_and_a_finite_gradient(activation):
    built = table(activation)
    x = torch.zeros(1, 3, 12, requires_grad=True)
    y = built(x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in built.parameters())
    if activation != "softmax":
        assert not y.any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_are_those_of_differences(activation):
    built = table(activation, slots=5).double()
    x = torch.randn(2, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(built, (x,))


@pytest.mark.parametrize("shape", [(0, 12), (1, 0, 12), (1, 1, 12), (2, 3, 5, 12)])
def test_any_number_of_tokens_is_taken(shape):
    assert table()(torch.randn(shape)).shape == (*shape[:-1], 9)


def test_scores_are_normed_in_float32_under_autocast():
    built = table()
    x = torch.randn(2, 7, 12)
    with torch.autocast("cpu", torch.bfloat16):
        assert built.weights(x).dtype == torch.float32
        y = built(x)
    assert y.dtype == torch.bfloat16
    close(y.float(), built(x), atol=0.3, rtol=0.05)          # outputs of about 10; bfloat16 keeps 8 bits


def test_first_values_are_as_told():
    torch.manual_seed(0)
    built = Pattention(64, 256, 4096, layers=8)
    assert built.key_param_tokens.std().item() == pytest.approx(0.02, rel=0.02)
    assert built.value_param_tokens.std().item() == pytest.approx(2 / (8 * 16), rel=0.02)


@pytest.mark.parametrize("activation", EXACT)
def test_growth_with_a_pinned_scale_changes_nothing(activation):
    built, x = table(activation), torch.randn(2, 7, 12)
    before = built(x)
    built.grow(13)
    assert (built.slots, built.scale_tokens.item()) == (33, 20)
    close(built(x), before, atol=1e-5, rtol=1e-6)            # outputs reach 20
    built.grow(4)
    close(built(x), before, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("activation", EXACT)
def test_zero_keys_alone_do_not_keep_the_output(activation):
    """The paper says so; but the scale grows with the table."""
    built, x = table(activation), torch.randn(2, 7, 12)
    before = built(x)
    built.grow(13, pin_scale=False)
    assert built.scale_tokens.item() == 33
    assert (built(x) - before).abs().max() > 0.1


def test_a_softmax_is_diluted_by_zero_keys():
    built, x = table("softmax"), torch.randn(2, 7, 12)
    shares = built.weights(x) / 20
    built.grow(13, pin_scale=False)
    total = (table("softmax").key_param_tokens @ x.mT).exp().sum(dim=1)[..., None]       # (2, 7, 1)
    close(built.weights(x)[..., :20], 33 * shares * total / (total + 13))


def test_new_keys_learn_at_once_and_new_values_then():
    built, x = table(), torch.randn(2, 7, 12)
    built.grow(6)
    built(x).square().sum().backward()
    assert built.key_param_tokens.grad[20:].abs().min() > 0
    assert not built.value_param_tokens.grad[20:].any()
    with torch.no_grad():
        built.key_param_tokens -= 1e-3 * built.key_param_tokens.grad
    built.zero_grad()
    built(x).square().sum().backward()
    assert built.value_param_tokens.grad[20:].abs().max() > 0


def test_random_keys_and_frozen_tables_stay_what_they_are():
    built = table()
    built.key_param_tokens.requires_grad_(False)
    old = built.key_param_tokens.clone()
    built.grow(2000, zero_keys=False, pin_scale=False)
    assert not built.key_param_tokens.requires_grad
    assert torch.equal(built.key_param_tokens[:20], old)
    assert built.key_param_tokens[20:].std().item() == pytest.approx(0.02, rel=0.05)


def small_classifier() -> Any:
    torch.manual_seed(0)
    return MODELS.build(CLASSIFIER).eval()


@pytest.mark.parametrize("how", [{"factor": 1.5}, {"rows": 7}])
def test_a_grown_model_gives_the_same_and_learns(how):
    model, images = small_classifier(), torch.randn(2, 3, 48, 64)
    before = model(images)
    slots = [part.slots for part in model.modules() if isinstance(part, Pattention)]
    replaced = grow_model(model, **how)
    assert len(replaced) == 2 * len(slots) == 20
    grown = [part.slots for part in model.modules() if isinstance(part, Pattention)]
    assert grown == [round(1.5 * n) if "factor" in how else n + 7 for n in slots]
    assert (model(images) - before).abs().max() < 1e-6
    model(images).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_checkpoint_grows_with_its_config():
    model, images = small_classifier(), torch.randn(1, 3, 48, 64)
    config, state = grow_checkpoint(CLASSIFIER, model.state_dict(), 1.3)
    assert "slot_factor" not in CLASSIFIER["backbone"]
    larger = MODELS.build(config).eval()
    larger.load_state_dict(state)
    assert (larger(images) - model(images)).abs().max() < 1e-6
    again, state = grow_checkpoint(config, state, 1.3)       # 1.69 of the first rows, whatever the first rounding was
    largest = MODELS.build(again).eval()
    largest.load_state_dict(state)
    assert largest.backbone.blocks[0].token_mixer.query.slots == round(20 * 1.69)
    assert (largest(images) - model(images)).abs().max() < 1e-6


@torch.no_grad()
def test_the_detector_of_the_city_grows_with_equal_outputs():
    config = load_config(CONFIGS / "flatformer_tokens_synthetic.py").model
    torch.manual_seed(0)
    model = MODELS.build(config).eval()
    points = PointCloud(
        torch.cat([torch.randn(400, 2) * 15, torch.rand(400, 3)], dim=1), ("x", "y", "z", "intensity", "time")
    )
    batch = model.data_preprocessor([Frame("a", 0, points=points)])
    larger, state = grow_checkpoint(config, model.state_dict(), 1.5)
    assert larger["lidar_backbone"]["mixer"]["slot_factor"] == 1.5
    grown = MODELS.build(larger).eval()
    grown.load_state_dict(state)
    slots = [[part.slots for part in one.modules() if isinstance(part, Pattention)] for one in (model, grown)]
    assert slots == [[32, 32, 32, 32, 128] * 4, [48, 48, 48, 48, 192] * 4]
    (before,), (after,) = (one(**batch, mode="tensor") for one in (model, grown))
    assert before.keys() == after.keys()
    for name, plane in before.items():
        assert (after[name] - plane).abs().max() < 1e-6, name


def test_the_published_growth_is_a_factor_of_the_config():
    small, large = (load_config(CONFIGS / f"tokenformer_{size}.py").model for size in ("354m", "757m"))
    assert grow_config(small, 7 / 3) == large


def test_an_optimizer_goes_on_with_zeros_for_new_rows():
    built, x = table(), torch.randn(2, 7, 12)
    optimizer = torch.optim.AdamW(built.parameters(), lr=1e-2)
    for _ in range(3):
        built(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    kept = {name: optimizer.state[value]["exp_avg"].clone() for name, value in built.named_parameters()}
    grow_optimizer(optimizer, built.grow(6))
    for name, parameter in built.named_parameters():
        state = optimizer.state[parameter]
        assert torch.equal(state["exp_avg"][:20], kept[name])
        assert not state["exp_avg"][20:].any()
        assert state["step"] == 3
    assert len(optimizer.state) == 2
    before: Tensor = built.key_param_tokens.detach().clone()
    built(x).square().mean().backward()
    optimizer.step()
    assert (built.key_param_tokens != before).all()
    assert optimizer.state_dict()["state"][0]["exp_avg"].shape == (26, 12)


def test_an_optimizer_that_has_not_stepped_takes_the_new_tables():
    built = table()
    optimizer = torch.optim.SGD(built.parameters(), lr=1.0)
    grow_optimizer(optimizer, built.grow(1))
    assert optimizer.param_groups[0]["params"] == [built.key_param_tokens, built.value_param_tokens]


@pytest.mark.parametrize(("build", "message"), [
    (lambda: Pattention(4, 4, 0), "slots and layers must be >= 1, got 4, 4, 0 and 12"),
    (lambda: Pattention(4, 4, 4, activation="gelu"), "activation must be one of l2_norm_gelu, .* got 'gelu'"),
    (lambda: table().grow(0), "rows must be >= 1, got 0"),
    (lambda: table("softmax").grow(3), "a softmax grows by no means exactly"),
    (lambda: grow_model(table()), "give either factor or rows, got None and None"),
    (lambda: grow_model(table(), factor=2.0, rows=3), "give either factor or rows, got 2.0 and 3"),
    (lambda: grow_model(table(), factor=1.01), "rows must be >= 1, got 0"),
    (lambda: grow_model(nn.Linear(2, 2), factor=2.0), "Linear has no Pattention that could grow"),
    (lambda: grow_checkpoint({"type": "FeedForward", "channels": 4}, {}, 2.0), "no part with parameter tokens"),
    (lambda: PattentionFeedForward(8, slot_factor=0.0), "slot_factor must be > 0, got 0.0"),
    (lambda: PattentionMixer(24, heads=4, rotary_pct=0.5), "rotary channels must be even, got 3"),
    (lambda: PattentionMixer(8, heads=2).extend(torch.rand(1, 2, 8)), "build it with causal"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
