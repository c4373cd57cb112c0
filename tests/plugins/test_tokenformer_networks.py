"""TokenFormer's mixers, language model and backbone: places, caches, masks, published sizes, export, and keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from perception.engine.config import load_config
from perception.errors import CheckpointError
from perception.registry import MODELS, load_plugin
from perception.structures import Camera, Frame
from perception_plugins.tokenformer import (
    PLUGIN,
    PattentionFeedForward,
    PattentionMixer,
    TokenFormer,
    TokenFormerLM,
    load_official,
)

load_plugin("tokenformer")
CONFIGS = Path(__file__).resolve().parents[2] / "configs/tokenformer"
PUBLISHED = {                                            # of the layers, and in all; layers are as many as the last
    "150m": (9_437_184, 151_881_216, 12), "450m": (16_777_216, 454_166_528, 24), "900m": (26_214_400, 903_252_480, 32),
    "1_5b": (37_748_736, 1_587_219_456, 40), "354m": (12_582_912, 353_503_232, 24),
    "757m": (29_360_128, 756_156_416, 24),
}
close = torch.testing.assert_close


def mixer(**options: Any) -> PattentionMixer:
    torch.manual_seed(0)
    built = PattentionMixer(16, **{"heads": 2, "qkv_slots": 20, "proj_slots": 12, **options}).eval()
    for parameter in built.parameters():
        nn.init.normal_(parameter)
    return built


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_attention_is_that_of_torch_between_tables():
    built, x = mixer(), torch.randn(2, 7, 16)
    query, key, value = (part(x).view(2, 7, 2, 8).transpose(1, 2) for part in (built.query, built.key, built.value))
    expected = (query @ key.mT / 8**0.5).softmax(dim=-1) @ value
    close(built(x), built.proj(expected.transpose(1, 2).flatten(2)), atol=1e-4, rtol=1e-5)


def test_a_token_does_not_see_later_ones():
    built, x = mixer(causal=True, rotary_pct=0.5), torch.randn(2, 7, 16)
    changed = torch.cat([x[:, :4], torch.randn(2, 3, 16)], dim=1)
    close(built(changed)[:, :4], built(x)[:, :4])
    assert not torch.allclose(built(changed)[:, 4:], built(x)[:, 4:])


def test_places_count_only_with_a_rotation():
    x = torch.randn(1, 7, 16)
    close(mixer()(x.flip(1)), mixer()(x).flip(1), atol=1e-4, rtol=1e-5)
    turning = mixer(rotary_pct=0.5)
    assert (turning(x.flip(1)) - turning(x).flip(1)).abs().max() > 0.1


@pytest.mark.parametrize("causal", [False, True])
def test_masked_tokens_neither_matter_nor_remain(causal):
    built, x = mixer(causal=causal, rotary_pct=0.5), torch.randn(2, 7, 16)
    mask = torch.tensor([[False, True, True, False, True, True, False], [False] * 7])
    changed = torch.where(mask[..., None], x, torch.randn_like(x) * 10)
    close(built(changed, mask=mask), built(x, mask=mask))
    assert not built(x, mask=mask)[~mask].any()
    close(built(x, mask=torch.ones(2, 7, dtype=torch.bool)), built(x), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("cuts", [[7], [1] * 7, [3, 1, 3], [2, 5]])
def test_a_sequence_cut_anywhere_goes_on(cuts):
    built, x, cache, parts = mixer(causal=True, rotary_pct=0.5), torch.randn(2, 7, 16), None, []
    for part in x.split(cuts, dim=1):
        y, cache = built.extend(part, cache)
        parts.append(y)
    close(torch.cat(parts, dim=1), built(x), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("build", [
    lambda: mixer(causal=True, rotary_pct=0.5), lambda: PattentionFeedForward(16, slots=30),
], ids=["attention", "feed_forward"])
def test_mixers_take_any_count_of_tokens_in_any_precision_and_export(build):
    built = build().eval()
    assert all(built(torch.randn(2, count, 16)).shape == (2, count, 16) for count in (0, 1, 5))
    x, mask = torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        assert built(x).isfinite().all()
    exported = torch.export.export(built, (x, None, mask)).module()
    close(exported(x + 1, None, mask), built(x + 1, None, mask))
    assert built.double()(x.double()).dtype == torch.float64


def small_lm(**options: Any) -> TokenFormerLM:
    torch.manual_seed(0)
    sizes = {"depth": 2, "width": 32, "heads": 2, "qkv_slots": 24, "proj_slots": 20, "ffn_slots": 40}
    return TokenFormerLM(vocab=17, **{**sizes, **options}).eval()


@pytest.mark.parametrize("size", list(PUBLISHED))
def test_a_language_model_has_as_many_parameters_as_published(size):
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / f"tokenformer_{size}.py").model)
    layer, total, depth = PUBLISHED[size]
    assert [parameters(block) for block in model.blocks] == [layer] * depth
    assert parameters(model) == total


def test_a_vision_transformer_is_as_large_as_inferred():
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / "tokenformer_base_patch16.py").model)
    assert sum(parameters(block) for block in model.network.backbone.blocks) == 84_934_656
    embedding, places, norm, head = 768 * (3 * 256 + 1), 768 * 196, 2 * 768, 1000 * 769
    assert parameters(model) == 84_934_656 + embedding + places + norm + head


def test_a_language_model_is_trained_on_the_tokens_that_count():
    model, ids = small_lm(), torch.randint(17, (2, 6))
    labels, mask = torch.randint(17, (2, 6)), torch.tensor([[1.0, 1, 0, 0, 1, 0], [0.0] * 6])
    logits = model(ids)[mask.bool()]
    close(model.loss(ids, labels, mask), F.cross_entropy(logits, labels[mask.bool()]))
    close(model.loss(ids, labels), F.cross_entropy(model(ids).flatten(0, 1), labels.flatten()))


def test_a_language_model_goes_on_token_by_token():
    model, ids = small_lm(), torch.randint(17, (2, 6))
    caches, parts = None, []
    for part in ids.split([3, 1, 1, 1], dim=1):
        logits, caches = model.extend(part, caches)
        parts.append(logits)
    close(torch.cat(parts, dim=1), model(ids), atol=1e-5, rtol=1e-5)


def official_keys(depth: int, prefix: str = "sequential.") -> list[str]:
    """Every key of a released checkpoint."""
    tables = [f"attention.{part}" for part in ("query", "key", "value", "proj")] + ["mlp"]
    keys = [
        f"{prefix}{number + 2}.{table}.{kind}_param_tokens"
        for number in range(depth) for table in tables for kind in ("key", "value")
    ]
    embedding = "sequential.0" if prefix else "tied_modules.embed"
    norm = [f"{prefix}{depth + 3}.norm.{kind}" for kind in ("weight", "bias")]
    return [f"{embedding}.word_embeddings.weight", *keys, *norm]


@pytest.mark.parametrize("prefix", ["sequential.", ""], ids=["flattened", "stages"])
@pytest.mark.parametrize("size", list(PLUGIN.checkpoints.values()))
def test_every_official_key_has_its_place_and_every_place_its_key(size, prefix):
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS.parents[1] / size).model)
    keys = official_keys(len(model.blocks), prefix)
    assert set(load_official(dict.fromkeys(keys, torch.ones(1)))) == set(model.state_dict())


def test_a_table_without_a_scale_is_scaled_by_its_rows():
    state = {"sequential.2.mlp.key_param_tokens": torch.ones(7, 3)}
    assert load_official(state)["blocks.0.channel_mixer.mlp.scale_tokens"] == 7


@pytest.mark.parametrize("key", ["sequential.2.mlp.dense.weight", "sequential.2.attention.value.weight", "wte.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


@pytest.mark.parametrize("name", ["tokenformer_base_patch16", "tokenformer_large_patch16"])
def test_a_classifier_of_the_configs_learns_and_predicts(name):
    small = {"depth": 1, "width": 32, "heads": 2, "qkv_slots": 24, "proj_slots": 24, "ffn_slots": 40}
    cfg = load_config(CONFIGS / f"{name}.py", {"model.network.num_classes": 7})
    cfg.model.network.backbone.update(small)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    image = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8)
    frames = [Frame("a", 0, cameras={"front": Camera(None, 0, image=image, category=3)})]
    sum(model(**model.data_preprocessor(frames, True), mode="loss").values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    (found,) = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


def test_maps_lie_behind_a_norm_with_or_without_a_class_token():
    small = {"depth": 2, "width": 32, "heads": 2, "qkv_slots": 24, "proj_slots": 24, "ffn_slots": 40}
    for class_token in (False, True):
        model = TokenFormer(**small, class_token=class_token, out_indices=(0, 1)).eval()
        maps = model(torch.rand(1, 3, 33, 50))
        assert [tuple(x.shape) for x in maps] == [(1, 32, 2, 3)] * 2
        close(maps[1].mean(dim=1), torch.zeros(1, 2, 3), atol=1e-6, rtol=0)
    assert not list(model.blocks[0].norm1.parameters())
