"""FMViT-style networks: sizes, deployment, any picture, and what is refused."""

from __future__ import annotations

import copy
import logging
import math
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lived_in import lived_in
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import fold_batch_norms
from perception.engine.benchmark.models import street_model
from perception.engine.checkpoint import save_checkpoint
from perception.engine.config import load_config
from perception.engine.fuse_hook import FuseHook
from perception.engine.inference import load_network
from perception.errors import CheckpointError
from perception.models.classifier import BackboneClassifier
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception_plugins.fmvit import PLUGIN, FMViT, load_official
from perception_plugins.fmvit.blocks import ConvFusionBlock, FrequencyMixingBlock, GroupedMlp, PooledAttention

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs/fmvit").glob("*.py"))
CPU = torch.device("cpu")
SIZES = {                                            # widths, depths, channels of a group of convolutions
    "tiny": ((48, 96, 192, 384), (2, 2, 6, 2), 16), "small": ((64, 128, 256, 512), (3, 4, 10, 3), 32),
    "base": ((96, 192, 384, 768), (3, 4, 10, 3), 32),
}
SMALL = {
    "widths": (8, 16, 24, 32), "depths": (1, 2, 2, 1), "reductions": (4, 4, 2, 1), "head_channels": 4,
    "conv_head_channels": 4,
}
POINT = ((1, 1), (1, 2))
STEM = ((3, 1), (1, 1))
close = torch.testing.assert_close


def small(**options) -> FMViT:
    torch.manual_seed(0)
    model = FMViT(**{**SMALL, **options})
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=0.5 * fan_in**-0.5)     # every branch is seen, and maps are of about 1
    return model


def conv(inputs: int, outputs: int, branches: tuple, has_identity: bool, deployed: bool) -> int:
    """Numbers in one re-parameterised convolution."""
    if deployed:
        groups = math.gcd(*(g for _, g in branches))
        return outputs * (inputs // groups * max(k for k, _ in branches) ** 2 + 1)
    return sum(outputs * (inputs // g * k * k + 2) for k, g in branches) + 2 * outputs * has_identity


def unit(inputs: int, outputs: int, deployed: bool) -> int:
    return outputs * (inputs + (1 if deployed else 2))


def block(C: int, group: int, reduction: int | None, deployed: bool) -> int:
    """Numbers in a block, of attention too if it has a reduction."""
    norm = 0 if deployed else 2

    def mixer(width: int) -> int:
        branches = ((3, width // group), (1, width // group), (3, width))
        return conv(width, width, branches, True, deployed) + unit(width, width, deployed)

    mlp = norm * C + conv(C, 3 * C, POINT, False, deployed) + conv(3 * C, C, POINT, False, deployed)
    if reduction is None:
        return mixer(C) + mlp
    half = C // 2
    attention = norm * half * (2 if reduction > 1 else 1) + 4 * conv(half, half, POINT, False, deployed)
    return 2 * unit(C, half, deployed) + attention + mixer(half) + unit(C, C, deployed) + mlp


def counted(variant: str, deployed: bool) -> int:
    """Numbers that the equations have."""
    widths, depths, group = SIZES[variant]
    total = conv(3, widths[0], STEM, False, deployed) + conv(widths[0], widths[0], STEM, False, deployed)
    total += sum(unit(before, after, deployed) for before, after in pairwise(widths))
    for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
        reductions = [None] * depth if stage == 0 else [None] * (depth - 1) + [(8, 4, 2, 1)[stage]]
        total += sum(block(width, group, reduction, deployed) for reduction in reductions)
    return total


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("variant", ["small", "base"])
def test_a_size_has_as_many_parameters_as_the_equations(variant):
    with torch.device("meta"):
        classifier = MODELS.build(load_config(ROOT / f"configs/fmvit/fmvit_{variant}.py").model)
    assert parameters(classifier) == counted(variant, deployed=False) + 1000 * (SIZES[variant][0][-1] + 1)


def test_a_deployed_network_has_as_many_parameters_as_the_equations():
    classifier = MODELS.build(load_config(ROOT / "configs/fmvit/fmvit_tiny.py").model)
    head = 1000 * (SIZES["tiny"][0][-1] + 1)
    assert parameters(classifier) == counted("tiny", deployed=False) + head
    fold_batch_norms(classifier.eval())
    assert parameters(classifier) == counted("tiny", deployed=True) + head


def test_the_last_block_of_all_stages_but_the_first_mixes_frequencies():
    kinds = [[type(part) for part in stage] for stage in small().stages]
    assert kinds == [
        [ConvFusionBlock], [ConvFusionBlock, FrequencyMixingBlock], [ConvFusionBlock, FrequencyMixingBlock],
        [FrequencyMixingBlock],
    ]


@pytest.mark.parametrize("size", [(224, 224), (225, 401), (33, 64), (32, 32)])
def test_maps_have_sizes_that_are_rounded_up(size):
    model = small().eval()
    with torch.no_grad():
        maps = model(torch.rand(1, 3, *size))
    expected = [tuple(math.ceil(n / stride) for n in size) for stride in (4, 8, 16, 32)]
    assert [tuple(x.shape[2:]) for x in maps] == expected
    assert [x.shape[1] for x in maps] == list(model.channels) == list(SMALL["widths"])
    assert model.strides == (4, 8, 16, 32)


def test_only_the_maps_that_are_asked_for_are_given_and_made():
    model, whole = small(out_indices=(0, 2)).eval(), small().eval()
    whole.load_state_dict(model.state_dict(), strict=False)
    images = torch.rand(1, 3, 64, 64)
    assert (model.channels, model.strides, len(model.stages)) == ((8, 24), (4, 16), 3)
    for got, expected in zip(model(images), whole(images)[::2], strict=True):
        assert torch.equal(got, expected)


@pytest.mark.parametrize("size", [(64, 64), (75, 101)])
@torch.inference_mode()
def test_a_deployed_network_gives_what_it_gave(size):
    model = lived_in(small())
    images = torch.randn(2, 3, *size)
    before = model(images)
    model.switch_to_deploy()
    for got, expected in zip(model(images), before, strict=True):
        close(got, expected, atol=1e-5 * expected.abs().max().item(), rtol=0)
    assert {key.rpartition("conv.")[2] for key in model.state_dict()} == {"weight", "bias"}
    assert all("conv." in key and "branch" not in key for key in model.state_dict())
    assert {type(part) for part in model.modules()}.isdisjoint({nn.BatchNorm2d})


@torch.inference_mode()
def test_in_float64_deployment_is_exact():
    model = lived_in(small()).double()
    images = torch.randn(1, 3, 75, 101, dtype=torch.float64)
    before = model(images)
    model.switch_to_deploy()
    for got, expected in zip(model(images), before, strict=True):
        close(got, expected, atol=1e-10 * expected.abs().max().item(), rtol=0)


def test_deploying_twice_changes_nothing_and_another_deployed_network_takes_the_weights():
    model, other = lived_in(small()), lived_in(small(), seed=1)
    images = torch.rand(1, 3, 64, 64)
    model.switch_to_deploy()
    before = model(images)
    model.switch_to_deploy()
    other.switch_to_deploy()
    other.load_state_dict(model.state_dict())
    for network in (model, other):
        for got, expected in zip(network(images), before, strict=True):
            assert torch.equal(got, expected)


def test_a_deployed_perceptron_is_an_ordinary_one():
    mlp = lived_in(GroupedMlp(8, ratio=2))
    x = torch.randn(1, 8, 4, 5)
    expected = mlp(x)
    fold_batch_norms(mlp)
    layers = [layer.conv for layer in (mlp.fc1, mlp.fc2)]
    rows = x.flatten(2).transpose(1, 2)
    for number, layer in enumerate(layers):
        rows = nn.functional.linear(rows.relu() if number else rows, layer.weight.flatten(1), layer.bias)
    close(rows.transpose(1, 2).unflatten(2, (4, 5)), expected, atol=1e-5, rtol=1e-5)


def test_attention_sees_the_means_of_windows_of_what_there_is():
    attention = PooledAttention(4, head_channels=4, reduction=2, branches=((1, 1),)).eval()
    for layer in (attention.q, attention.k, attention.v, attention.proj):
        nn.init.zeros_(layer.branch[0].conv.weight)
    for layer in (attention.v, attention.proj):
        layer.branch[0].conv.weight.data += torch.eye(4)[:, :, None, None]
    x = torch.rand(1, 4, 3, 5)                             # with equal logits everything is the mean of 2 x 3 windows
    means = torch.stack([
        x[:, :, top : top + 2, left : left + 2].mean(dim=(2, 3)) for top in (0, 2) for left in (0, 2, 4)
    ]).mean(dim=0)
    close(attention(x), means[:, :, None, None].expand_as(x), atol=1e-4, rtol=1e-4)        # three norms with an eps


def segmentor_config(**options) -> dict:
    return {
        "type": "Segmentor", "backbone": {"type": "FMViT", **SMALL}, "classes": tuple("abcdefgh"),
        "head": {"type": "FinestMapOfThisTest"}, **options,
    }


class FinestMap(nn.Module):
    """A head without weights."""

    def __init__(self, in_channels: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        assert in_channels[0] == num_classes

    def forward(self, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return maps[0]


@torch.inference_mode()
def test_the_fuse_option_and_the_fuse_hook_deploy_it_within_a_model(tmp_path):
    MODELS.register_module("FinestMapOfThisTest", force=True, module=FinestMap)
    model = lived_in(MODELS.build(segmentor_config()))
    save_checkpoint({"state_dict": model.state_dict()}, tmp_path / "model.pth")
    cfg = load_config(CONFIGS[0])
    cfg.model = segmentor_config()
    fused = load_network(cfg, tmp_path / "model.pth", CPU, fuse=True)
    hooked = copy.deepcopy(model)
    FuseHook().before_test(SimpleNamespace(model=hooked, logger=logging.getLogger("test")))
    images = torch.randn(1, 3, 64, 96)
    expected = model({"images": images})
    for deployed in (fused, hooked):
        assert not any(isinstance(part, _BatchNorm) for part in deployed.modules())
        close(deployed({"images": images}), expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


def test_the_benchmark_times_a_fused_classifier_on_a_picture():
    cfg = load_config(CONFIGS[0], {"model.network.num_classes": 7})
    cfg.model.network.backbone.update(SMALL)
    timed = street_model(cfg, CPU, picture=(64, 96), fuse=True)
    assert timed.size == 64 * 96
    assert not any(isinstance(part, _BatchNorm) for part in timed.model.modules())
    assert [stage.name for stage in timed.model.stages(timed.batch)] == ["network", "decode"]


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_reaches_every_parameter(checkpointing):
    model = small(checkpointing=checkpointing, drop_path=0.1).train()
    sum(x.square().mean() for x in model(torch.rand(2, 3, 75, 101))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


def test_checkpointing_changes_neither_gradients_nor_statistics():
    models = [small(checkpointing=checkpointing).train() for checkpointing in (False, True)]
    images = torch.rand(2, 3, 64, 64)
    for model in models:
        sum(x.square().mean() for x in model(images)).backward()
    plain, again = models
    for (name, expected), got in zip(plain.named_parameters(), again.parameters(), strict=True):
        close(got.grad, expected.grad, msg=lambda text, name=name: f"{name}: {text}")
    for (name, expected), got in zip(plain.named_buffers(), again.buffers(), strict=True):
        close(got, expected, msg=lambda text, name=name: f"{name}: {text}")


def test_a_batch_of_one_small_picture_trains_with_frozen_statistics():
    model = small(norm_eval=True).train()
    before = copy.deepcopy(dict(model.named_buffers()))
    model(torch.rand(1, 3, 32, 32))[-1].square().mean().backward()
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert model.down["1"].bn.weight.grad is not None


def test_it_computes_in_bfloat16():
    model = lived_in(small())
    images = torch.rand(2, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        maps = model(images)
    sum(x.float().square().mean() for x in maps).backward()
    for got, expected in zip(maps, model(images), strict=True):
        close(got.float(), expected, atol=0.05 * expected.abs().max().item(), rtol=0)      # bfloat16 keeps 8 bits
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_an_export_of_a_deployed_network_gives_the_same_maps():
    model = lived_in(small(depths=(1, 1, 1, 1), out_indices=(0, 1)))       # a block of each kind
    model.switch_to_deploy()
    images = torch.rand(1, 3, 65, 97)
    exported = torch.export.export(model, (images,)).module()
    for got, expected in zip(exported(images), model(images), strict=True):
        close(got, expected)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: FMViT("large"), "variant must be one of tiny, small, base, got 'large'"),
    (lambda: small(widths=(8, 16, 24)), r"widths must be four numbers >= 1, one a stage, got \(8, 16, 24\)"),
    (lambda: small(depths=(1, 0, 1, 1)), "depths must be four numbers >= 1"),
    (lambda: small(reductions=(1, 2)), "reductions must be four numbers >= 1"),
    (lambda: small(out_indices=(2, 1)), r"out_indices must be ascending stages 0 to 3, got \(2, 1\)"),
    (lambda: small(out_indices=()), "out_indices must be ascending stages"),
    (lambda: small(head_channels=5), r"channels \(8\) must be a multiple of head_channels \(5\)"),
    (lambda: small(conv_head_channels=3), r"channels \(8\) must be a multiple of group_channels \(3\)"),
    (lambda: small(low_ratio=0.75, head_channels=6, conv_head_channels=8), r"channels \(4\) must be a multiple of gr"),
    (lambda: small(low_ratio=1.0), "low_ratio must leave channels on both sides, got 1.0: 16 of 16"),
    (lambda: small(mlp_branches=((1, 3),)), "groups must divide 8 inputs and 24 outputs"),
    (lambda: small(mlp_branches=((3, 1),)), r"branches of an MLP must have kernels of 1, got \(\(3, 1\),\)"),
    (lambda: small(attention_branches=((3, 1),)), "branches of attention must have kernels of 1"),
    (lambda: PooledAttention(8, head_channels=8, reduction=0), "reduction must be >= 1, got 0"),
    (lambda: small().switch_to_deploy(), "in evaluation mode"),
    (lambda: small()(torch.rand(1, 3, 31, 64)), "images must be at least 32 x 32 pixels, got 31 x 64"),
    (lambda: small()(torch.rand(1, 3, 0, 64)), "images must be at least 32 x 32 pixels, got 0 x 64"),
    (lambda: small()(torch.rand(1, 4, 64, 64)), r"images must be \(B, 3, H, W\), got \(1, 4, 64, 64\)"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_builds_learns_and_predicts(path):
    cfg = load_config(path, {"model.network.num_classes": 7})
    cfg.model.network.backbone.update(SMALL)
    model = MODELS.build(cfg.model)
    image = torch.randint(0, 256, (3, 96, 96), dtype=torch.uint8)
    frames = [Frame("a", 0, cameras={"front": Camera(None, 0, image=image, category=3)})]
    losses = model(**model.data_preprocessor(frames, True), mode="loss")
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    (found,) = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


def test_every_checkpoint_of_the_plugin_has_a_config_and_none_is_called_official():
    assert {ROOT / path for path in PLUGIN.checkpoints.values()} == set(CONFIGS)
    assert PLUGIN.official == ""
    assert "not a reproduction" in PLUGIN.title


def test_every_key_of_a_network_has_its_place():
    model = BackboneClassifier({"type": "FMViT", **SMALL})
    keys = [key.removeprefix("backbone.") for key in model.state_dict()]
    assert set(load_official(dict.fromkeys(keys, torch.ones(1)))) == set(model.state_dict())


@pytest.mark.parametrize("key", ["stem.0.conv.weight", "stages.0.0.attention.q.weight", "patch_embed.proj.weight"])
def test_a_key_of_another_architecture_or_of_a_deployed_network_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})
