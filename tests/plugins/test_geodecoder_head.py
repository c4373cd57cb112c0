"""GeoDecoder's queries, decoders, losses, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from perception_plugins.geodecoder import GeoDecoderHead, LegacyGeoHead
from perception_plugins.geodecoder.decoder import DependentLayer, HierarchyDecoder, IndependentLayer
from perception_plugins.geodecoder.layers import QueryAttention
from perception_plugins.geodecoder.legacy import LegacyDecoder
from perception_plugins.geodecoder.losses import known_cross_entropy

SMALL = {"heads": 2, "head_channels": 4, "hidden": 16}
CLASSES = (3, 5)


def head_of(kind: type = GeoDecoderHead, **options):
    torch.manual_seed(0)
    decoder = {**SMALL, **options.pop("decoder", {})}
    return kind([6, 8], CLASSES, num_scenes=3, channels=8, decoder=decoder, **options)


def maps(batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, 6, 5, 7, generator=draw), torch.randn(batch, 8, 3, 4, generator=draw)


@pytest.mark.parametrize("kind", [GeoDecoderHead, LegacyGeoHead])
def test_logits_are_those_of_the_likeliest_scene(kind):
    head = head_of(kind).eval()
    raw = head(maps())
    queries = head.decoder(head.queries.expand(2, -1, -1, -1), head.tokens([m.flatten(2).mT for m in maps()]))
    torch.testing.assert_close(raw.scenes, queries[..., 0].mean(dim=2))
    for row, scene in enumerate(raw.scenes.argmax(dim=1).tolist()):
        assert raw.scene[row] == scene
        for number, (logits, classify) in enumerate(zip(raw.hierarchies, head.classifiers, strict=True)):
            torch.testing.assert_close(logits[row], classify(queries[row, scene, number]))
            assert logits.shape == (2, CLASSES[number])


@pytest.mark.parametrize("kind", [GeoDecoderHead, LegacyGeoHead])
def test_every_parameter_learns(kind):
    head = head_of(kind)
    losses = head.loss(head(maps()), torch.tensor([[0, 1], [2, 4]]), torch.tensor([0, 2]))
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_public_codes_chain_leaves_all_layers_but_the_last_idle():
    head = head_of(LegacyGeoHead, decoder={"depth": 3, "legacy_chain": True})
    raw = head(maps())
    sum(logits.sum() for logits in raw.hierarchies).backward()
    idle = {name for name, parameter in head.decoder.named_parameters() if parameter.grad is None}
    assert idle == {
        name for name, _ in head.decoder.named_parameters()
        if name.startswith(("layers.0.", "layers.1.")) and "norm_query" not in name
    }


def test_dependent_layers_keep_hierarchies_apart_and_independent_ones_do_not():
    torch.manual_seed(0)
    queries, tokens = torch.randn(1, 3, 2, 8), torch.randn(1, 5, 8)
    changed = queries.clone()
    changed[:, 1, 1] = torch.randn(8)                                # one query of the second hierarchy
    dependent, independent = DependentLayer(8, 2, **SMALL), IndependentLayer(8, **SMALL)
    for layer, is_seen in ((dependent, False), (independent, True)):
        difference = (layer(changed, tokens) - layer(queries, tokens)).abs().amax(dim=(0, 1, 3))
        assert bool(difference[0] > 1e-6) == is_seen
        assert difference[1] > 1e-3


def test_tokens_of_the_last_map_come_first_and_stay_as_they_are():
    head, parts = head_of(), [m.flatten(2).mT for m in maps()]
    tokens = head.tokens(parts)
    assert tokens.shape == (2, 12 + 35, 8)
    assert torch.equal(tokens[:, :12], parts[1])


def test_queries_begin_between_zero_and_one():
    queries = GeoDecoderHead([64], (2, 2), num_scenes=16, channels=64).queries.detach()
    assert 0 <= float(queries.min()) < 0.05
    assert 0.95 < float(queries.max()) < 1


def test_it_exports_and_runs_in_bfloat16():
    head = head_of().eval()
    exported = torch.export.export(head, (maps(),)).module()
    for ours, theirs in zip(head(maps()).hierarchies, exported(maps()).hierarchies, strict=True):
        torch.testing.assert_close(ours, theirs)
    with torch.autocast("cpu", torch.bfloat16):
        raw = head(maps())
        losses = head.loss(raw, torch.tensor([[0, 1], [2, -1]]), torch.tensor([0, 2]))
    assert all(value.dtype == torch.float32 and torch.isfinite(value) for value in losses.values())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_the_mean_of_the_known_rows(smoothing):
    logits, labels = torch.randn(5, 7), torch.tensor([3, -1, 0, 6, -1])
    known = labels >= 0
    log = logits[known].log_softmax(dim=1)
    picked = log.gather(1, labels[known, None])[:, 0]
    expected = -((1 - smoothing) * picked + smoothing / 7 * log.sum(dim=1)).mean()
    torch.testing.assert_close(known_cross_entropy(logits, labels, smoothing), expected)
    assert known_cross_entropy(logits, torch.full((5,), -1), smoothing) == 0


def test_weights_scale_the_hierarchies_and_one_scene_has_no_loss():
    labels, scenes = torch.tensor([[0, 1], [2, 4]]), torch.tensor([0, 1])
    head = head_of(hierarchy_weights=(0.5, 0.0), label_smoothing=0.0)
    raw = head(maps())
    losses = head.loss(raw, labels, scenes)
    torch.testing.assert_close(losses["loss_hierarchy0"], 0.5 * F.cross_entropy(raw.hierarchies[0], labels[:, 0]))
    assert losses["loss_hierarchy1"] == 0
    single = GeoDecoderHead([6, 8], CLASSES, num_scenes=1, channels=8, decoder=SMALL)
    assert set(single.loss(single(maps()), labels, scenes)) == {"loss_hierarchy0", "loss_hierarchy1"}


def test_dropout_is_for_training_alone():
    head = head_of(decoder={"dropout": 0.5})
    assert not torch.equal(head(maps()).scenes, head(maps()).scenes)
    head.eval()
    assert torch.equal(head(maps()).scenes, head(maps()).scenes)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: GeoDecoderHead([], CLASSES), "in_channels, num_classes and num_scenes must be one or more"),
        (lambda: GeoDecoderHead([8], ()), "must be one or more positive numbers"),
        (lambda: GeoDecoderHead([8], (3, 0)), r"\(3, 0\)"),
        (lambda: GeoDecoderHead([8], CLASSES, num_scenes=0), "and 0"),
        (lambda: GeoDecoderHead([8], CLASSES, hierarchy_weights=(1.0,)), "hierarchy_weights must be 2 numbers"),
        (lambda: HierarchyDecoder(8, 2, num_independent=0, num_dependent=0), "and 1 together, got 0 and 0"),
        (lambda: HierarchyDecoder(8, 2, num_dependent=-1), "must be >= 0"),
        (lambda: LegacyDecoder(8, depth=0), "depth must be >= 1, got 0"),
        (lambda: QueryAttention(8, heads=1, head_channels=4, project=False), r"must be channels \(8\) .* got 4"),
    ],
)
def test_bad_arguments_are_refused(build, told):
    with pytest.raises(ValueError, match=told), torch.device("meta"):
        build()
