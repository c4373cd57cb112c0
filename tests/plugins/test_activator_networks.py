"""Activator: its gate by hand, what sees what, sizes, keys, and the form whose tokens are mixed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception_plugins.activator import Activator, ActivatorBlock, ActivatorGLU, ActivatorMetaFormer, load_official

CONFIGS = Path(__file__).resolve().parents[2] / "configs/activator"
close = torch.testing.assert_close


@pytest.mark.parametrize(("activation", "function"), [("gelu", F.gelu), ("silu", F.silu), ("relu", F.relu)])
def test_one_norm_serves_both_factors_of_the_gate(activation, function):
    torch.manual_seed(0)
    glu = ActivatorGLU(6, hidden=10, activation=activation)
    for parameter in glu.norm.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 5, 6)
    u, v = function(F.linear(x, glu.gate.weight, glu.gate.bias)), F.linear(x, glu.up.weight, glu.up.bias)
    u, v = (
        (part - part.mean(-1, keepdim=True)) / (part.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
        * glu.norm.weight + glu.norm.bias
        for part in (u, v)
    )
    close(glu(x), F.linear(u * v, glu.down.weight, glu.down.bias), atol=1e-5, rtol=1e-4)


def test_a_gate_has_three_matrices_their_biases_and_one_norm():
    C, F_ = 6, 10
    assert sum(p.numel() for p in ActivatorGLU(C, hidden=F_).parameters()) == 3 * C * F_ + 2 * F_ + C + 2 * F_
    assert ActivatorGLU(10, ratio=2.55).gate.out_features == 25


def test_gates_take_any_count_of_tokens_in_any_precision_and_export():
    glu = ActivatorGLU(6).eval()
    assert all(glu(torch.randn(2, count, 6)).shape == (2, count, 6) for count in (0, 1, 5))
    x, mask = torch.randn(2, 5, 6), torch.tensor([[True] * 5, [False] * 5])
    with torch.autocast("cpu", torch.bfloat16):
        close(glu(x).float(), glu(x.float()).float(), atol=0.1, rtol=0.1)
    exported = torch.export.export(glu, (x, None, mask)).module()
    close(exported(x + 1, None, mask), glu(x + 1, None, mask))
    assert not glu(x, mask=mask)[1].any()
    assert glu.double()(x.double()).dtype == torch.float64


@torch.no_grad()
def test_both_branches_of_a_block_share_its_norm():
    torch.manual_seed(0)
    block, x = ActivatorBlock(6, 10, dropout=0.5).eval(), torch.randn(2, 5, 6)
    nn.init.normal_(block.norm.weight)
    first = x + block.glu(block.norm(x))
    close(block(x), first + block.ffn(block.norm(first)))
    assert [name for name, _ in block.named_parameters() if name.startswith("norm")] == ["norm.weight", "norm.bias"]
    assert ActivatorBlock(6, 10, ffn=False).ffn is None


@pytest.mark.parametrize(("build", "seen"), [
    (lambda: Activator(2, 16, hidden=32), 1),                                    # a bag of patches
    (lambda: ActivatorMetaFormer((2,), (16,), layer_scale=1.0, out_indices=(0,)), 25),      # a 3 x 3 window a block
])
@torch.no_grad()
def test_how_many_places_a_patch_is_seen_from(build, seen):
    torch.manual_seed(0)
    net = build().eval()
    images = torch.randn(1, 3, 64, 64)
    changed = images.clone()
    changed[:, :, 33:35, 33:35] += 5                     # inside patch 8, 8, and in no other window of a stem of 7
    (x,), (y,) = net(images), net(changed)
    moved = ((x - y).abs().amax(dim=1)[0] > 1e-7).sum()
    assert moved == seen if seen == 1 else moved >= seen


@pytest.mark.parametrize(("name", "count"), [("activator_cifar10", 2_650_890), ("activator_glu_cifar10", 1_599_242)])
def test_networks_have_as_many_parameters_as_counted(name, count):
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / f"{name}.py").model)
    assert sum(p.numel() for p in model.parameters()) == count


@torch.no_grad()
def test_the_composed_form_gives_the_maps_of_a_pyramid():
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / "activator_metaformer.py").model).network
        assert model(torch.empty(1, 3, 64, 96)).shape == (1, 1000)
    assert (model.backbone.channels, model.backbone.strides) == ((64, 128, 320, 512), (4, 8, 16, 32))
    blocks = [block for stage in model.backbone.stages for block in stage.blocks]
    assert len(blocks) == 12
    assert all(isinstance(block.channel_mixer, ActivatorGLU) for block in blocks)


def test_checkpointing_changes_no_gradient():
    grads = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        net = Activator(2, 16, hidden=32, dropout=0.0, checkpointing=checkpointing)
        net(torch.ones(1, 3, 8, 8))[0].square().sum().backward()
        grads.append(net.embed.proj.weight.grad)
    close(*grads)


def test_a_key_of_another_model_is_told():
    with pytest.raises(CheckpointError, match=r"1 of 2 keys belong to another architecture: model\.0\.attn\.weight"):
        load_official({"patcher.bias": torch.ones(1), "model.0.attn.weight": torch.ones(1)})


@pytest.mark.parametrize(("build", "message"), [
    (lambda: ActivatorGLU(2, ratio=0.4), "the hidden width must be >= 1, got 0 for 2 channels"),
    (lambda: ActivatorGLU(2, activation="gelo"), "activation must be one of gelu.* got 'gelo'"),
    (lambda: Activator()(torch.zeros(1, 3, 3, 8)), "images must be at least 4 x 4 pixels, got 3 x 8"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
