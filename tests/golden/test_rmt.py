"""RMT's attention, blocks and networks against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.models.key_map import rename_part
from perception.registry import MODELS
from perception_plugins.rmt import RMT, TokenLabelLogits, TokenLabelLoss, load_official
from perception_plugins.rmt.backbone import conv_stem
from perception_plugins.rmt.block import RMTBlock
from perception_plugins.rmt.position import DecayPosition

BLOCK = ("layers.0.blocks.0.", "backbone.stages.0.blocks.0.")
# Tolerances of the sheet, relative to the largest entry where that exceeds 1.
TABLE, ANGLE = 1e-5, 1e-4
ATTENTION, ATTENTION_GRADIENT = 1e-5, 1e-4
BLOCK_OUTPUT, BLOCK_GRADIENT = 1e-5, 1e-6
NETWORK = 2e-6                                       # tells a norm's eps of 1e-5 from one of 1e-6
SHORT_STEM, LOSS = 1e-5, 1e-6


def _same(got: Tensor, wanted: Tensor, tolerance: float, name: str) -> None:
    tolerance *= max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(got.detach(), wanted, atol=tolerance, rtol=0, msg=lambda text: f"{name}: {text}")


def _check(expected: Mapping[str, Tensor], ours: Mapping[str, Tensor], tolerance: float) -> None:
    for name, wanted in expected.items():
        _same(ours[name], wanted, tolerance, name)


def _check_grads(
    golden: Golden, y: Tensor, x: Tensor, module: nn.Module, part: tuple[str, str], tolerance: float
) -> None:
    """Gradients of the sum of the output weighted from -1 in the first channel to 1 in the last."""
    (y * torch.linspace(-1, 1, y.shape[-1])).sum().backward()
    parameters = {name: grad for name, grad in golden.grad.items() if name != "x"}
    expected = rename_part(parameters, load_official, *part)
    _check(expected, {name: module.get_parameter(name).grad for name in expected}, tolerance)
    _check({"x": golden.grad["x"]} if "x" in golden.grad else {}, {"x": x.grad}, tolerance)


def _position(config: Mapping[str, Any], *, decomposed: bool) -> DecayPosition:
    return DecayPosition(
        config["embed_dim"], config["num_heads"], config["initial_value"], config["heads_range"], decomposed=decomposed
    )


def _is_decomposed(config: Mapping[str, Any]) -> bool:
    return {"chunk": True, "whole": False}[config["mode"]]


def _relpos(golden: Golden) -> None:
    config, ours = golden.config, {}
    for decomposed, names in ((False, ["mask_2d"]), (True, ["mask_w", "mask_h"])):
        position = _position(config, decomposed=decomposed)
        _check(golden.state, dict(position.named_buffers()), TABLE)
        tables = position((config["H"], config["W"]))
        ours |= {"sin": tables.sin, "cos": tables.cos, **dict(zip(names, tables.decays, strict=True))}
    for name, wanted in golden.out.items():
        _same(ours[name], wanted, ANGLE if name in ("sin", "cos") else TABLE, name)


def _masa(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"].requires_grad_()
    mixer = MODELS.build({
        "type": "DecomposedManhattanAttention" if _is_decomposed(config) else "ManhattanAttention",
        "channels": config["embed_dim"], "heads": config["num_heads"], "decay_start": config["initial_value"],
        "decay_range": config["heads_range"],
    })
    part = (BLOCK[0] + "retention.", BLOCK[1] + "attention.")
    load_state(mixer.attention, rename_part(golden.state, load_official, *part))
    y = mixer(x.flatten(1, 2), tuple(x.shape[1:3])).view(x.shape)
    _check(golden.out, {"y": y}, ATTENTION)
    _check_grads(golden, y, x, mixer.attention, part, ATTENTION_GRADIENT)


def _block(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"].requires_grad_()
    block = RMTBlock(
        config["embed_dim"], config["num_heads"], config["ffn_dim"], layer_scale=1.0 if config["layerscale"] else None
    )
    load_state(block, rename_part(golden.state, load_official, *BLOCK))
    y = block(x, _position(config, decomposed=_is_decomposed(config))(tuple(x.shape[1:3])))
    placed = x + block.place(x)
    ours = {"cpe": placed, "ffn_of_cpe": block.ffn(block.norm2(placed)), "y": y}
    _check(golden.out, ours, BLOCK_OUTPUT)
    _check_grads(golden, y, x, block, BLOCK, BLOCK_GRADIENT)


def _backbone_options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "in_channels": config["in_chans"], "channels": config["embed_dims"], "depths": config["depths"],
        "heads": config["num_heads"], "decay_starts": config["init_values"], "decay_ranges": config["heads_ranges"],
        "expansions": config["mlp_ratios"], "drop_path": config["drop_path_rate"],
        "decomposed": config["chunkwise_recurrents"], "layer_scales": config["layerscales"],
        "layer_scale_init": config["layer_init_values"],
    }


def _classifier_of(golden: Golden, kind: str) -> nn.Module:
    config = golden.config
    model = MODELS.build({
        "type": kind, "backbone": {"type": "RMT", **_backbone_options(config)}, "num_classes": config["num_classes"],
        "hidden": config["projection"],
    })
    load_state(model, load_official(golden.state))
    return model


@torch.no_grad()
def _classifier(golden: Golden) -> None:
    model, images = _classifier_of(golden, "RMTClassifier"), golden.inputs["image"]
    backbone = model.backbone
    x = backbone.embed(images)
    ours = {"stem": x, "logits": model(images), "pooled": model.pooled(backbone(images)[-1])}
    for number, stage in enumerate(backbone.stages):
        x = stage(x)
        if number < len(backbone.reductions):
            x = backbone.reductions[number](x.movedim(-1, 1)).movedim(1, -1)
        ours[f"after_layer{number}"] = x
    _check(golden.out, ours, NETWORK)


@torch.no_grad()
def _dense(golden: Golden) -> None:
    config = golden.config
    model = RMT(**_backbone_options(config), out_indices=config["out_indices"])
    load_state(model, rename_part(golden.state, load_official, "", "backbone."))
    maps = model(golden.inputs["image"])
    _check(golden.out, {f"p{stage}": x for stage, x in zip(model.out_indices, maps, strict=True)}, NETWORK)


@torch.no_grad()
def _short_stem(golden: Golden) -> None:
    stem = conv_stem(golden.config["in_chans"], golden.config["embed_dim"], short=True)
    load_state(stem, rename_part(golden.state, load_official, "patch_embed.", "backbone.stem."))
    _check(golden.out, {"y": stem(golden.inputs["image"]).movedim(1, -1)}, SHORT_STEM)


def _token_label(golden: Golden) -> None:
    """Either the network in evaluation, or the losses."""
    (_token_label_eval if "image" in golden.inputs else _token_label_loss)(golden)


@torch.no_grad()
def _token_label_eval(golden: Golden) -> None:
    model, images = _classifier_of(golden, "RMTTokenLabelClassifier"), golden.inputs["image"]
    last = model.backbone(images)[-1]
    classes, tokens = model.classify(last)
    _check(golden.out, {
        "tokens": last.movedim(1, -1), "cls_logits": classes, "aux_logits": tokens.flatten(1, 2),
        "logits": model(images),
    }, NETWORK)


def _token_label_loss(golden: Golden) -> None:
    config, target = golden.config, golden.inputs["target"]
    for name, wanted in golden.out.items():
        leaves = {key: golden.inputs[key].clone().requires_grad_() for key in ("cls_logits", "aux_logits")}
        loss = _loss(name, config, leaves, golden.inputs["bbox"], target)
        _same(loss.view(1), wanted, LOSS, name)
        loss.backward()
        prefix = f"{name}."
        expected = {key.removeprefix(prefix): grad for key, grad in golden.grad.items() if key.startswith(prefix)}
        _check(expected, {key: leaf.grad for key, leaf in leaves.items()}, LOSS)


def _loss(name: str, config: Mapping[str, Any], leaves: Mapping[str, Tensor], box: Tensor, target: Tensor) -> Tensor:
    if name == "soft_ce":
        return nn.functional.cross_entropy(leaves["cls_logits"], target[:, :, 0])
    flavours = {"token_label": False, "token_label_gt": True}
    criterion = TokenLabelLoss(config["cls_weight"], config["dense_weight"], ground_truth=flavours[name])
    raw = TokenLabelLogits(leaves["cls_logits"], leaves["aux_logits"], tuple(box.tolist()))
    return sum(criterion(raw, target).values())


CASES: dict[str, Callable[[Golden], None]] = {
    "relpos": _relpos,
    "masa": _masa,
    "block": _block,
    "classifier": _classifier,
    "dense": _dense,
    "short_stem": _short_stem,
    "token_label": _token_label,
}


@pytest.mark.golden_files("rmt", pattern="*.*")
def test_every_case_is_known(golden_file: Path):
    assert golden_file.stem.split("__")[0] in CASES


@pytest.mark.golden_files("rmt")
def test_rmt_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
