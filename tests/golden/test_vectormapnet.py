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
from perception_plugins.vectormapnet.keypoints import NUM_KEYPOINTS, keypoints_of
from perception_plugins.vectormapnet.losses import DetectorLoss, token_log_probabilities, weighted_log_loss
from perception_plugins.vectormapnet.map_head import best_elements
from perception_plugins.vectormapnet.matching import MatchCosts
from perception_plugins.vectormapnet.sampling import nucleus_logits
from perception_plugins.vectormapnet.targets import cells_of, condition_of, token_weights
from perception_plugins.vectormapnet.tokens import Canvas

ELSEWHERE = {"ipm", "camera_encoder", "lidar_encoder", "bev_neck", "target_geometry"}     # cases of other test files
BOUNDARY = 2
KIND_OF = {count: kind for kind, count in NUM_KEYPOINTS.items()}
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


def _generator_of(config: dict[str, Any], keypoints: int) -> PolylineGenerator:
    return PolylineGenerator(
        config["in_channels"], config["num_classes"], Canvas(size=tuple(config["canvas_size"])),
        num_keypoints=keypoints, max_positions=config["max_seq_length"], dropout=config.get("dropout", 0.2),
        **_options(config),
    )


def _head_of(config: dict[str, Any]) -> VectorMapHead:
    return VectorMapHead(
        config["in_channels"], classes=tuple(f"class{k}" for k in range(config["num_classes"])),
        canvas=config["canvas_size"], keypoints=KIND_OF[config["bbox_size"]],
        detector={**_options(config), "num_queries": config["num_query"]},
        generator={**_options(config), "max_positions": config["max_seq_length"]}, top_k=config["max_lines"],
        max_vertices=config["max_sample_length"], nucleus=0.0,
    )


def _condition(inputs: Maps) -> Condition:
    return Condition(inputs["lines_cls"].long(), inputs["bbox_flat"].long(), inputs["lines_bs_idx"].long())


def _check_outputs(golden: Golden, ours: Maps, atol: float, rtol: float = 0.0) -> None:
    """Every output that the file has, and no other; whole numbers must be equal."""
    for name, expected in golden.out.items():
        exact = {} if expected.is_floating_point() else {"atol": 0.0, "rtol": 0.0}
        value = ours[name].reshape(expected.shape).to(expected.dtype)
        close(value, expected, **{"atol": atol, "rtol": rtol, **exact}, msg=lambda text, name=name: f"{name}: {text}")


def _det_forward(golden: Golden) -> None:
    detector = _detector_of(golden.config)
    _load(detector, golden.state, "head.det_net.", "head.detector.")
    bev = golden.inputs["bev"].requires_grad_()
    found, (tokens, _) = detector(bev), detector.decode(bev)
    scalar = 0.05 * found.keypoints[-1].sum() + found.scores[-1].square().sum()
    ours = {f"lines{layer}": keypoints for layer, keypoints in enumerate(found.keypoints)}
    ours |= {f"scores{layer}": scores for layer, scores in enumerate(found.scores)}
    ours |= {"embeddings_last": tokens[-1], "scalar": scalar}
    _check_outputs(golden, ours, atol=1e-4, rtol=1e-4)
    scalar.backward()
    _check_grads(golden, detector, "head.det_net.", "head.detector.", bev)


def _det_postprocess(golden: Golden) -> None:
    config = golden.config | {"max_seq_length": 8, "max_sample_length": 4}
    found = Detections(golden.inputs["scores"][None], golden.inputs["lines"][None])
    scores, condition = _head_of(config).select(found)
    queries = best_elements(golden.inputs["scores"], config["max_lines"])[1]
    keypoints = golden.inputs["lines"][torch.arange(len(queries))[:, None], queries]
    _check_outputs(golden, {
        "scores": scores, "labels": condition.labels, "bbox": keypoints, "bbox_flat": condition.keypoints,
        "lines_cls": condition.labels, "lines_bs_idx": condition.images,
    }, atol=1e-6)


def _det_loss(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
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
    losses, _ = loss(found, labels, truth)
    total = torch.stack(list(losses.values())).sum()
    ours = {"loss_total": total, **{f"loss.{name.replace('_', '.')}": value for name, value in losses.items()}}
    for layer in layers:
        for b in images:
            image = (found.scores[layer, b], found.keypoints[layer, b], labels[b], truth[b])
            terms, (queries, truths) = costs.terms(*image), costs.pairs(*image)
            ours[f"cost.l{layer}.b{b}"] = torch.stack(terms).sum(dim=0)
            ours |= {f"cost_{name}.b{b}": term for name, term in zip(("cls", "reg", "giou"), terms, strict=True)}
            ours[f"assigned_gt_inds.l{layer}.b{b}"] = torch.zeros(len(image[0]), dtype=torch.int64)
            ours[f"assigned_gt_inds.l{layer}.b{b}"][queries] = truths + 1
    _check_outputs(golden, ours, atol=1e-5, rtol=1e-5)
    total.backward()
    for key, grad in golden.grad.items():
        close(leaves[key].grad, grad, atol=1e-5, rtol=1e-4)


def _gen_teacher_forcing(golden: Golden) -> None:
    inputs = golden.inputs
    generator = _generator_of(golden.config, inputs["bbox_flat"].shape[1] // 2)
    _load(generator, golden.state, "head.gen_net.", "head.generator.")
    bev, condition = inputs["bev"].requires_grad_(), _condition(inputs)
    tokens, mask, weights = inputs["polylines"].long(), inputs["polyline_masks"].bool(), inputs["polyline_weights"]
    logits = generator(generator.read(bev), condition, tokens)
    loss = weighted_log_loss(logits, tokens, mask, weights) / weights.sum()
    ours = {
        "logits": logits, "log_prob_masked": token_log_probabilities(logits, tokens) * mask, "loss_seq": loss,
        "condition_tokens": generator.prefix(condition), "memory_tokens": generator.memory(bev)[condition.images],
    }
    if "attn_mask" in golden.out:
        ours["attn_mask"] = ~generator.prefix_mask(len(golden.out["attn_mask"]))
    _check_outputs(golden, ours, atol=1e-4, rtol=1e-4)           # relative for the logits of -1e9
    loss.backward()
    _check_grads(golden, generator, "head.gen_net.", "head.generator.", bev)


def _gen_greedy_decode(golden: Golden) -> None:
    config = golden.config
    generator = _generator_of(config, golden.inputs["bbox_flat"].shape[1] // 2)
    _load(generator, golden.state, "head.gen_net.", "head.generator.")
    memory = generator.read(golden.inputs["bev"])
    tokens = generator.generate(memory, _condition(golden.inputs), max_vertices=config["max_sample_length"])
    lines = [Canvas(size=tuple(config["canvas_size"])).vertices_of(line) for line in tokens]
    padded = torch.nn.utils.rnn.pad_sequence([*lines, torch.zeros(config["max_sample_length"], 2)], batch_first=True)
    before = torch.cat([tokens.new_ones(len(tokens), 1), tokens[:, :-1]], dim=1)
    _check_outputs(golden, {
        "polylines": tokens, "completed": (tokens == 0).any(dim=1), "lines_norm": padded[:-1],
        "polyline_masks": before != 0, "lines_len": torch.tensor([len(line) for line in lines]),
    }, atol=1e-6)


def _top_p(golden: Golden) -> None:
    ours = {f"p{mass}": nucleus_logits(golden.inputs["logits"], mass) for mass in golden.config["p"]}
    _check_outputs(golden, ours, atol=0.0)


def _head_end_to_end(golden: Golden) -> None:
    head, B = _head_of(golden.config), golden.config["B"]
    _load(head, golden.state, "head.", "head.")
    written = head(golden.inputs["bev"])
    condition, lines = written.condition, [head.canvas.vertices_of(tokens) for tokens in written.tokens]
    ours = {
        "bbox_flat": condition.keypoints, "lines_bs_idx": condition.images, "lines_cls": condition.labels,
        "polylines": written.tokens, "scores": written.scores,
    }
    predictions = head.decode(written, [Frame(f"frame{b}", 0) for b in range(B)])
    for b in range(B):
        rows = (condition.images == b).nonzero()[:, 0].tolist()
        ours |= {f"b{b}.labels": condition.labels[rows], f"b{b}.scores": written.scores[rows]}
        ours |= {f"b{b}.line{i}": lines[row] for i, row in enumerate(rows)}
        expected = [head.canvas.denormalise(lines[row]) for row in rows if len(lines[row]) > 1]
        close(list(predictions[b].lines), expected)
    _check_outputs(golden, ours, atol=1e-5)


def _target_tokens(golden: Golden) -> None:
    inputs, canvas = golden.inputs, Canvas(size=tuple(golden.config["canvas_size"]))
    labels = torch.cat([inputs[f"label{i}"] for i in range(sum(key.startswith("label") for key in inputs))])
    lines = [canvas.normalise(inputs[f"line{i}_m"]) for i in range(len(labels))]
    keypoints = torch.stack([keypoints_of(line, "box").flatten() for line in lines])
    ours = {f"tokens{i}": canvas.tokens_of(line) for i, line in enumerate(lines)}
    ours |= {"qkeypoint": condition_of(keypoints, canvas), "det_label": labels}
    for i, line in enumerate(lines):
        weights = token_weights(line, by_length=int(labels[i]) == BOUNDARY)
        if f"weights{i}" in golden.out:
            close(weights, golden.out.pop(f"weights{i}"), atol=1e-6, rtol=0)
    ours["keypoint"] = cells_of(keypoints, canvas)
    _check_outputs(golden, ours, atol=2e-5)                      # keypoints are float32 of numbers up to 200


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
