"""MatViT and MatLM: published sizes, places, causality, maps of any picture, configs that learn, and official keys."""

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
from perception.models.token_layout import map_of
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception_plugins.matformer import (
    PLUGIN,
    MatLM,
    MatViT,
    MatViTClassifier,
    NestedFeedForward,
    OlmoAttention,
    load_official,
    parameters_at,
)
from perception_plugins.matformer.position import SincosPosition

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs/matformer"
# Millions, or all digits where the sheet has them; a class token has a position of its own in the authors' network,
# which is part of the token here.
VISION = {
    "ti": {96: "2.61", 192: "3.06", 384: "3.94", 768: "5.72"},
    "s": {192: "9.65", 384: "11.42", 768: "14.96", 1536: "22.05"},
    "b": {384: 36_990_184, 768: 44_072_680, 1536: 58_237_672, 3072: 86_567_656},
    "l": {512: "128.1", 1024: "153.3", 2048: "203.6", 4096: 304_326_632},
    "h": {640: "265.1", 1280: "317.5", 2560: "422.4", 5120: "632.2"},
}
LANGUAGE = {                                             # of the factors 1, 2, 4 and 8
    "180m": ("63.8", "47.0", "38.6", "34.4"), "460m": ("203.7", "136.5", "103.0", "86.2"),
    "1300m": ("711.4", "442.9", "308.7", "241.6"),
}
SMALL: dict[str, Any] = {"type": "MatViT", "width": 24, "depth": 2, "heads": 3, "patch": 4, "position": (3, 4)}
close = torch.testing.assert_close


def assert_as_many(count: int, told: int | str) -> None:
    """Exactly, or to the digits that are told in millions."""
    if isinstance(told, int):
        assert count == told
    else:
        assert f"{count / 1e6:.{len(told.partition('.')[2])}f}" == told


@pytest.mark.parametrize("size", list(VISION))
def test_a_vision_transformer_has_as_many_parameters_as_published_at_each_width(size):
    with torch.device("meta"):
        network = MODELS.build(load_config(CONFIGS / f"matvit_{size}_patch16.py").model).network
    layer = network.backbone.blocks[0].channel_mixer
    assert layer.widths == tuple(VISION[size])
    for width, told in VISION[size].items():
        assert_as_many(parameters_at(network, width) + network.backbone.channels[0], told)


@pytest.mark.parametrize("size", list(LANGUAGE))
def test_a_language_model_has_as_many_parameters_as_published_at_each_width(size):
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIGS / f"matlm_{size}.py").model)
    hidden = 8 * model.norm.weight.numel()
    for factor, told in zip((1, 2, 4, 8), LANGUAGE[size], strict=True):
        assert_as_many(parameters_at(model, hidden // factor), told)


def test_positions_in_quarters_by_hand():
    code = SincosPosition(8).code((2, 3))[5]                 # row 1, column 2; rates 1 and 0.01
    angles = [2.0, 0.02, 1.0, 0.01]
    expected = [f(a) for pair in (angles[:2], angles[2:]) for f in (math.sin, math.cos) for a in pair]
    close(code, torch.tensor(expected))


def test_a_bias_by_hand():
    bias = OlmoAttention(8, heads=2).bias(3)                 # slopes 2^-4 and 2^-8
    hidden = -math.inf
    assert bias[0, 0].tolist() == [[0, hidden, hidden], [-1 / 16, 0, hidden], [-2 / 16, -1 / 16, 0]]
    assert bias[0, 1, 2].tolist() == [-2 / 256, -1 / 256, 0]


@pytest.mark.parametrize("position", ["alibi", "rotary", None])
def test_many_queries_share_one_key_and_one_value(position):
    """As if each head had a copy of the one that there is."""
    torch.manual_seed(0)
    one, many = (OlmoAttention(16, heads=4, multi_query=shared, position=position) for shared in (True, False))
    q, k, v = one.in_proj.weight.split((16, 4, 4))
    biases = one.in_proj.bias.split((16, 4, 4))
    many.load_state_dict({
        **one.state_dict(), "in_proj.weight": torch.cat([q, k.repeat(4, 1), v.repeat(4, 1)]),
        "in_proj.bias": torch.cat([biases[0], biases[1].repeat(4), biases[2].repeat(4)]),
    })
    x = torch.randn(2, 7, 16)
    close(one(x), many(x))


@pytest.mark.parametrize("position", ["alibi", "rotary", None])
def test_a_token_sees_neither_later_nor_masked_ones(position):
    built, x = OlmoAttention(16, heads=4, position=position), torch.randn(2, 7, 16)
    changed = torch.cat([x[:, :4], torch.randn(2, 3, 16)], dim=1)
    close(built(changed)[:, :4], built(x)[:, :4])
    mask = torch.tensor([[False, True, True, False, True, True, False], [False] * 7])
    close(built(torch.where(mask[..., None], x, 10 * torch.randn_like(x)), mask=mask), built(x, mask=mask))
    assert not built(x, mask=mask)[~mask].any()
    assert built(x[:, :0]).shape == (2, 0, 16)


def test_attention_equals_a_loop_over_queries():
    built, x = OlmoAttention(8, heads=2).double(), torch.randn(1, 4, 8, dtype=torch.float64)
    query, key, value = built.in_proj(x)[0].split((8, 4, 4), dim=1)
    rows = []
    for i in range(4):
        heads = []
        for h in range(2):
            logits = [
                query[i, 4 * h : 4 * h + 4] @ key[j] / 2 - (i - j) * 2.0 ** (-4 * (h + 1)) for j in range(i + 1)
            ]
            heads.append(torch.stack(logits).softmax(0) @ value[: i + 1])
        rows.append(torch.cat(heads))
    close(built(x)[0], built.out_proj(torch.stack(rows)))


def test_a_language_model_is_scored_on_what_comes_next():
    torch.manual_seed(0)
    model, ids = MatLM(vocab=19, depth=2, width=16, heads=4, ratio=4), torch.randint(19, (2, 6))
    logits = model(ids, (8, 64))[:, :-1].log_softmax(dim=2)
    expected = -logits.gather(2, ids[:, 1:, None]).mean()
    close(model.loss(ids, (8, 64)), expected)


def test_learned_places_and_first_values_of_a_language_model():
    torch.manual_seed(0)
    model = MatLM(vocab=19, depth=8, width=64, heads=4, position="learned", max_length=9)
    assert model(torch.zeros(1, 9, dtype=torch.int64)).shape == (1, 9, 19)
    layer = model.blocks[0].channel_mixer
    assert isinstance(layer, NestedFeedForward)
    assert layer.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.fc2.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)
    assert not layer.fc1.bias.any()


def small(**options: Any) -> MatViT:
    torch.manual_seed(0)
    return MODELS.build({**SMALL, **options}).eval()


@pytest.mark.parametrize("options", [
    {}, {"class_token": True}, {"position": "sincos"}, {"position": "sincos", "class_token": True}, {"position": None},
], ids=["learned", "token", "sincos", "sincos_token", "nowhere"])
def test_maps_of_any_picture_at_any_widths(options):
    model, images = small(**options, out_indices=(0, 1)), torch.rand(2, 3, 19, 26)
    maps = model(images, (12, 48))
    assert [tuple(x.shape) for x in maps] == [(2, 24, 4, 6)] * 2
    for got, expected in zip(model.extract((12, 48))(images), maps, strict=True):
        close(got, expected, atol=1e-6, rtol=1e-5)
    assert not torch.allclose(model(images)[0], maps[0])


def test_a_classifier_begins_with_a_share_of_one_in_a_thousand():
    network = MatViTClassifier(SMALL, 7)
    logits, labels = network(torch.rand(2, 3, 12, 16)), torch.tensor([3, 6])
    close(logits, torch.full((2, 7), -6.9))
    expected = 6 * -math.log(1 - 1 / (1 + math.exp(6.9))) - math.log(1 / (1 + math.exp(6.9)))
    close(network.loss(logits, labels)["loss_class"], torch.tensor(expected))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("matvit_*.py")), ids=lambda path: path.stem)
def test_a_classifier_of_the_configs_learns_and_predicts(path):
    cfg = load_config(path, {"model.network.num_classes": 7})
    cfg.model.network.backbone.update(depth=1, width=48, heads=3)
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    nn.init.normal_(model.network.head.weight)               # of 0 as published, which holds the first gradient up
    image = torch.randint(0, 256, (3, 224, 224), dtype=torch.uint8)
    frames = [Frame("a", 0, cameras={"front": Camera(None, 0, image=image, category=3)})]
    sum(model(**model.data_preprocessor(frames, True), mode="loss").values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    (found,) = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


def flax_state(depth: int, places: int, token: bool) -> dict[str, Tensor]:
    """A random state of the width 24 with 3 heads and 96 hidden units."""
    shapes = {
        "embedding/kernel": (4, 4, 3, 24), "embedding/bias": (24,), "output_projection/kernel": (24, 5),
        "output_projection/bias": (5,), "Transformer/encoder_norm/scale": (24,), "Transformer/encoder_norm/bias": (24,),
        "Transformer/posembed_input/pos_embedding": (1, places, 24), **({"cls": (1, 1, 24)} if token else {}),
    }
    for block in (f"Transformer/encoderblock_{number}" for number in range(depth)):
        shapes |= {f"{block}/LayerNorm_{n}/{kind}": (24,) for n in (0, 1) for kind in ("scale", "bias")}
        for part in ("query", "key", "value"):
            shapes[f"{block}/MultiHeadDotProductAttention_0/{part}/kernel"] = (24, 3, 8)
            shapes[f"{block}/MultiHeadDotProductAttention_0/{part}/bias"] = (3, 8)
        shapes[f"{block}/MultiHeadDotProductAttention_0/out/kernel"] = (3, 8, 24)
        shapes[f"{block}/MultiHeadDotProductAttention_0/out/bias"] = (24,)
        shapes |= {f"{block}/MlpBlock_0/Dense_0/kernel": (24, 96), f"{block}/MlpBlock_0/Dense_0/bias": (96,)}
        shapes |= {f"{block}/MlpBlock_0/Dense_1/kernel": (96, 24), f"{block}/MlpBlock_0/Dense_1/bias": (24,)}
    return {name: torch.randn(shape) for name, shape in shapes.items()}


@pytest.mark.parametrize(("token", "grid", "told"), [
    (True, (3, 4), (3, 4)), (False, (3, 4), (3, 4)), (True, (3, 3), None), (False, (3, 3), None),
])
def test_every_key_of_flax_has_its_place_and_every_place_its_key(token, grid, told):
    state = flax_state(2, grid[0] * grid[1] + token, token)
    network = MatViTClassifier({**SMALL, "position": grid, "class_token": token}, 5)
    network.load_state_dict(load_official(state, told))
    places = state["Transformer/posembed_input/pos_embedding"][:, int(token) :]
    assert torch.equal(network.backbone.position.table.detach(), map_of(places, grid))
    heads = state["Transformer/encoderblock_1/MultiHeadDotProductAttention_0/key/kernel"]
    x = torch.randn(24)
    close(F.linear(x, network.backbone.blocks[1].token_mixer.in_proj.weight[24:48]), torch.einsum(
        "c,chd->hd", x, heads).flatten())


@pytest.mark.parametrize(("position", "extra"), [
    ("alibi", {}), ("rotary", {"transformer.blocks.{i}.rotary_emb.inv_freq"}), ("learned", {"transformer.wpe.weight"}),
])
def test_every_key_of_olmo_has_its_place_and_every_place_its_key(position, extra):
    parts = ("attn_norm", "ff_norm", "att_proj", "attn_out", "ff_proj", "ff_out")
    keys = {"transformer.wte.weight", *(f"transformer.ln_f.{kind}" for kind in ("weight", "bias"))}
    keys |= {f"transformer.blocks.{i}.{part}.{kind}" for i in range(2) for part in parts for kind in ("weight", "bias")}
    keys |= {key.format(i=i) for key in extra for i in range(2)}
    with torch.device("meta"):
        model = MatLM(vocab=9, depth=2, width=16, heads=4, position=position)
    assert set(load_official(dict.fromkeys(keys, torch.ones(1)))) == set(model.state_dict())


@pytest.mark.parametrize(("state", "message"), [
    ({"transformer.blocks.0.ffn.weight": torch.ones(1)}, "belong to another architecture: transformer.blocks.0.ffn"),
    ({"Transformer/encoderblock_0/Mixer/kernel": torch.ones(1)}, "belong to another architecture"),
    ({"Transformer/posembed_input/pos_embedding": torch.ones(1, 12, 4)}, "12 positions are no map of 3 x 3"),
    (
        {"Transformer/encoderblock_0/MultiHeadDotProductAttention_0/query/bias": torch.ones(2, 4)},
        r"lacks backbone\.blocks\.0\.token_mixer\.key\.bias",
    ),
])
def test_a_checkpoint_that_does_not_fit_is_told(state, message):
    with pytest.raises(CheckpointError, match=message):
        load_official(state)


def test_every_checkpoint_of_the_plugin_has_a_config():
    assert all((ROOT / path).is_file() for path in PLUGIN.checkpoints.values())


@pytest.mark.parametrize(("build", "message"), [
    (lambda: MatViT("xl"), "variant must be one of ti, s, b, l, h, got 'xl'"),
    (lambda: small(position="sines"), "position must be a size, \"sincos\" or None, got 'sines'"),
    (lambda: SincosPosition(6), "channels must be divisible by 4 for positions in quarters, got 6"),
    (lambda: small()(torch.rand(1, 3, 12, 16), (4,)), "one for each of the 2 nested nets, got 1"),
    (lambda: small(in_channels=2)(torch.rand(1, 3, 12, 16)), r"images must be \(B, 2, H, W\), got \(1, 3, 12, 16\)"),
    (lambda: MatViTClassifier(SMALL, 0), "num_classes must be >= 1, got 0"),
    (lambda: OlmoAttention(8, heads=2, position="learned"), "position must be .* got 'learned'"),
    (lambda: OlmoAttention(6, heads=2, position="rotary"), "rotary channels must be even, got 3"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
