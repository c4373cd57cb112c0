"""Masks, their two ways of being applied, and the search that finds them."""

from __future__ import annotations

import copy
import json
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from fusion_models import COLUMN, classifier, detector
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from perception.compression.compressor import Calibration
from perception.compression.pruning.apply import PrunableModel, apply_masks
from perception.compression.pruning.by_accuracy import prune_by_accuracy, task_losses
from perception.compression.pruning.layers import prunable_layers
from perception.compression.pruning.masks import PruningMasks
from perception.compression.pruning.refit import input_products, refitted
from perception.compression.pruning.search import AccuracyDrivenPruner
from perception.models.attention.top_k import keep_largest, top_k_attention
from perception.registry import COMPRESSORS

sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))
from random_frames import random_frame

LAYERS = {"detector": 4, "column": 2}                # of two heads each; hidden channels in four groups
IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def model_of(name: str) -> Any:
    return detector() if name == "detector" else classifier(COLUMN)


def run(name: str, model: Any) -> Tensor:
    if name == "column":
        return model({"images": IMAGES}, mode="tensor")
    batch = model.data_preprocessor([random_frame(points=1500), random_frame(1, points=800)], False)
    return torch.cat([plane.flatten() for plane in model(**batch, mode="tensor")[0].values()])


def masks_of(name: str, seed: int, share: float = 0.4) -> PruningMasks:
    draw = torch.Generator().manual_seed(seed)
    L = LAYERS[name]

    def some(*shape: int) -> Any:
        return (torch.rand(shape, generator=draw) < share).tolist()

    return PruningMasks.from_dict({
        "hard_attn": some(L), "ffn_prune": some(L), "attn_prune": some(L), "ffn_approx": some(L, 4),
        "attn_approx": some(L, 2),
    })


OPTIONS: dict[str, Any] = {"num_groups": 4, "top_k": 3}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_smaller_network_does_what_the_masked_one_does(name: str, seed: int):
    masks = masks_of(name, seed)
    masked, removed = (apply_masks(model_of(name), masks, mode, **OPTIONS) for mode in ("mask", "remove"))
    torch.testing.assert_close(run(name, removed), run(name, masked), atol=1e-5, rtol=1e-4)
    assert (run(name, removed) - run(name, model_of(name))).abs().max() > 1e-3
    assert sum(p.numel() for p in removed.parameters()) < sum(p.numel() for p in model_of(name).parameters())


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_weights_of_a_pruned_network_load_into_one_prepared_by_the_same_masks(name: str):
    masks = masks_of(name, 5)
    pruned = apply_masks(model_of(name), masks, **OPTIONS)
    content = json.loads(json.dumps(masks.to_dict()))
    fresh = apply_masks(model_of(name), PruningMasks.from_dict(content), **OPTIONS)
    for parameter in fresh.parameters():
        parameter.zero_()
    fresh.load_state_dict(pruned.state_dict(), strict=True)
    assert torch.equal(run(name, fresh), run(name, pruned))


@torch.no_grad()
def test_the_kernel_of_whole_layers_steps_aside_for_pruned_ones():
    """It serves float32 tokens of a multiple of 32 channels, without gradients."""
    widths = {
        "model.voxel_encoder.channels": [32], "model.lidar_backbone.channels": 32, "model.bev_backbone.in_channels": 32,
    }
    masks = PruningMasks.from_dict({
        **masks_of("detector", 0, share=0.0).to_dict(), "attn_approx": [[1, 0], [0, 0], [0, 0], [0, 0]],
        "ffn_prune": [0, 1, 0, 0], "hard_attn": [0, 0, 1, 0],
    })
    masked, removed = (apply_masks(detector(**widths), masks, mode, **OPTIONS) for mode in ("mask", "remove"))
    torch.testing.assert_close(run("detector", removed), run("detector", masked), atol=1e-5, rtol=1e-4)
    assert (run("detector", removed) - run("detector", detector(**widths))).abs().max() > 1e-3


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_a_trial_leaves_no_trace(name: str):
    model = model_of(name)
    before, keys = run(name, model), set(model.state_dict())
    with PrunableModel(prunable_layers(model), **OPTIONS).masked(masks_of(name, 2)):
        assert (run(name, model) - before).abs().max() > 1e-3
    assert torch.equal(run(name, model), before)
    assert set(model.state_dict()) == keys


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_refitted_layers_do_in_a_trial_what_they_do_for_good_and_come_closer_to_the_whole_network(name: str):
    model, masks = model_of(name).eval(), PruningMasks.none([2] * LAYERS[name], [4] * LAYERS[name])
    for layer in range(LAYERS[name]):
        masks = masks.with_part("ffn_approx", layer, layer % 4).with_part("attn_approx", layer, layer % 2)
    whole, before = run(name, model), {key: value.clone() for key, value in model.state_dict().items()}
    with PrunableModel(prunable_layers(model), **OPTIONS).masked(masks):
        plain = run(name, model)
    readers = [reader for layer in prunable_layers(model) for reader in layer.readers]
    products = input_products(readers, lambda: run(name, model))
    network = PrunableModel(prunable_layers(model), **OPTIONS, products=products)
    with network.masked(masks):
        trial = run(name, model)
    assert (trial - whole).square().mean() < 0.7 * (plain - whole).square().mean()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    network.remove(masks)
    torch.testing.assert_close(run(name, model), trial, atol=1e-5, rtol=1e-4)


@given(seed=st.integers(0, 99), bias=st.booleans())
def test_what_stays_takes_over_what_it_can_tell(seed: int, bias: bool):
    """The inputs that go are sums of those that stay (and of a constant, if the layer has one)."""
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(50, 6, generator=draw)
    rows[:, 4:] = rows[:, :2] @ torch.randn(2, 2, generator=draw) + (0.5 if bias else 0.0)
    layer = nn.Linear(6, 3, bias=bias)
    products = input_products([layer], lambda: layer(rows))[layer]
    expected = layer(rows)
    weight, shift = refitted(layer, torch.arange(4), products)
    assert not weight[:, 4:].any()
    torch.testing.assert_close(nn.functional.linear(rows, weight, shift), expected, atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", LAYERS)
@torch.no_grad()
def test_everything_can_go(name: str):
    model = model_of(name)
    L = LAYERS[name]
    gone = [True] * L
    blocks = {"ffn_prune": gone, "attn_prune": gone}
    for part in (blocks, {"ffn_approx": [[True] * 4] * L, "attn_approx": [[True] * 2] * L}):
        masks = PruningMasks.from_dict({**masks_of(name, 0, share=0.0).to_dict(), **part})
        masked, removed = (apply_masks(copy.deepcopy(model), masks, mode, **OPTIONS) for mode in ("mask", "remove"))
        torch.testing.assert_close(run(name, removed), run(name, masked), atol=1e-5, rtol=1e-4)
        assert masks.share_pruned() == 1.0


def test_a_pruned_network_learns():
    model = apply_masks(detector(), masks_of("detector", 1), **OPTIONS).train()
    sum(model(**model.data_preprocessor([random_frame()], True), mode="loss").values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.lidar_backbone.parameters() if p.numel())


def test_hard_attention_worked_by_hand():
    weights = torch.tensor([[0.5, 0.1, 0.4], [0.2, 0.7, 0.1]])
    torch.testing.assert_close(keep_largest(weights, 1), torch.tensor([[0.5, 0.0, 0.0], [0.0, 0.7, 0.0]]))
    torch.testing.assert_close(
        keep_largest(weights, 2, renormalize=True), torch.tensor([[5 / 9, 0, 4 / 9], [2 / 9, 7 / 9, 0]])
    )
    assert torch.equal(keep_largest(weights, 30), weights)
    with pytest.raises(ValueError, match="top_k must be >= 1, got 0"):
        keep_largest(weights, 0)


@given(tokens=st.integers(1, 9), seed=st.integers(0, 99))
def test_hard_attention_to_all_keys_is_attention(tokens: int, seed: int):
    draw = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 3, tokens, 4, generator=draw) for _ in range(3))
    mask = torch.rand(2, 1, 1, tokens, generator=draw) < 0.7
    mask[..., 0] = True
    expected = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(top_k_attention(q, k, v, tokens, mask), expected, atol=1e-5, rtol=1e-4)
    assert not top_k_attention(q, k, v, tokens, torch.zeros_like(mask)).any()


class Additive:
    """Layers whose loss is the sum of what each part adds to that of each of four samples."""

    def __init__(self, worth: dict[tuple[Any, ...], Sequence[float]], heads: Sequence[int] = (2, 2)) -> None:
        self.worth, self.heads, self.groups = worth, heads, [2] * len(heads)
        self.now: set[tuple[Any, ...]] = set()

    def masked(self, masks: PruningMasks) -> ExitStack:
        self.now = {
            (name, layer) for name in ("hard_attn", "ffn_prune", "attn_prune")
            for layer, is_gone in enumerate(getattr(masks, name)) if is_gone
        } | {
            (name, layer, part) for name in ("ffn_approx", "attn_approx")
            for layer, row in enumerate(getattr(masks, name)) for part, is_gone in enumerate(row) if is_gone
        }
        return ExitStack()

    def losses(self, batch: Tensor) -> Tensor:
        changes = [torch.tensor(self.worth[part])[batch] for part in self.now if part in self.worth]
        return 1.0 + sum(changes, torch.zeros(len(batch)))


BATCHES = [torch.arange(3), torch.arange(3, 4)]


def search(network: Additive, **options: Any) -> Any:
    return AccuracyDrivenPruner(network, network.losses, BATCHES, **options).search()


def tried(result: Any) -> list[set[int]]:
    """What each evaluation had masked, as columns of the flat masks."""
    return [{i for i, x in enumerate(step.masks.flat()) if x} for step in result.trace]


def test_a_search_worked_by_hand():
    better, worse, far = (-0.1,) * 4, (0.05,) * 4, (9.0,) * 4
    network = Additive({
        ("hard_attn", 0): worse, ("hard_attn", 1): better, ("ffn_prune", 1): better, ("attn_prune", 1): worse,
        ("attn_approx", 1, 0): far, ("attn_approx", 1, 1): better, ("ffn_prune", 0): far, ("attn_prune", 0): far,
    })
    result = search(network)
    # columns: hard 0 1, ffn 2 3, attn 4 5, groups 6 7 | 8 9, heads 10 11 | 12 13
    assert tried(result) == [
        set(), {0}, {1}, {1, 3}, {1, 3, 5}, {1, 3, 12}, {1, 3, 13}, {1, 2, 3, 13}, {1, 3, 4, 13},
    ]
    assert result.loss == pytest.approx(0.7)
    assert [step.count for step in result.trace] == [4, 0, 4, 4, 4, 0, 4, 0, 0]


def test_the_vote_must_be_a_majority_of_the_samples():
    half = {("hard_attn", 0): (-0.9, -0.9, 0.1, 0.1)}
    assert not any(search(Additive(half)).masks.flat())
    assert search(Additive(half), vote=0.25).masks.hard_attn == (True, False)


@pytest.mark.parametrize(("legacy", "is_accepted"), [(True, True), (False, False)])
def test_a_short_last_batch_weighs_like_a_full_one_only_as_released(legacy: bool, is_accepted: bool):
    network = Additive({("hard_attn", 0): (0.9, -0.3, -0.3, -0.2)})     # means: 0.1 and -0.2; of all, 0.025
    assert search(network, legacy_mean=legacy).masks.hard_attn[0] is is_accepted


def test_a_loss_that_is_no_number_rejects():
    network = Additive({("ffn_prune", 1): (math.nan,) * 4, ("attn_prune", 0): (-math.inf, math.nan, 0.0, 0.0)})
    assert not any(search(network).masks.flat())


def test_a_tolerance_is_spent_on_the_cheapest_parts_first():
    costs = {("ffn_approx", 0, 0): 0.03, ("ffn_approx", 1, 1): 0.01, ("attn_approx", 0, 1): 0.02}
    dear = {(name, layer, part): 0.06 for name in ("ffn_approx", "attn_approx") for layer in (0, 1) for part in (0, 1)}
    blocks = {(name, layer): 9.0 for name in ("hard_attn", "ffn_prune", "attn_prune") for layer in (0, 1)}
    broken = {("attn_approx", 1, 1): math.nan}
    network = Additive({part: (cost,) * 4 for part, cost in {**blocks, **dear, **costs, **broken}.items()})
    result = search(network, tolerance=0.05)                            # of 1: 0.01 and 0.02, then 0.03 is too much
    assert sum(step.masks.with_part("attn_approx", 1, 1) == step.masks for step in result.trace) <= 2
    assert {place for place, x in enumerate(result.masks.flat()) if x} == {9, 11}
    assert result.loss == pytest.approx(1.03)
    assert result.masks.share_pruned() == 2 / 8
    assert not any(search(network).masks.flat())


def test_layers_without_heads_are_not_given_hard_attention():
    assert {0} not in tried(search(Additive({}, heads=(0, 2))))


def annotated(count: int) -> list[Any]:
    return [random_frame(seed=i, points=400, boxes=5) for i in range(count)]


def test_a_detector_is_pruned_by_its_own_loss():
    frames = annotated(3)
    model = detector()
    before = task_losses(model, frames)
    alone = model(**model.data_preprocessor([frames[1]], False), mode="loss")
    torch.testing.assert_close(before[1], sum(alone.values()).detach().float())
    result = prune_by_accuracy(model, [frames[:2], frames[2:]], num_groups=4, top_k=3, refine_factor=1.0)
    torch.testing.assert_close(result.search.base_losses, before)
    after = task_losses(result.model, frames)
    assert after.mean().item() == pytest.approx(result.search.loss, rel=1e-4)
    assert any(result.masks.flat())                  # random weights have parts that do harm
    assert after.mean() < before.mean()


@pytest.mark.parametrize("refit", [False, True])
def test_a_config_builds_what_the_compressor_pruned(refit: bool):
    model, whole = detector(), detector()
    frames = [random_frame(number, points=600) for number in range(3)]
    batches = [model.data_preprocessor([frame], False) for frame in frames]
    compressor = COMPRESSORS.build({"type": "AccuracyPruning", "num_groups": 4, "top_k": 3, "refit": refit})
    small, changes, report, _ = compressor.apply(model, Calibration(batches))
    assert report.notes["loss_after"] < report.notes["loss_before"]
    assert report.notes["share_pruned"] > 0
    step = json.loads(json.dumps(changes.steps[0]))
    again = COMPRESSORS.build(step).restructure(whole)
    again.load_state_dict(small.state_dict())
    torch.testing.assert_close(run("detector", again.eval()), run("detector", small))
    with pytest.raises(ValueError, match="AccuracyPruning needs calibration data, got no batches"):
        compressor.apply(model, Calibration())
    with pytest.raises(ValueError, match="from its masks, got none"):
        compressor.restructure(model)


def applied(masks: PruningMasks, **options: Any) -> nn.Module:
    return apply_masks(classifier(COLUMN), masks, **options)


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_masks_come_back_from_json(seed: int):
    masks = masks_of("detector", seed)
    assert PruningMasks.from_dict(json.loads(json.dumps(masks.to_dict()))) == masks


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: applied(masks_of("detector", 0), **OPTIONS), "masks must be of groups and heads"),
        (lambda: applied(masks_of("column", 0), mode="zero", **OPTIONS), "mode must be .* got 'zero'"),
        (lambda: applied(masks_of("column", 0), num_groups=5), "32 hidden .* by 5 groups"),
        (lambda: prunable_layers(nn.Linear(2, 2)), "Linear has no layers that can be pruned: .*MetaFormerBlock"),
        (lambda: search(Additive({}), vote=1.0), r"vote must lie in \[0, 1\), got 1.0"),
        (lambda: search(Additive({}), refine_factor=0.5), "refine_factor must be >= 1, got 0.5"),
        (lambda: search(Additive({}), tolerance=-0.1), "tolerance must be >= 0, got -0.1"),
        (lambda: AccuracyDrivenPruner(Additive({}), len, []).search(), "at least one sample, got none"),  # type: ignore[arg-type]
        (lambda: PruningMasks((), (), (True,), (), ()), "equally many layers"),
        (lambda: prune_by_accuracy(classifier(COLUMN), [], mode="cut"), 'mode must be "mask" or "remove", got \'cut\''),
    ],
)
def test_slips_are_refused(call: Any, told: str):
    with pytest.raises(ValueError, match=told):
        call()
