"""MemoryFormer's mixers, language model and backbone: masks, caches, published sizes, operations, export and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.models.mixers.traits import MixerTraits, StreamingMixer
from perception.registry import MODELS, load_plugin
from perception_plugins.memoryformer import (
    MemoryAttentionMixer,
    MemoryFeedForward,
    MemoryFormer,
    MemoryFormerLM,
    block_cost,
    load_official,
    memory_block,
    read_share,
)
from perception_plugins.memoryformer.network import VARIANTS

load_plugin("memoryformer")
CONFIGS = Path(__file__).resolve().parents[2] / "configs/memoryformer"
BLOCKS = {"tiny": 69_211_008, "small": 155_721_024, "base": 276_834_048}               # parameters of one block
close = torch.testing.assert_close


def mixer(channels: int = 16, **options: Any) -> MemoryAttentionMixer:
    torch.manual_seed(0)
    return MemoryAttentionMixer(channels, **{"heads": 2, "bits": 4, **options}).eval()


def language_model(**options: Any) -> MemoryFormerLM:
    torch.manual_seed(0)
    return MemoryFormerLM(vocab=11, depth=2, width=16, heads=2, bits=4, rotary_pct=0.5, **options).eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("variant", BLOCKS)
def test_a_block_has_as_many_parameters_as_the_formula(variant):
    depth, width, heads, tables, bits = VARIANTS[variant]
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / f"memoryformer_{variant}.py").model)
    assert len(model.blocks) == depth
    assert all(parameters(block) == BLOCKS[variant] for block in model.blocks)
    assert parameters(model) == depth * BLOCKS[variant] + 2 * 50304 * width + width
    assert model.blocks[0].token_mixer.heads == heads
    assert model.blocks[0].token_mixer.query_proj.tables.shape == (tables << bits, width)


@pytest.mark.parametrize("variant", BLOCKS)
def test_the_picture_form_has_the_same_blocks(variant):
    with torch.device("meta"):
        backbone = MODELS.build(load_config(CONFIGS / f"memoryformer_{variant}_patch16.py").model).network.backbone
    depth, width, *_ = VARIANTS[variant]
    assert (len(backbone.blocks), backbone.channels, backbone.strides) == (depth, (width,), (16,))
    assert {parameters(block) for block in backbone.blocks} == {BLOCKS[variant]}


@pytest.mark.parametrize(("variant", "reads", "linear", "attention"), [
    ("tiny", 0.35, 6.44, 4.3), ("small", 0.79, 14.5, 6.4), ("base", 1.41, 25.8, 8.6),
])
def test_operations_of_a_block_over_2048_tokens(variant, reads, linear, attention):
    _, width, _, tables, bits = VARIANTS[variant]
    cost = block_cost(width, tables, bits, 2048)
    assert cost.reads / 1e9 == pytest.approx(reads, abs=5e-3)
    assert cost.linear / 1e9 == pytest.approx(linear, rel=5e-3)
    assert cost.attention / 1e9 == pytest.approx(attention, rel=1e-2)
    assert cost.hashes < 0.01 * cost.reads
    assert read_share(width, 3 * width, tables) == 1 / bits


def test_the_second_layer_widens_by_bits_or_by_tables():
    by_bits, by_tables = (MemoryFeedForward(12, bits=4, expand=expand) for expand in ("extra_bit", "extra_table"))
    assert (by_bits.norm.normalized_shape, by_bits.fc2.tables.shape) == ((18,), (3 * 64, 12))
    assert (by_tables.norm.normalized_shape, by_tables.fc2.tables.shape) == ((24,), (6 * 16, 12))


@pytest.mark.parametrize("projection", ["none", "shared", "each"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_softmax_attention_of_what_was_read(causal, projection):
    attention, x = mixer(causal=causal, projection=projection).double(), torch.randn(2, 7, 16, dtype=torch.float64)
    query, key, value = (part.unflatten(2, (2, 8)).transpose(1, 2) for part in attention.read(x))
    logits = query @ key.transpose(2, 3) / 8**0.5
    if causal:
        logits = logits.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    expected = (logits.softmax(3) @ value).transpose(1, 2).flatten(2)
    close(attention(x), expected)


@pytest.mark.parametrize("masked", [False, True])
def test_a_causal_token_sees_nothing_later(masked):
    attention, x = mixer(causal=True, rotary_pct=0.5), torch.randn(2, 9, 16)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, :2], mask[1, 7:] = False, False                  # the first has no real token to look at
    changed = torch.cat([x[:, :5], torch.randn(2, 4, 16)], dim=1)
    given = (None, mask) if masked else (None,)
    close(attention(changed, *given)[:, :5], attention(x, *given)[:, :5])
    leaf = x.clone().requires_grad_()
    attention(leaf, *given).square().sum().backward()
    assert leaf.grad.isfinite().all()


@pytest.mark.parametrize("cuts", [[9], [1] * 9, [3, 1, 5]])
def test_a_sequence_that_goes_on_gives_what_the_whole_gives(cuts):
    attention, x = mixer(causal=True, rotary_pct=0.5), torch.randn(2, 9, 16)
    cache, found = None, []
    for part in x.split(cuts, dim=1):
        y, cache = attention.extend(part, cache)
        found.append(y)
    close(torch.cat(found, dim=1), attention(x))
    assert cache.key.shape == (2, 2, 9, 8)


def test_it_is_no_streaming_mixer_since_its_cache_grows():
    traits = MixerTraits(cost="N^2", causal="option", streaming=False, masked=True)
    assert traits == MemoryAttentionMixer.TRAITS
    assert not isinstance(mixer(causal=True), StreamingMixer)


@pytest.mark.parametrize("tokens", [0, 1])
def test_no_token_and_one(tokens):
    block = memory_block(16, attention={"heads": 2, "bits": 4}, feed_forward={"bits": 4})
    assert block(torch.randn(2, tokens, 16)).shape == (2, tokens, 16)


def test_a_block_exports_with_the_same_result():
    block = memory_block(16, attention={"heads": 2, "bits": 4}, feed_forward={"bits": 4}).eval()
    x = torch.randn(2, 6, 16)
    exported = torch.export.export(block, (torch.randn(2, 6, 16),)).module()
    close(exported(x), block(x))


def test_the_language_model_reads_each_token_before_it_alone():
    model, ids = language_model(), torch.arange(10).view(2, 5)
    logits = model(ids)
    assert logits.shape == (2, 5, 11)
    changed = ids.clone()
    changed[:, 3:] = 0
    close(model(changed)[:, :3], logits[:, :3])


def test_maps_of_the_picture_form_have_a_stride_of_16():
    torch.manual_seed(0)
    backbone = MemoryFormer(depth=2, width=16, heads=2, bits=4, out_indices=(0, 1)).eval()
    assert [x.shape for x in backbone(torch.rand(1, 3, 64, 50))] == [(1, 16, 4, 3)] * 2


def official_keys(projection: str) -> list[str]:
    """Of a language model of two blocks, as the sheet lists them."""
    keys = ["sequential.0.word_embeddings.weight", "sequential.5.norm.scale", "sequential.6.final_linear.weight"]
    for block in ("sequential.2.", "sequential.3."):
        read = [f"{block}attention.{name}_proj" for name in ("query", "key", "value")]
        read += [f"{block}mlp.0", f"{block}mlp.2"]
        keys += [f"{block}input_layernorm.scale", f"{block}post_attention_layernorm.scale"]
        keys += [f"{block}mlp.1.{name}" for name in ("weight", "bias")]
        keys += [f"{layer}.{name}" for layer in read for name in ("tables", "bias")]
        shared = f"{block}attention.hash_proj"
        projected = {"none": [], "shared": read[3:], "each": read}[projection]
        projections = [f"{layer}.hash.projection" for layer in projected] + [shared] * (projection == "shared")
        keys += [f"{layer}.{name}" for layer in projections for name in ("weight", "bias")]
    return keys


@pytest.mark.parametrize("projection", ["none", "shared", "each"])
def test_every_official_key_has_its_place_and_every_place_its_key(projection):
    state = {key: torch.full((1,), float(number)) for number, key in enumerate(official_keys(projection))}
    mapped = load_official(state)
    assert set(mapped) == set(language_model(projection=projection).state_dict())
    assert load_official({key.removeprefix("sequential."): value for key, value in state.items()}) == mapped


@pytest.mark.parametrize("key", ["sequential.1.mlp.0.tables", "sequential.2.mlp.3.tables", "blocks.0.attn.qkv.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


@pytest.mark.parametrize(("build", "message"), [
    (lambda: MemoryAttentionMixer(16, heads=3), r"channels \(16\) must be divisible by heads \(3\)"),
    (lambda: mixer(projection="own"), "projection must be one of none, shared, each, got 'own'"),
    (lambda: mixer(24, heads=4, rotary_pct=0.5), "rotary channels must be even, got 3"),
    (lambda: mixer(bits=0), r"bits must lie in \[1, 24\], got 0"),
    (lambda: mixer().extend(torch.rand(1, 1, 16)), "build it with causal"),
    (lambda: MemoryFeedForward(16, expand="wider"), "expand must be one of extra_bit, extra_table, got 'wider'"),
    (lambda: MemoryFormer("huge"), "variant must be one of tiny, small, base, got 'huge'"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
