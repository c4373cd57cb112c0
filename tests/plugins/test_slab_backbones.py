"""SLAB's networks: published sizes, maps of any picture, training, export, and folding that changes nothing."""

from __future__ import annotations

import pytest
import torch
from slab_networks import BACKBONES, CONFIGS, DISTINCT, PYRAMIDS, backbone, classifier, lived_in, parameters, published
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import fold_batch_norms
from perception.engine.config import load_config
from perception.models.token_layout import tokens_of
from perception.registry import MODELS
from perception.structures import Camera, Frame
from perception_plugins.slab import PLUGIN, ClassTokenClassifier, PRepBN, SlabCSWin, SlabDeiT, SlabPVT, SlabSwin

NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))
# The class token of linear DeiT and a scale of each linear branch of CSWin lie in the authors' networks without use;
# and the class token of softmax DeiT has a position beside its own values, which here are one sum.
PUBLISHED = {                                        # parameters, and those of them that are not here
    "deit_tiny_prepbn": (5_717_441, 192), "deit_small_prepbn": (22_050_689, 384),
    "slab_deit_tiny": (6_198_401, 192), "slab_deit_small": (22_992_641, 384),
    "pvt_tiny_prepbn": (13_239_554, 0), "pvt_small_prepbn": (24_507_801, 0), "pvt_medium_prepbn": (44_253_117, 0),
    "slab_pvt_tiny": (12_157_692, 0), "slab_pvt_small": (21_683_788, 0), "slab_pvt_medium": (37_267_300, 0),
    "slab_pvt_large": (50_684_478, 0),
    "swin_tiny_prepbn": (28_288_383, 0), "slab_swin_tiny": (29_216_605, 0), "slab_swin_small": (50_552_965, 0),
    "slab_swin_base": (89_029_373, 0),
    "slab_cswin_tiny": (21_227_807, 2 * 64 + 4 * 128), "slab_cswin_small": (35_494_205, 2 * 64 + 4 * 128),
    "slab_pvtv2_b0": (3_599_968, 0), "slab_pvtv2_b1": (12_941_504, 0), "slab_pvtv2_b2": (22_564_880, 0),
}
FAMILIES = (                                         # the others have other widths, depths and drop paths alone
    "deit_tiny_prepbn", "slab_deit_tiny", "pvt_tiny_prepbn", "slab_pvt_tiny", "swin_tiny_prepbn", "slab_swin_tiny",
    "slab_cswin_tiny", "slab_pvtv2_b0",
)
TWO_STAGES = {"depths": (1, 1), "heads": (1, 2), "out_indices": (0, 1)}
TWO_WIDTHS = {**TWO_STAGES, "widths": (8, 16), "ratios": (2, 2)}
EXPORTED = {                                         # small networks in which each kind of layer occurs
    "deit": {"depth": 1, "out_norm": True},
    "pvt": {**TWO_WIDTHS, "attention": "LS", "linear_reductions": (2, 1), "reductions": (1, 2), "out_norms": True},
    "pvtv2": {**TWO_WIDTHS, "out_norms": True},
    "swin_shifted": {**TWO_STAGES, "depths": (1, 2), "attention": "LS", "windows": (4, 3), "out_norms": True},
    "cswin_stripes": {**TWO_STAGES, "heads": (2, 2), "attention": "LS", "out_norms": True},
}
close = torch.testing.assert_close
every_kind = pytest.mark.parametrize("name", DISTINCT)


def images(count: int = 2, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
def test_a_variant_has_as_many_parameters_as_published(name):
    total, absent = PUBLISHED[name]
    assert parameters(published(name)) == total - absent


def test_deit_small_with_both_norms_has_as_many_parameters_as_published():
    cfg = load_config(CONFIGS / "deit_small_prepbn.py", {
        "model.network.norm.type": "PRepBN", "model.network.backbone.norm.type": "PRepBN",
    })
    with torch.device("meta"):
        assert parameters(MODELS.build(cfg.model)) == 22_069_889 - 384


def test_every_checkpoint_of_the_plugin_has_a_config():
    assert PLUGIN.checkpoints == {name: f"configs/slab/{name}.py" for name in NAMES}


@pytest.mark.parametrize(("name", "steps", "eps"), [
    ("slab_deit_tiny", 60_000, 1e-6), ("slab_pvt_tiny", 300_000, 1e-6), ("slab_swin_tiny", 60_000, 1e-5),
    ("slab_cswin_tiny", 120_000, 1e-5), ("slab_pvtv2_b0", 300_000, 1e-6),
])
def test_norms_fade_over_as_many_steps_as_published(name, steps, eps):
    network = load_config(CONFIGS / f"{name}.py").model.network
    expected = {"type": "PRepBN", "steps": steps, "eps": eps}
    assert network.backbone.norm == expected
    assert network.get("norm", expected) == expected


@pytest.mark.parametrize("name", FAMILIES)
def test_a_config_of_each_family_learns_and_predicts(name):
    cfg = load_config(CONFIGS / f"{name}.py", {"model.network.num_classes": 7})
    if "deit" in name:
        cfg.model.network.backbone.update(width=48, depth=1, heads=3)
    elif "pvt" in name:
        cfg.model.network.backbone.update(widths=(8, 16, 20, 24), depths=(1, 1, 1, 1), heads=(1, 2, 2, 3))
    else:
        cfg.model.network.backbone.update(width=8, depths=(1, 1, 1, 1), heads=(2, 2, 2, 4))
    torch.manual_seed(0)
    model = MODELS.build(cfg.model)
    frames = [
        Frame("a", 0, cameras={"front": Camera(None, 0, image=image.mul(255).byte(), category=category)})
        for image, category in zip(images(2, 224, 224), (3, 5), strict=True)
    ]
    losses = model(**model.data_preprocessor(frames, True), mode="loss")
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    found, _ = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found.scores.shape == (7,)


@pytest.mark.parametrize("name", PYRAMIDS)
@torch.inference_mode()
def test_maps_have_the_strides_that_are_told(name):
    model, sides = backbone(name).eval(), [(16, 24), (8, 12), (4, 6), (2, 3)]
    found = model(images(1, 64, 96))
    assert [tuple(x.shape[1:]) for x in found] == [(c, *side) for c, side in zip(model.channels, sides, strict=True)]
    assert model.strides == (4, 8, 16, 32)


@pytest.mark.parametrize(("name", "sides"), [
    ("pvt", [(56, 100), (28, 50), (14, 25), (7, 12)]), ("pvt_reduced", [(56, 100), (28, 50), (14, 25), (7, 12)]),
    ("pvt_softmax", [(56, 100), (28, 50), (14, 25), (7, 12)]), ("pvtv2", [(57, 101), (29, 51), (15, 26), (8, 13)]),
    ("swin", [(57, 101), (29, 51), (15, 26), (8, 13)]), ("swin_shifted", [(57, 101), (29, 51), (15, 26), (8, 13)]),
    ("cswin", [(56, 100), (28, 50), (14, 25), (7, 13)]), ("cswin_stripes", [(56, 100), (28, 50), (14, 25), (7, 13)]),
    ("deit", [(14, 25)]), ("deit_softmax", [(14, 25)]),
])
@torch.inference_mode()
def test_pictures_of_odd_sizes_give_finite_maps(name, sides):
    found = backbone(name).eval()(images(1, 225, 401))
    assert [x.shape[2:] for x in found] == [torch.Size(side) for side in sides]
    assert all(x.isfinite().all() for x in found)


@every_kind
def test_the_gradient_reaches_every_parameter(name):
    model = classifier(name, {"type": "PRepBN", "steps": 2}).train()
    for _ in range(2):                                       # the second step has half of either norm
        model.zero_grad()
        model(images()).square().sum().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert silent == []
    parts = [name for name, p in model.named_parameters() if name.endswith("alpha") and not p.grad.any()]
    assert parts == []


@every_kind
def test_it_computes_in_bfloat16(name):
    model, pictures = lived_in(classifier(name, {"type": "RepBN"})), images()
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(pictures)
    logits.float().square().sum().backward()
    exact = model(pictures)
    close(logits.float(), exact, atol=0.05 * max(1.0, exact.abs().max().item()), rtol=0)     # bfloat16 keeps 8 bits
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", list(EXPORTED))
def test_an_export_gives_the_same_maps(name):
    model, pictures = lived_in(backbone(name, **EXPORTED[name])), images(1, 65, 97)
    exported = torch.export.export(model, (pictures,)).module()
    for found, expected in zip(exported(pictures), model(pictures), strict=True):
        close(found, expected)


@pytest.mark.parametrize(("norm", "size"), [("RepBN", (64, 64)), ("PRepBN", (75, 101))])
@every_kind
@torch.inference_mode()
def test_folded_norms_are_gone_and_outputs_unchanged(name, norm, size):
    model, pictures = lived_in(classifier(name, {"type": norm})), images(2, *size)
    before = model(pictures)
    fold_batch_norms(model)
    left = [part for part, module in model.named_modules() if isinstance(module, (_BatchNorm, PRepBN))]
    assert all(name == "pvtv2" and "blocks" in part for part in left)        # norms at the ends of its stages
    close(model(pictures), before, atol=1e-4 * max(1.0, before.abs().max().item()), rtol=0)


@every_kind
def test_layer_norms_are_not_folded(name):
    model, pictures = backbone(name, norm="layer").eval(), images(1)
    before = model(pictures)
    fold_batch_norms(model)
    assert any(isinstance(module, nn.LayerNorm) for module in model.modules())
    for found, expected in zip(model(pictures), before, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", ["deit", "pvtv2", "swin_shifted"])
def test_checkpointed_blocks_have_the_same_gradients_and_statistics_when_progress_is_set(name):
    results = []
    for checkpointing in (False, True):
        model = backbone(name, checkpointing=checkpointing).train()
        for norm in (module for module in model.modules() if isinstance(module, PRepBN)):
            norm.set_progress(1, steps=4)
        sum(x.square().sum() for x in model(images())).backward()
        results.append({**{part: p.grad for part, p in model.named_parameters()}, **dict(model.named_buffers())})
    for part, expected in results[0].items():
        close(results[1][part], expected, msg=lambda text, part=part: f"{part}: {text}")


def test_dense_maps_have_layer_norms_that_a_classifier_lacks():
    plain, dense = backbone("swin").eval(), backbone("swin", out_norms=True, out_indices=(1, 3)).eval()
    missing, unexpected = dense.load_state_dict(plain.state_dict(), strict=False)
    assert (len(missing), unexpected) == (4, [])
    assert all(key.startswith(dense.dense_only) for key in missing)
    assert (dense.channels, dense.strides) == ((12, 48), (8, 32))
    for x in dense(images(1)):
        close(tokens_of(x).mean(dim=2), torch.zeros(1, x.shape[2] * x.shape[3]), atol=1e-5, rtol=0)


def test_the_detectors_swin_differs_from_the_classifiers_in_its_shifts_alone():
    classifying, detecting = backbone("swin").eval(), backbone("swin_shifted").eval()
    detecting.load_state_dict(classifying.state_dict())
    first, second = ([x.detach() for x in model(images(1))] for model in (classifying, detecting))
    assert not torch.allclose(first[0], second[0], atol=1e-4)
    shifts = [[block.token_mixer.shift for block in stage.blocks] for stage in detecting.stages]
    assert shifts == [[0, 4], [0], [0, 1], [0]]
    assert [block.token_mixer.shift for block in classifying.stages[0].blocks] == [0, 0]


def test_a_class_token_is_no_part_of_the_maps():
    model = backbone("deit_softmax").eval()
    (found,), size = model.tokens(images(1))
    assert (found.shape[1], size) == (1 + 4 * 4, (4, 4))
    (last,) = model(images(1))
    assert torch.equal(tokens_of(last), found[:, 1:])


@pytest.mark.parametrize(("build", "message"), [
    (lambda: SlabSwin("huge"), "variant must be one of tiny, small, base, got 'huge'"),
    (lambda: SlabPVT("base"), "variant must be one of tiny, small, medium, large, got 'base'"),
    (lambda: SlabDeiT("base"), "variant must be one of tiny, small, got 'base'"),
    (lambda: SlabCSWin("base"), "variant must be one of tiny, small, got 'base'"),
    (lambda: backbone("swin", attention="LLS"), "a letter L or S for each of the 4 stages, got 'LLS'"),
    (lambda: backbone("cswin", attention="LLMS"), "a letter L or S for each of the 4 stages, got 'LLMS'"),
    (lambda: backbone("pvt", norm="instance"), "norm must be one of group, layer, batch"),
    (lambda: backbone("swin", out_indices=(3, 1)), "out_indices must be ascending stages 0 to 3"),
    (lambda: backbone("swin")(torch.rand(1, 3, 31, 64)), "images must be at least 32 x 32 pixels, got 31 x 64"),
    (lambda: backbone("cswin")(torch.rand(1, 3, 0, 64)), "images must be at least 32 x 32 pixels, got 0 x 64"),
    (lambda: backbone("pvt")(torch.rand(1, 4, 64, 64)), r"images must be \(B, 3, H, W\), got \(1, 4, 64, 64\)"),
    (lambda: backbone("deit")(torch.rand(3, 64, 64)), r"images must be \(B, 3, H, W\), got \(3, 64, 64\)"),
    (lambda: backbone("swin")(torch.rand(1, 3, 64, 64), torch.ones(1, 64, 64).bool()), 'a mask needs norm="layer"'),
    (lambda: ClassTokenClassifier(BACKBONES["deit"]), "backbone must have a class token, got SlabDeiT without"),
    (lambda: ClassTokenClassifier(BACKBONES["deit_softmax"], 0), "num_classes must be >= 1, got 0"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
