"""DAFormer's network and its training against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from daformer_adaptation_cases import ADAPTATION
from daformer_cases import Maps, check_outputs, close, segmentor_config
from torch import Tensor, nn

from perception.models.image_backbones.mit import MiTBlock, MixTransformer, OverlapPatchEmbed
from perception.models.image_data_preprocessor import PictureSize
from perception.models.key_map import rename_part
from perception.models.losses.weighted_cross_entropy import pixel_accuracy, weighted_cross_entropy
from perception.models.sliding_window import SlidingWindow, resize_maps
from perception.registry import MODELS
from perception_plugins.daformer import load_official
from perception_plugins.daformer.head import DAFormerHead

FUSIONS = {"aspp": "ContextASPP", "conv": "ConvFusion", "isa": "InterlacedAttention"}


def _load(module: nn.Module, state: Maps, official: str, ours: str) -> None:
    load_state(module, rename_part(state, load_official, official, ours))


def _check_grads(golden: Golden, outputs: Sequence[Tensor], leaves: Maps, official: str, ours: str) -> None:
    """Gradients of the sum of every output times the cosine of its entry's number."""
    if not golden.grad:
        return
    sum((y * torch.cos(0.37 * torch.arange(y.numel())).view(y.shape)).sum() for y in outputs).backward()
    parameters = {k.removeprefix("param."): v for k, v in golden.grad.items() if k.startswith("param.")}
    expected = {k: v for k, v in golden.grad.items() if not k.startswith("param.")}
    expected |= rename_part(parameters, load_official, official, ours)
    for name, grad in expected.items():
        size = float(grad.abs().max())
        close(leaves[name].grad, grad, atol=2e-5 * size, rtol=0, msg=lambda text, name=name: f"{name}: {text}")


def _patch_embed(golden: Golden) -> None:
    config = golden.config
    module = OverlapPatchEmbed(config["in_chans"], config["embed_dim"], config["patch_size"], config["stride"])
    _load(module, golden.state, "patch_embed1.", "backbone.stages.0.embed.")
    tokens, size = module(golden.inputs["x"])
    check_outputs(golden, {"tokens": tokens, "hw": torch.tensor(size)})


def _mit_block(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"].requires_grad_()
    size = tuple(config["hw"])
    module = MiTBlock(
        config["dim"], config["num_heads"], config["sr_ratio"], expansion=config["mlp_ratio"],
        qkv_bias=config["qkv_bias"],
    )
    official, ours = "block1.0.", "backbone.stages.0.blocks.0."
    _load(module, golden.state, official, ours)
    attended, y = module.attn(module.norm1(x), size), module(x, size)
    fed = module.ffn(module.norm2(x + attended), size)
    check_outputs(golden, {"attn": attended, "ffn": fed, "y": y})
    _check_grads(golden, [y], {"in.x": x, **dict(module.named_parameters())}, official, ours)


def _backbone_options(config: Mapping[str, Any]) -> dict[str, Any]:
    return segmentor_config({"backbone": config})["backbone"]


def _mit_encoder(golden: Golden) -> None:
    options, x = _backbone_options(golden.config), golden.inputs["x"].requires_grad_()
    assert options.pop("type") == "MixTransformer"
    module = MixTransformer(**options)
    _load(module, golden.state, "backbone.", "backbone.")
    maps = module(x)
    assert [maps[0].shape[2] * 4 // m.shape[2] for m in maps] == pytest.approx(module.strides, rel=0.25)
    check_outputs(golden, {f"stage{number}": y for number, y in enumerate(maps, start=1)})
    _check_grads(golden, maps, {"in.x": x, **dict(module.named_parameters())}, "backbone.", "backbone.")


def _fusion(config: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        "sep": "separable", "dilations": "dilations", "pool": "pool", "kernel_size": "kernel",
        "isa_channels": "hidden", "down_factor": "cell", "key_query_num_convs": "projections",
    }
    options = {known[key]: value for key, value in config.items() if key in known}
    return {"type": FUSIONS[config["type"]], **options}


def _head(golden: Golden) -> None:
    config = golden.config
    maps = [golden.inputs[f"f{number}"].requires_grad_() for number in range(1, len(config["in_channels"]) + 1)]
    module = DAFormerHead(
        config["in_channels"], config["num_classes"], channels=config["channels"],
        embed_channels=config["embed_dims"], fusion=_fusion(config["fusion"]),
    )
    _load(module, golden.state, "decode_head.", "head.")
    joined, logits = module.embed(maps), module(maps)
    check_outputs(golden, {"cat": joined, "fused": module.fusion(joined), "logits": logits})
    leaves = {f"in.f{number}": x for number, x in enumerate(maps, start=1)}
    _check_grads(golden, [logits], leaves | dict(module.named_parameters()), "decode_head.", "head.")


def _segmentor(golden: Golden) -> None:
    config, images = golden.config, golden.inputs["img"]
    model = MODELS.build(segmentor_config(config))
    _load(model, golden.state, "", "")
    own, padded = tuple(config["ori_shape"]), tuple(images.shape[2:])
    place = PictureSize(padded, padded, own)
    window = SlidingWindow(config["slide"]["crop_size"], config["slide"]["stride"])
    logits = model.evaluate(images)
    whole = torch.stack([place.restored(one) for one in logits])
    slid = torch.stack([place.restored(one) for one in window.logits(model.logits, images)])
    check_outputs(golden, {
        "logits_input_size": resize_maps(logits, padded), "whole_logits_ori": whole, "slide_logits_ori": slid,
        "pred": whole.argmax(dim=1),
    })


def _ce_loss(golden: Golden) -> None:
    logits, labels = golden.inputs["logits"].requires_grad_(), golden.inputs["label"][:, 0].long()
    weighted = weighted_cross_entropy(logits, labels, golden.inputs["weight"])
    check_outputs(golden, {
        "loss_weighted": weighted, "loss_unweighted": weighted_cross_entropy(logits, labels),
        "acc": pixel_accuracy(logits, labels),
    })
    weighted.backward()
    for name, expected in golden.grad.items():
        assert name == "in.logits"
        close(logits.grad, expected, atol=2e-5 * float(expected.abs().max()), rtol=0)


CASES: dict[str, Callable[[Golden], None]] = {
    "patch_embed": _patch_embed,
    "mit_block": _mit_block,
    "mit_encoder": _mit_encoder,
    "head": _head,
    "segmentor": _segmentor,
    "ce_loss": _ce_loss,
    **ADAPTATION,
}


@pytest.mark.golden_files("daformer", pattern="*.*")
def test_every_case_is_known(golden_file: Path):
    assert golden_file.stem.split("__")[0] in CASES


@pytest.mark.golden_files("daformer")
def test_daformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
