"""Progressive norms: what they compute, how they fade, and what the hook and a checkpoint do to their progress."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from perception.compression.batch_norm import fold_batch_norms
from perception.errors import ConfigError
from perception.models.metaformer.staged import MetaFormer
from perception.registry import HOOKS
from perception_plugins.slab import PRepBN, ProgressiveNormHook, RepBN, replace_layer_norms

close = torch.testing.assert_close


def tokens(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_rep_norm_by_hand():
    norm = RepBN(2, eps=1e-12)                   # which rounds away beside the variances
    nn.init.constant_(norm.alpha, 0.5)
    x = torch.tensor([[[0.0, 1.0], [2.0, 1.0]], [[0.0, 5.0], [2.0, 5.0]]])       # means 1 and 3, deviations 1 and 2
    close(norm(x), torch.tensor([[[-1.0, -0.5], [2.0, -0.5]], [[-1.0, 3.5], [2.0, 3.5]]]))


def test_statistics_are_those_of_all_tokens_of_a_batch():
    norm, x = RepBN(5), tokens(3, 7, 5)
    norm(x)
    close(norm.bn.running_mean, 0.1 * x.mean(dim=(0, 1)))
    close(norm.bn.running_var, 0.9 + 0.1 * x.flatten(0, 1).var(dim=0))


def test_at_inference_it_is_a_scale_and_a_shift():
    norm = RepBN(5)
    for seed in range(5):
        norm(tokens(3, 7, 5, seed=seed) * 3 + 1)
    scale, shift = norm.eval().scale_and_shift()
    x = tokens(2, 4, 5, seed=9)
    close(norm(x), (scale * x + shift).float())


def test_layer_normalisation_fades_and_then_is_gone():
    norm, x = PRepBN(6, steps=4, warm=1), tokens(2, 3, 6)
    found = []
    for _ in range(7):
        batch = F.batch_norm(x.flatten(0, 1), None, None, training=True).view_as(x) + x
        layer = F.layer_norm(x, (6,), eps=1e-6)
        y = norm(x)
        found.append(((y - batch) * (layer - batch)).sum() / (layer - batch).square().sum())      # share of the layer's
    close(torch.stack(found).detach(), torch.tensor([1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]), atol=1e-5, rtol=0)
    assert (int(norm.warm), int(norm.iter), int(norm.total_step)) == (0, 0, 4)


def test_statistics_stay_while_it_warms_up():
    norm = PRepBN(6, warm=2)
    for step in range(3):
        norm(tokens(2, 3, 6))
        assert bool(norm.norm2.bn.running_mean.any()) == (step == 2)


def test_evaluation_knows_no_layer_normalisation_and_counts_nothing():
    norm, x = PRepBN(6, steps=4, warm=1).eval(), tokens(2, 3, 6)
    assert torch.equal(norm(x), norm.norm2(x))
    assert (int(norm.warm), int(norm.iter)) == (1, 4)


def test_progress_that_is_set_is_not_counted():
    norm, x = PRepBN(6, steps=9, warm=9), tokens(2, 3, 6)
    seen = []
    for step in (0, 2, 5, 100):
        norm.set_progress(step, steps=4, warm=2)
        for _ in range(3):
            norm(x)
        seen.append((int(norm.warm), int(norm.iter), int(norm.total_step)))
    assert seen == [(2, 4, 4), (0, 4, 4), (0, 1, 4), (0, 0, 4)]


def test_a_checkpoint_keeps_the_place_in_the_schedule():
    norm, x = PRepBN(6, steps=4, warm=2), tokens(2, 3, 6)
    norm(x)
    other = PRepBN(6)
    other.load_state_dict(norm.state_dict())
    for _ in range(3):
        close(other(x), norm(x))
    assert (int(other.warm), int(other.iter), int(other.total_step)) == (0, 2, 4)


def test_a_state_without_a_warm_phase_is_loaded_as_one_that_is_over():
    norm, state = PRepBN(6, steps=4, warm=2), PRepBN(6).state_dict()
    del state["warm"]
    norm.load_state_dict(state)
    norm(tokens(2, 3, 6))
    assert (int(norm.warm), int(norm.iter), int(norm.total_step)) == (0, 299_999, 300_000)


def test_a_rep_norm_takes_what_remains_of_a_progressive_one():
    source, x = PRepBN(6), tokens(2, 3, 6)
    source(x)
    network = nn.Sequential(RepBN(6))
    network.load_state_dict(nn.Sequential(source).state_dict())
    assert torch.equal(network.eval()(x), source.eval()(x))


def test_the_hook_sets_all_norms_by_iterations():
    model = nn.Sequential(PRepBN(6), nn.Linear(6, 6), PRepBN(6))
    hook = HOOKS.build({"type": "ProgressiveNormHook", "share": 0.5, "warm": 4})
    hook.before_train(SimpleNamespace(model=model))
    seen = []
    for iteration in (0, 4, 7, 12, 19):
        hook.before_train_iter(SimpleNamespace(model=model, iter=iteration, max_iters=20), iteration)
        model(tokens(2, 3, 6))
        seen.append([(int(model[place].warm), int(model[place].iter)) for place in (0, 2)])
    assert seen == [[pair] * 2 for pair in ((4, 8), (0, 8), (0, 5), (0, 0), (0, 0))]


def test_the_hook_refuses_a_model_without_progressive_norms():
    with pytest.raises(ConfigError, match="no norm of type PRepBN"):
        ProgressiveNormHook(10).before_train(SimpleNamespace(model=nn.LayerNorm(3)))


def test_a_network_of_layer_norms_becomes_progressive_with_its_weights():
    model = MetaFormer(
        (1, 1), (8, 16), token_mixer={"type": "AttentionMixer", "heads": 2}, norm="layer", layer_scale=0.0,
        out_indices=(0, 1),
    ).train()
    images = torch.rand(2, 3, 32, 32)
    before = model(images)
    assert replace_layer_norms(model, steps=10, warm=1) == 4
    for found, expected in zip(model(images), before, strict=True):
        assert torch.equal(found, expected)                  # warming up, it is the layer normalisation that was there
    model(images)
    before = model.eval()(images)
    fold_batch_norms(model)
    assert not any(isinstance(module, (RepBN, PRepBN)) for module in model.modules())
    for found, expected in zip(model(images), before, strict=True):
        close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: PRepBN(4, steps=0), "steps must be >= 1 and warm >= 0, got 0 and 0"),
    (lambda: PRepBN(4, warm=-1), "got 300000 and -1"),
    (lambda: PRepBN(4, first=1.5), r"first must lie in \[0, 1\], got 1.5"),
    (lambda: PRepBN(4).set_progress(3, steps=0), "steps must be >= 1"),
    (lambda: ProgressiveNormHook(0), "steps must be >= 1, got 0"),
    (lambda: ProgressiveNormHook(share=0.0), r"share must lie in \(0, 1\], got 0.0"),
    (lambda: ProgressiveNormHook(warm=-2), "warm must be >= 0, got -2"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
