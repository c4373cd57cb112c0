"""Fusion of our models: a model in another order is recognised, widths may differ, and slips are refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from fusion_models import COLUMN, POOL, STAGED, classifier, detector, reordered
from torch import Tensor, nn

from perception.compression.fusion.declare import plan_of
from perception.compression.fusion.matching import Matching
from perception.compression.fusion.models import average_models, fuse_chain, fuse_models

pytest.importorskip("ot", reason="POT is not installed: pip install -e '.[compress]'")
sys.path.append(str(Path(__file__).resolve().parents[1] / "models"))
from random_frames import random_frame

EXACT = Matching(solver="emd")
STREAM = "voxel_encoder.layers.0"                    # of FlatFormer, to which a fixed position code is added


def frames_run(model: Any, frames: Any) -> Any:
    return model(**model.data_preprocessor(frames, False), mode="tensor")


def pictures_run(model: Any, images: Tensor) -> Any:
    return model({"images": images}, mode="tensor")


def case(name: str, seed: int = 0) -> tuple[Any, Any, Any, set[str]]:
    """A model, batches, how it is run, and what has no other order."""
    if name == "detector":
        frames = [[random_frame(seed=i, points=1500), random_frame(seed=i + 10, points=900)] for i in range(2)]
        return detector(seed), frames, frames_run, {STREAM}
    model = classifier({"column": COLUMN, "staged": STAGED, "pool": POOL}[name], seed)
    side = 64 if name == "pool" else 16
    draw = torch.Generator().manual_seed(0)
    return model, [torch.rand(4, 3, side, side, generator=draw) for _ in range(2)], pictures_run, set()


def flat(output: Any) -> Tensor:
    maps = [output] if isinstance(output, Tensor) else [value for task in output for value in task.values()]
    return torch.cat([part.flatten() for part in maps]).detach()


CASES = ("detector", "column", "staged", "pool")


@pytest.mark.parametrize("name", CASES)
def test_units_in_another_order_do_the_same(name: str):
    model, batches, run, leave = case(name)
    moved, found = reordered(model, leave)
    assert all((order != torch.arange(len(order))).any() for order in found.values())
    assert len(found) >= 6
    torch.testing.assert_close(flat(run(moved, batches[0])), flat(run(model, batches[0])), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_a_model_in_another_order_gives_the_anchor_back(name: str):
    model, batches, run, leave = case(name)
    moved, orders = reordered(model, leave)
    result = fuse_models(moved, model, batches, run=run, matching=EXACT)
    for units, order in orders.items():
        expected = torch.eye(len(order))[order]                  # unit i of the copy is unit order[i] of the model
        assert torch.equal(result.transports[units], expected), units
    ours = result.model.state_dict()
    for key, value in model.state_dict().items():                # statistics of a training are kept, but for rounding
        torch.testing.assert_close(ours[key], value, atol=1e-4 if "running" in key else 1e-6, rtol=1e-4, msg=key)
    assert result.pinned == ()
    plain = average_models(moved, model)
    assert (flat(run(plain, batches[0])) - flat(run(model, batches[0]))).abs().max() > 0.05


def test_a_plan_of_the_detector_covers_every_parameter():
    model = detector()
    plan = plan_of(model)
    outside = {key for key, _ in model.named_parameters()} - set(plan.sides)
    assert outside == set()
    assert plan.pinned == set()
    assert plan.undeclared == []


def test_two_models_that_differ_give_finite_outputs_and_statistics_of_their_own():
    model, batches, run, _ = case("detector")
    other = detector(seed=5)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    result = fuse_models(model, other, batches, run=run)
    assert flat(run(result.model, batches[0])).isfinite().all()
    name = "bev_backbone.stages.0.0.bn.running_mean"
    averaged = fuse_models(model, other, batches, run=run, statistics=False).model
    assert not torch.equal(result.model.get_buffer(name), averaged.get_buffer(name))
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())


@pytest.mark.parametrize(("alpha", "is_anchor"), [(1.0, True), (0.5, False)])
def test_alpha_is_the_weight_of_the_anchor_everywhere(alpha: float, is_anchor: bool):
    model, batches, run, _ = case("column")
    other = classifier(COLUMN, seed=3)
    fused = fuse_models(model, other, batches, run=run, alpha=alpha).model
    same = [torch.equal(ours, value) for ours, value in zip(fused.parameters(), other.parameters(), strict=True)]
    assert all(same) is is_anchor
    assert any(same) is is_anchor


class Doubled:
    """A model each of whose hidden units there is twice, read with half the weight."""

    def __init__(self, model: nn.Module) -> None:
        ratio = COLUMN["channel_mixer"]["ratio"] * 2
        self.model = classifier({**COLUMN, "channel_mixer": {"type": "FeedForward", "ratio": ratio}})
        wide = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in model.named_parameters():
                if ".fc1." in name:
                    value = torch.cat([value, value])
                elif ".fc2.weight" in name:
                    value = torch.cat([value, value], dim=1) / 2
                wide[name].copy_(value)


def test_a_wide_model_of_doubled_units_becomes_the_narrow_one():
    model, batches, run, _ = case("column")
    wide = Doubled(model).model
    torch.testing.assert_close(run(wide, batches[0]), run(model, batches[0]), atol=1e-5, rtol=1e-5)
    fused = fuse_models(wide, model, batches, run=run, matching=EXACT).model
    torch.testing.assert_close(run(fused, batches[0]), run(model, batches[0]), atol=1e-4, rtol=1e-4)
    scaled = fuse_models(wide, model, batches, run=run, matching=Matching(solver="emd", scale="code")).model
    assert (run(scaled, batches[0]) - run(model, batches[0])).abs().max() > 1e-2


def test_three_models_in_three_orders_give_the_last_back():
    model, batches, run, _ = case("column")
    moved, _ = reordered(model)
    result = fuse_chain([moved, model, moved], batches, run=run, matching=EXACT)
    torch.testing.assert_close(run(result.model, batches[0]), run(model, batches[0]), atol=1e-4, rtol=1e-4)


class Unknown(nn.Module):
    """A mixer that no declaration knows, beside one that is known."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, size: Any = None, mask: Any = None) -> Tensor:
        return x * self.scale


def test_what_an_undeclared_part_reads_keeps_its_places():
    model, batches, run, _ = case("column")
    block = model.network.backbone.blocks[0]
    block.token_mixer = Unknown(16)
    moved, orders = reordered(model)
    result = fuse_models(moved, model, batches, run=run, matching=EXACT)
    assert result.undeclared == ("network.backbone.blocks.0.token_mixer",)
    assert result.pinned == ("network.backbone.embed",)
    assert "network.backbone.blocks.0.channel_mixer" in orders
    torch.testing.assert_close(run(result.model, batches[0]), run(model, batches[0]), atol=1e-4, rtol=1e-4)


def test_heads_may_be_mixed_as_in_the_released_code():
    model, batches, run, _ = case("column")
    other = classifier(COLUMN, seed=3)
    whole, mixed = (
        fuse_models(model, other, batches, run=run, matching=EXACT, heads=heads).transports
        for heads in ("whole", "mixed")
    )
    name = "network.backbone.blocks.0.token_mixer.qk"
    blocks = [found[name].unflatten(1, (2, 8)).unflatten(0, (2, 8)).sum(dim=(1, 3)) for found in (whole, mixed)]
    assert set(blocks[0].flatten().tolist()) == {0.0, 8.0}
    assert set(blocks[1].flatten().tolist()) != {0.0, 8.0}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"alpha": 1.5}, r"alpha must lie in \[0, 1\], got 1.5"),
        ({"heads": "some"}, "heads must be one of .* got 'some'"),
    ],
)
def test_slips_are_refused(options: dict[str, Any], told: str):
    model, batches, run, _ = case("column")
    with pytest.raises(ValueError, match=told):
        fuse_models(model, model, batches, run=run, **options)


def test_other_depths_and_fixed_widths_are_refused():
    model, batches, run, _ = case("column")
    with pytest.raises(ValueError, match=r"one architecture and depth .*blocks\.2\."):
        fuse_models(model, classifier(COLUMN, depth=3), batches, run=run)
    with pytest.raises(ValueError, match="at least two"):
        fuse_chain([model], batches, run=run)
    with pytest.raises(ValueError, match=r"fc1.*both models need one shape, got \(64, 16\) and \(32, 16\)"):
        average_models(Doubled(model).model, model)
