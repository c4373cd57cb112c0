"""Complex attention: against its sum over pairs of numbers, rotary attention, places, caches, masks, sizes, keys."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.models.attention.rotary import rotary_rates, turned
from perception.registry import MODELS
from perception_plugins.complexformer import (
    ComplexAttention,
    ComplexAttentionMixer,
    ComplexFormerLM,
    load_official,
)
from perception_plugins.complexformer.language_model import ComplexBlock, GainRMSNorm
from perception_plugins.complexformer.phase import cartesian, plane_places, polar, turn_of

CONFIGS = Path(__file__).resolve().parents[2] / "configs/complexformer"
close = torch.testing.assert_close


def attention(**options: Any) -> ComplexAttention:
    torch.manual_seed(0)
    return lively(ComplexAttention(24, 3, **options))


def mixer(**options: Any) -> ComplexAttentionMixer:
    torch.manual_seed(0)
    return lively(ComplexAttentionMixer(24, heads=3, **options))


def lively(module: Any) -> Any:
    """Float64, with offsets of angles."""
    nn.init.normal_(module.bias)
    return module.double().eval()


def tokens(count: int = 7) -> Tensor:
    return torch.randn(2, count, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def summed(module: ComplexAttention, x: Tensor, places: Tensor) -> Tensor:
    """Weights by the sum of rotated products of complex numbers, token by token; ``places`` (L,) on one axis."""
    (qr, qi), (kr, ki) = (part.chunk(2, dim=-1) for part in module.projected(x)[:2])
    q, k = torch.complex(qr, qi)[:, :, :, None], torch.complex(kr, ki)[:, :, None]           # (B, heads, L, 1, h)
    rates = rotary_rates(2 * q.shape[-1]).double()
    steps = (places[:, None] - places)[:, :, None] * rates                                   # (L, L, h)
    angle = module.delta[:, None, None] * (q.angle() - k.angle()) + module.bias[:, None, None] + steps
    return (q.abs() * k.abs() * angle.cos()).sum(dim=-1).mul(module.scale).softmax(dim=-1)


@torch.no_grad()
def test_scores_are_the_sum_over_pairs_of_numbers():
    built, x = attention(scale=0.7), tokens()
    places = torch.tensor([0.0, 0.5, 0.6, 3, 10, 4, -2], dtype=torch.float64)                # seconds, say
    close(built.weights(x, places=places[:, None]), summed(built, x, places), atol=1e-6, rtol=1e-6)
    close(built.weights(x), summed(built, x, torch.arange(7.0, dtype=torch.float64)), atol=1e-6, rtol=1e-6)
    expected = (built.weights(x) @ built.projected(x)[2]).transpose(1, 2).flatten(2)
    close(built(x), built.proj(expected))


@torch.no_grad()
def test_phases_left_alone_are_rotary_attention():
    built, x = attention(start="rotary"), tokens()
    nn.init.zeros_(built.bias)
    query, key, value = built.projected(x)
    query, key = (turned(part, rotary_rates(8)) for part in (query, key))
    mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    close(built(x), built.proj(mixed.transpose(1, 2).flatten(2)), atol=1e-6, rtol=1e-6)


def test_numbers_by_hand():
    size, angle = polar(torch.tensor([3.0, 0.0, -2.0, 4.0, 1.0, 0.0]))
    close(size, torch.tensor([5.0, 1.0, 2.0]))
    close(angle, torch.tensor([math.atan2(4, 3), math.pi / 2, math.pi]))
    close(cartesian(size, angle), torch.tensor([3.0, 0.0, -2.0, 4.0, 1.0, 0.0]), atol=1e-6, rtol=0)
    zero = torch.zeros(4, requires_grad=True)
    sum(part.sum() for part in polar(zero)).backward()
    assert zero.grad.isfinite().all()


def test_the_plane_has_half_the_pairs_for_rows_and_half_for_columns():
    turn = turn_of(plane_places((2, 3), device=torch.device("cpu")), 3)
    assert turn.shape == (6, 3)
    close(turn[4], torch.tensor([1.0, 0.01, 1.0], dtype=torch.float64))      # row 1, column 1; two pairs, one pair
    close(turn[2], torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64))
    far = turn_of(torch.tensor([[1e6 + 0.25]]).double(), 1)
    close(far.cos(), torch.tensor([[math.cos(1e6 + 0.25)]], dtype=torch.float64))


def test_rounded_rates_turn_otherwise():
    places = torch.tensor([[100.0]])
    assert (turn_of(places, 4) - turn_of(places, 4, "bfloat16")).abs().max() > 5e-3


@torch.no_grad()
def test_a_map_is_seen_alike_wherever_it_begins_and_however_fine_it_is():
    built, x = mixer(), tokens(12)
    moved = ComplexAttention.forward(built, x, None, plane_places((3, 4), device=x.device) + 5)
    close(built(x, (3, 4)), moved)
    assert not torch.allclose(built(x, (3, 4)), built(x, (4, 3)))
    assert not torch.allclose(built(x, (3, 4)), built(x))
    fine, every_other = mixer(cell=0.5), torch.zeros(6, 8, dtype=torch.bool)
    every_other[::2, ::2] = True
    wide = torch.zeros(2, 48, 24, dtype=torch.float64)
    wide[:, every_other.flatten()] = x
    got = fine(wide, (6, 8), every_other.flatten().expand(2, -1))
    close(got[:, every_other.flatten()], built(x, (3, 4)))


@torch.no_grad()
def test_masks_of_all_forms_hide_the_same():
    built, x = attention(), tokens()
    real = torch.tensor([[True] * 5 + [False] * 2, [True, False] * 3 + [True]])
    added = torch.zeros_like(real, dtype=torch.float64).masked_fill(~real, -torch.inf)
    expected = built(x, real)
    for mask in (added, real[:, None].expand(2, 7, 7), real[:, None, None], added[:, None, None]):
        close(built(x, mask), expected)
    close(built(x[:1, :5]), expected[:1, :5])
    nothing = torch.zeros(2, 7, 7, dtype=torch.bool)
    close(built.weights(x, nothing), torch.full((2, 3, 7, 7), 1 / 7, dtype=torch.float64))
    close(built(x, nothing), built.proj(built.value(x).mean(dim=1, keepdim=True)).expand_as(x))
    causal = attention(causal=True)
    close(causal.weights(x), built.weights(x, torch.ones(2, 7, 7).tril().bool()))
    close(causal(x, torch.ones_like(real)), causal(x))
    close(causal(x, torch.zeros_like(added)), causal(x))


@pytest.mark.parametrize("causal", [False, True])
def test_where_nothing_is_real_outputs_are_zero_and_gradients_finite(causal):
    built, x = mixer(causal=causal), tokens().requires_grad_()
    out = built(x, (1, 7), torch.tensor([[True] * 7, [False] * 7]))
    out.square().sum().backward()
    assert not out[1].any()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("cuts", [[7], [1] * 7, [3, 1, 3]])
@torch.no_grad()
def test_a_sequence_cut_anywhere_goes_on(cuts):
    built, x, cache, parts = mixer(causal=True), tokens(), None, []
    times = torch.linspace(0, 2, 7, dtype=torch.float64)[:, None]
    for part, places in zip(x.split(cuts, dim=1), times.split(cuts), strict=True):
        y, cache = built.extend(part, cache, places)
        parts.append(y)
    close(torch.cat(parts, dim=1), ComplexAttention.forward(built, x, None, times))
    y, cache = built.extend(x[:, :4])
    close(torch.cat([y, built.extend(x[:, 4:], cache)[0]], dim=1), built(x, (1, 7)))


def test_it_takes_any_count_of_tokens_in_any_precision_and_exports():
    built = mixer().float()
    assert all(built(torch.randn(2, count, 24)).shape == (2, count, 24) for count in (0, 1, 5))
    x, mask = torch.randn(2, 6, 24), torch.ones(2, 6, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        rough = built(x, (2, 3))
    assert rough.dtype == torch.bfloat16
    close(rough.float(), built(x, (2, 3)), atol=0.1, rtol=0.1)
    exported = torch.export.export(built, (x, (2, 3), mask)).module()
    close(exported(x + 1, (2, 3), mask), built(x + 1, (2, 3), mask))


def test_both_blocks_by_their_equations():
    torch.manual_seed(0)
    x, parts = tokens(), {}
    for form in ("prenorm", "postnorm"):
        block = ComplexBlock(24, 3, 40, form=form, branch=0.2, freq_dtype="float32", bf16_product=False).double()
        parts[form] = block
    block = parts["prenorm"]
    first = x + 0.2 * block.attention(block.norm(x))
    close(block(x), first + 0.2 * block.ffn(block.norm(first)))
    block = parts["postnorm"]
    close(block(x), block.ffn(block.norm(x + block.attention(block.norm(x)))))


def test_the_small_number_of_the_norm_is_added_to_the_gain():
    norm = GainRMSNorm(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 0.0]))
    close(norm(torch.tensor([3e4, 4e4])), torch.tensor([3 / 12.5**0.5 + 0.3, 0.4]))


@pytest.mark.parametrize(("size", "block", "total"), [("271m", 1_837_568, 270_952_594), ("52m", 2_625_024, 52_285_242)])
def test_language_models_have_as_many_parameters_as_counted(size, block, total):
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / f"complexformer_{size}.py").model)
        longer = ComplexFormerLM(vocab=7, width=24, heads=3, hidden=40, form="prenorm")
        shorter = ComplexFormerLM(vocab=7, width=24, heads=3, hidden=40)
    counts = [sum(p.numel() for p in part.parameters()) for part in (model.blocks[0], model, longer, shorter)]
    assert counts[:2] == [block, total]
    assert counts[2] - counts[3] == 24


def test_a_key_of_another_model_is_told():
    with pytest.raises(CheckpointError, match=r"1 of 2 keys belong to another architecture: lm_head\.weight"):
        load_official({"rope.freqs": torch.ones(1), "lm_head.weight": torch.ones(1)})


@pytest.mark.parametrize(("build", "message"), [
    (lambda: ComplexAttention(24, 8), r"channels \(24\) must be divisible by twice the heads \(8\)"),
    (lambda: ComplexAttention(24, 3, freq_dtype="float16"), "freq_dtype must be one of float32, bfloat16, got 'float"),
    (lambda: ComplexAttention(24, 3, start="zero"), "start must be one of released, rotary, got 'zero'"),
    (lambda: ComplexFormerLM(form="sandwich"), "form must be one of prenorm, postnorm, got 'sandwich'"),
    (lambda: ComplexAttentionMixer(24, heads=3, cell=0.0), "cell must be > 0, got 0"),
    (lambda: mixer().extend(tokens()), "build it with causal"),
    (lambda: mixer()(tokens(), (2, 3)), "a map of 2 x 3 has other than 7 tokens"),
    (lambda: ComplexAttentionMixer(4, heads=2)(torch.zeros(1, 2, 4), (1, 2)), "2 axes need a pair .* got 1"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
