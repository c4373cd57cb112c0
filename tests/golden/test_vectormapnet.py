"""VectorMapNet's detector and generator against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.key_map import rename_part
from perception.structures import Frame
from perception_plugins.vectormapnet import VectorMapHead, load_official
from perception_plugins.vectormapnet.detector import Detections, ElementDetector
from perception_plugins.vectormapnet.generator import Condition, PolylineGenerator
from perception_plugins.vectormapnet.keypoints import keypoints_of
from perception_plugins.vectormapnet.losses import DetectorLoss, token_log_probabilities, weighted_log_loss
from perception_plugins.vectormapnet.matching import MatchCosts
from perception_plugins.vectormapnet.sampling import nucleus_logits
from perception_plugins.vectormapnet.targets import cells_of, condition_of, token_weights
from perception_plugins.vectormapnet.tokens import Canvas

ELSEWHERE = {"ipm", "camera_encoder", "lidar_encoder", "bev_neck", "target_geometry"}     # cases of other test files
BOUNDARY = 2
Maps = Mapping[str, Tensor]
close = torch.testing.assert_close


def _load(module: torch.nn.Module, state: Maps, official: str, ours: str) -> None:
    load_state(module, rename_part(state, load_official, official, ours))


def _check_grads(golden: Golden, module: torch.nn.Module, official: str, ours: str, source: Tensor) -> None:
    ours_by_key = {"in.bev": source.grad}
    expected = {"in.bev": golden.grad["in.bev"]} if "in.bev" in golden.grad else {}
    mapped = rename_part({k: v for k, v in golden.grad.items() if k != "in.bev"}, load_official, official, ours)
    ours_by_key |= {key: module.get_parameter(key).grad for key in mapped}
    for key, grad in (expected | mapped).items():
        _close_in_size(ours_by_key[key], grad, key)


def _close_in_size(ours: Tensor | None, expected: Tensor, name: str) -> None:
    """As near as 1e-4 of the greatest entry, as the sheet says of sums over many terms."""
    assert ours is not None, name
    size = max(1.0, float(expected.abs().max()))
    close(ours, expected, atol=1e-4 * size, rtol=0, msg=lambda text: f"{name}: {text}")


def _options(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "channels": config["embed_dims"], "heads": config["num_heads"], "layers": config["num_layers"],
        "hidden": 2 * config["embed_dims"],
    }


def _detector_of(config: dict[str, Any]) -> ElementDetector:
    return ElementDetector(
        config["in_channels"], config["num_classes"], tuple(config["canvas_size"]), num_queries=config["num_query"],
        num_keypoints=config["bbox_size"], **_options(config),
    )


def _generator_of(config: dict[str, Any]) -> PolylineGenerator:
    return PolylineGenerator(
        config["in_channels"], config["num_classes"], Canvas(size=tuple(config["canvas_size"])),
        max_positions=config["max_seq_length"], dropout=config.get("dropout", 0.2), **_options(config),
    )


def _head_of(config: dict[str, Any]) -> VectorMapHead:
    return VectorMapHead(
        config["in_channels"], classes=tuple(f"class{k}" for k in range(config["num_classes"])),
        canvas=config["canvas_size"], detector={**_options(config), "num_queries": config["num_query"]},
        generator={**_options(config), "max_positions": config["max_seq_length"]}, top_k=config["max_lines"],
        max_vertices=config["max_sample_length"], nucleus=0.0,
    )


def _condition(inputs: Maps) -> Condition:
    return Condition(inputs["lines_cls"].long(), inputs["bbox_flat"].long(), inputs["lines_bs_idx"].long())


def _det_forward(golden: Golden) -> None:
    detector, out = _detector_of(golden.config), golden.out
    _load(detector, golden.state, "head.det_net.", "head.detector.")
    bev = golden.inputs["bev"].requires_grad_()
    found, (tokens, _) = detector(bev), detector.decode(bev)
    for layer in range(golden.config["num_layers"]):
        for name, ours in (("lines", found.keypoints), ("scores", found.scores)):
            if f"{name}{layer}" in out:
                close(ours[layer], out[f"{name}{layer}"], atol=1e-4, rtol=1e-4)
    if "embeddings_last" in out:
        close(tokens[-1].reshape(out["embeddings_last"].shape), out["embeddings_last"], atol=1e-4, rtol=1e-4)
    scalar = 0.05 * found.keypoints[-1].sum() + found.scores[-1].square().sum()
    if "scalar" in out:
        _close_in_size(scalar.view(1), out["scalar"], "scalar")
    scalar.backward()
    _check_grads(golden, detector, "head.det_net.", "head.detector.", bev)


def _det_postprocess(golden: Golden) -> None:
    config = golden.config | {"max_seq_length": 8, "max_sample_length": 4}
    found = Detections(golden.inputs["scores"][None], golden.inputs["lines"][None])
    scores, condition = _head_of(config).select(found)
    out = golden.out
    ours = {
        "scores": scores, "labels": condition.labels, "bbox_flat": condition.keypoints.int(),
        "lines_cls": condition.labels, "lines_bs_idx": condition.images,
    }
    for name in ours.keys() & out.keys():
        close(ours[name].reshape(out[name].shape), out[name], atol=1e-6 if name == "scores" else 0, rtol=0)
    if "bbox" in out:
        close(condition.keypoints.view(out["bbox"].shape), out["bbox"].round().long(), atol=0, rtol=0)


def _det_loss(golden: Golden) -> None:
    config, inputs, out = golden.config, golden.inputs, golden.out
    layers, images = range(config["num_layers"]), range(config["B"])
    leaves = {f"{kind}{k}": inputs[f"{kind}{k}"].requires_grad_() for kind in ("scores", "lines") for k in layers}
    found = Detections(*(torch.stack([leaves[f"{kind}{k}"] for k in layers]) for kind in ("scores", "lines")))
    labels, truth = [inputs[f"gt_label{b}"] for b in images], [inputs[f"gt_bbox{b}"] for b in images]
    costs = MatchCosts(
        config.get("cls_cost_weight", 2.0), config.get("reg_cost_weight", 0.1), config.get("iou_cost_weight", 1.0),
        config.get("alpha", 0.25), config.get("gamma", 2.0),
    )
    loss = DetectorLoss(
        costs, config.get("loss_cls_weight", 2.0), config.get("loss_reg_weight", 0.1), config.get("smooth_l1_beta", 0.5)
    )
    for layer in layers:
        for b in images:
            _check_match(out, costs, (found.scores[layer, b], found.keypoints[layer, b], labels[b], truth[b]), layer, b)
    losses, _ = loss(found, labels, truth)
    for name, value in losses.items():
        if (key := f"loss.{name.replace('_', '.')}") in out:
            close(value.view(1), out[key], atol=1e-5, rtol=1e-5)
    total = torch.stack(list(losses.values())).sum()
    if "loss_total" in out:
        close(total.view(1), out["loss_total"], atol=1e-5, rtol=1e-5)
    total.backward()
    for key, grad in golden.grad.items():
        close(leaves[key].grad, grad, atol=1e-5, rtol=1e-4)


def _check_match(out: Maps, costs: MatchCosts, image: tuple[Tensor, ...], layer: int, b: int) -> None:
    terms = costs.terms(*image)
    place = f"l{layer}.b{b}"
    if f"cost.{place}" in out:
        close(torch.stack(terms).sum(dim=0), out[f"cost.{place}"], atol=1e-5, rtol=1e-5)
    if f"cost.l{layer + 1}.b{b}" not in out:                 # single terms are those of the last layer
        for name, term in zip(("cls", "reg", "giou"), terms, strict=True):
            if f"cost_{name}.b{b}" in out:
                close(term, out[f"cost_{name}.b{b}"], atol=1e-5, rtol=1e-5)
    if f"assigned_gt_inds.{place}" in out:
        queries, truths = costs.pairs(*image)
        assigned = torch.zeros(len(image[0]), dtype=torch.int64)
        assigned[queries] = truths + 1
        assert torch.equal(assigned, out[f"assigned_gt_inds.{place}"])


def _gen_teacher_forcing(golden: Golden) -> None:
    generator, inputs, out = _generator_of(golden.config), golden.inputs, golden.out
    _load(generator, golden.state, "head.gen_net.", "head.generator.")
    bev, condition = inputs["bev"].requires_grad_(), _condition(inputs)
    tokens, mask, weights = inputs["polylines"].long(), inputs["polyline_masks"].bool(), inputs["polyline_weights"]
    logits = generator(generator.read(bev), condition, tokens)
    loss = weighted_log_loss(logits, tokens, mask, weights) / weights.sum()
    ours = {
        "logits": logits, "log_prob_masked": token_log_probabilities(logits, tokens) * mask, "loss_seq": loss.view(1),
        "condition_tokens": generator.prefix(condition), "memory_tokens": generator.memory(bev)[condition.images],
    }
    for name in ours.keys() & out.keys():
        close(ours[name], out[name], atol=1e-4, rtol=1e-4)
    if "attn_mask" in out:
        assert torch.equal(~generator.prefix_mask(len(out["attn_mask"])), out["attn_mask"].bool())
    loss.backward()
    _check_grads(golden, generator, "head.gen_net.", "head.generator.", bev)


def _gen_greedy_decode(golden: Golden) -> None:
    generator, out, config = _generator_of(golden.config), golden.out, golden.config
    _load(generator, golden.state, "head.gen_net.", "head.generator.")
    memory = generator.read(golden.inputs["bev"])
    tokens = generator.generate(memory, _condition(golden.inputs), max_vertices=config["max_sample_length"])
    finished = (tokens == 0).any(dim=1)
    lines = [Canvas(size=tuple(config["canvas_size"])).vertices_of(line) for line in tokens]
    padded = torch.nn.utils.rnn.pad_sequence([*lines, torch.zeros(config["max_sample_length"], 2)], batch_first=True)
    before = torch.cat([tokens.new_ones(len(tokens), 1), tokens[:, :-1]], dim=1)
    ours = {
        "polylines": tokens, "completed": finished.byte(), "lines_norm": padded[:-1],
        "polyline_masks": (before != 0).byte(), "lines_len": torch.tensor([len(line) for line in lines]),
    }
    for name in ours.keys() & out.keys():
        close(ours[name], out[name], atol=1e-6 if name == "lines_norm" else 0, rtol=0)


def _top_p(golden: Golden) -> None:
    for mass in golden.config["p"]:
        close(nucleus_logits(golden.inputs["logits"], mass), golden.out[f"p{mass}"], atol=0, rtol=0)


def _head_end_to_end(golden: Golden) -> None:
    head, out = _head_of(golden.config), golden.out
    _load(head, golden.state, "head.", "head.")
    written = head(golden.inputs["bev"])
    condition, B = written.condition, golden.config["B"]
    lines = [head.canvas.vertices_of(tokens) for tokens in written.tokens]
    ours = {
        "bbox_flat": condition.keypoints.int(), "lines_bs_idx": condition.images, "lines_cls": condition.labels,
        "polylines": written.tokens, "scores": written.scores.view(B, -1),
    }
    predictions = head.decode(written, [Frame(f"frame{b}", 0) for b in range(B)])
    for b in range(B):
        rows = (condition.images == b).nonzero()[:, 0].tolist()
        ours |= {f"b{b}.labels": condition.labels[rows], f"b{b}.scores": written.scores[rows]}
        ours |= {f"b{b}.line{i}": lines[row] for i, row in enumerate(rows)}
        expected = [head.canvas.denormalise(lines[row]) for row in rows if len(lines[row]) > 1]
        close(list(predictions[b].lines), expected)
    for name in ours.keys() & out.keys():
        close(ours[name], out[name], atol=1e-5 if ours[name].is_floating_point() else 0, rtol=0)


def _target_tokens(golden: Golden) -> None:
    config, inputs, out = golden.config, golden.inputs, golden.out
    canvas = Canvas(size=tuple(config["canvas_size"]))
    count = sum(key.startswith("label") for key in inputs)
    lines = [canvas.normalise(inputs[f"line{i}_m"]) for i in range(count)]
    labels = torch.cat([inputs[f"label{i}"] for i in range(count)])
    keypoints = torch.stack([keypoints_of(line, "box").flatten() for line in lines])
    for i, line in enumerate(lines):
        if f"tokens{i}" in out:
            close(canvas.tokens_of(line).int(), out[f"tokens{i}"], atol=0, rtol=0)
        if f"weights{i}" in out:
            weights = token_weights(line, by_length=int(labels[i]) == BOUNDARY)
            close(weights, out[f"weights{i}"], atol=1e-6, rtol=0)
    if "keypoint" in out:                                    # float32 of numbers up to 200
        close(cells_of(keypoints, canvas).double(), out["keypoint"], atol=2e-5, rtol=0)
    if "qkeypoint" in out:
        close(condition_of(keypoints, canvas).int(), out["qkeypoint"], atol=0, rtol=0)
    if "det_label" in out:
        assert torch.equal(labels, out["det_label"])


CASES: dict[str, Callable[[Golden], None]] = {
    "det_forward": _det_forward,
    "det_postprocess": _det_postprocess,
    "det_loss": _det_loss,
    "gen_teacher_forcing": _gen_teacher_forcing,
    "gen_greedy_decode": _gen_greedy_decode,
    "top_p": _top_p,
    "head_end_to_end": _head_end_to_end,
    "target_tokens": _target_tokens,
}


@pytest.mark.golden_files("vectormapnet", pattern="*.*")
def test_every_case_is_known(golden_file: Path):
    assert golden_file.stem.split("__")[0] in CASES.keys() | ELSEWHERE


@pytest.mark.golden_files("vectormapnet", pattern="[dght]*.safetensors")
def test_the_head_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
