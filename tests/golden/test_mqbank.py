"""MQBank's decoder against an independent computation, and its LaneSegNet base against the authors' own modules."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.models.key_map import rename_part
from perception.models.lifts.bevformer import BEVFormerLift
from perception.models.lifts.pillar_views import project_pillars
from perception.structures import Polylines, SDMap
from perception_plugins.mqbank import LaneSegmentHead, MQBankDecoder, RelationshipHead, load_official
from perception_plugins.mqbank.lane_decoder import LaneLayerOutput, LaneQueries
from perception_plugins.mqbank.sd_anchors import SDAnchors, sd_anchors

METRES = {"atol": 1e-3, "rtol": 1e-5}
close = torch.testing.assert_close


def _scaled(actual: Tensor, expected: Tensor, name: str = "") -> None:
    """Within 1e-4 of the greatest entry, as sums over thousands of numbers are."""
    atol = 1e-4 * max(1.0, float(expected.abs().max()))
    close(actual, expected, atol=atol, rtol=0, msg=lambda text: f"{name}: {text}")


def _check_grads(golden: Golden, module: nn.Module, source: Tensor, source_key: str, official: str, ours: str) -> None:
    grads = dict(golden.grad)
    if source_key in grads:
        _scaled(source.grad, grads.pop(source_key), source_key)
    for key, expected in rename_part(grads, load_official, official, ours).items():
        _scaled(module.get_parameter(key).grad, expected, key)


def _bevformer_encoder(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    lift = BEVFormerLift(
        config["embed_dims"], (config["bev_h"], config["bev_w"]), config["pc_range"], num_cameras=config["num_cams"],
        levels=config["num_levels"], num_layers=config["num_layers"], spatial_points=config["sca_points"],
        pillar_heights=config["pillar_points"],
    )
    load_state(lift, rename_part(golden.state, load_official, "bev_constructor.", "bev_encoder.lift."))
    image_size = (config["img_hw"][0], config["img_hw"][1])
    features = [inputs[f"feat{level}"] for level in range(config["num_levels"])]
    if "bev_mask" in golden.out:
        _, visible = project_pillars(lift.pillars, inputs["lidar2img"], image_size)
        assert torch.equal(visible.transpose(0, 1), golden.out["bev_mask"].bool())
    bev = lift(features, inputs["lidar2img"], image_size, can_bus=inputs["can_bus"])
    close(bev.flatten(2).transpose(1, 2), golden.out["bev_embed"], atol=1e-4, rtol=1e-4)


def _lane_head_of(config: Mapping[str, Any]) -> LaneSegmentHead:
    decoder = {
        "type": "LaneSegDecoder", "channels": config["embed_dims"], "point_range": config["pc_range"],
        "num_queries": config["num_query"], "num_layers": config["num_layers"],
        "sampling_points": config["num_points"], "line_points": config["n_points"],
    }
    return LaneSegmentHead(decoder, with_topology=False)


def _laneseg_head(golden: Golden) -> None:
    head = _lane_head_of(golden.config)
    prefix = ("pts_bbox_head.", "head.")
    load_state(head, rename_part(golden.state, load_official, *prefix))
    embedding = golden.inputs["bev_embed"].requires_grad_()
    bev = embedding.transpose(1, 2).unflatten(2, (golden.config["bev_h"], golden.config["bev_w"]))
    outputs = head.decoder(bev)
    layers = [head.layer_maps(number, output, bev) for number, output in enumerate(outputs)]
    lanes = torch.stack([torch.cat([layer.centers, layer.lefts, layer.rights], dim=2).flatten(2) for layer in layers])
    ours = {
        "all_cls_scores": [layer.logits for layer in layers],
        "all_mask_preds": [layer.masks for layer in layers],
        "all_lanes_left_type": [layer.left_types for layer in layers],
        "all_lanes_right_type": [layer.right_types for layer in layers],
        "history_states": [output.query for output in outputs],
    }
    final = head(bev, {})
    named = {name: torch.stack(tensors) for name, tensors in ours.items()} | {"eval_cls_scores": final.logits}
    for name in named.keys() & golden.out.keys():
        close(named[name], golden.out[name], atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    if "all_lanes_preds" in golden.out:
        close(lanes, golden.out["all_lanes_preds"], **METRES)
    if "eval_lanes_preds" in golden.out:
        close(torch.cat([final.centers, final.lefts, final.rights], dim=2).flatten(2), golden.out["eval_lanes_preds"],
              **METRES)
    weight = torch.linspace(-1, 1, lanes.shape[-1])
    scalar = 0.01 * (weight * lanes[-1]).sum() + layers[-1].logits.square().sum() + layers[-1].masks.square().mean()
    scalar.backward()
    if "scalar" in golden.out:
        _scaled(scalar.detach().view(1), golden.out["scalar"], "scalar")
    _check_grads(golden, head, embedding, "in.bev_embed", *prefix)


def _relationship_head(golden: Golden) -> None:
    head = RelationshipHead(golden.config["embed_dims"])
    load_state(head, rename_part(golden.state, load_official, "lclc_head.", "head.topology."))
    logits = head(golden.inputs["query"])
    for name, value in {"logits": logits, "scores": logits.sigmoid()}.items():
        if name in golden.out:
            close(value, golden.out[name], atol=1e-5, rtol=1e-5)


def _mqbank_decoder(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    decoder = MQBankDecoder(
        config["C"], config["pc_range"], num_queries=config["num_query"], num_layers=config["layers"],
        heads=config["heads"], sampling_points=config["points"], bank_size=config["bank_hw"], boundary_size=config["K"],
        line_points=inputs["anchor_center"].shape[1],
    )
    prefix = ("mqbank_decoder.", "head.decoder.")
    load_state(decoder, rename_part(golden.state, load_official, *prefix))
    anchors = SDAnchors(*(inputs[f"anchor_{name}"] for name in ("type", "center", "left", "right")))
    bev = inputs["bev"].requires_grad_()
    memory, bev_size = bev.flatten(1, 2), tuple(bev.shape[1:3])
    queries = decoder.start([anchors] * len(bev))
    _check_start(golden, queries)
    outputs: list[LaneLayerOutput] = []
    for number, layer in enumerate(decoder.layers):
        asked: list[LaneQueries] = []
        hook = layer.cross_attention.register_forward_pre_hook(lambda _, args, asked=asked: asked.append(args[0]))
        outputs.append(layer(queries, memory, bev_size))
        hook.remove()
        _check_points(golden, number, layer.cross_attention, asked[0], memory, bev_size)
        _check_layer(golden, number, decoder, outputs[-1])
        queries = decoder.next_queries(queries, outputs[-1])
    scalar = _decoder_scalar(decoder, outputs)
    if "scalar" in golden.out:
        _scaled(scalar.detach().view(1), golden.out["scalar"], "scalar")
    scalar.backward()
    _check_grads(golden, decoder, bev, "in.bev", *prefix)
    whole = decoder(bev.permute(0, 3, 1, 2), None)
    assert [output.query.shape for output in whole] == [output.query.shape for output in outputs]


def _check_start(golden: Golden, queries: LaneQueries) -> None:
    names = {
        "query_pos": queries.position, "query": queries.content, "ref": queries.reference, "points8": queries.points,
        "bank_samples": queries.samples,
    }
    for name, tensor in names.items():
        if f"init_{name}" in golden.out:
            expected = golden.out[f"init_{name}"].expand_as(tensor)
            close(tensor, expected, atol=1e-4, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


def _check_points(
    golden: Golden, number: int, attention: nn.Module, queries: LaneQueries, memory: Tensor, bev_size: tuple[int, int]
) -> None:
    tokens = attention.tokens(queries)
    read = attention.read(tokens, queries.points, memory, bev_size)
    named = {"point_tokens": tokens, "point_cross": read, "pool_weights": attention.shares(tokens, read)}
    for name, value in named.items():
        if f"l{number}.{name}" in golden.out:
            close(value, golden.out[f"l{number}.{name}"], atol=1e-4, rtol=1e-4)


def _check_layer(golden: Golden, number: int, decoder: MQBankDecoder, output: LaneLayerOutput) -> None:
    lines = dict(zip(("center_m", "left_m", "right_m"), decoder.lines(output.reference, output.offset), strict=True))
    for name, value in {"query": output.query, "ref": output.reference, **lines}.items():
        if f"l{number}.{name}" in golden.out:
            close(value, golden.out[f"l{number}.{name}"], **(METRES if name in lines else {"atol": 1e-4, "rtol": 1e-4}))


def _decoder_scalar(decoder: MQBankDecoder, outputs: list[LaneLayerOutput]) -> Tensor:
    total = torch.zeros(())
    for output in outputs:
        center, left, _ = decoder.lines(output.reference, output.offset)
        weight = torch.linspace(-1, 1, center.shape[2])[:, None]
        total = total + 0.1 * output.query.square().sum() + 0.01 * (weight * center).sum() + 0.01 * left.sum()
    return total


CASES: dict[str, Callable[[Golden], None]] = {
    "bevformer_encoder": _bevformer_encoder,
    "laneseg_head": _laneseg_head,
    "relationship_head": _relationship_head,
    "mqbank_decoder": _mqbank_decoder,
}


@pytest.mark.golden_files("mqbank")
def test_mqbank_equals_its_reference(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)


@pytest.mark.golden_files("mqbank", pattern="*.json")
def test_anchors_equal_their_reference(golden_file: Path):
    case = json.loads(golden_file.read_text())
    assert case["kind"] == "sd_anchors"
    roads, crossings, params = case["roads"], case["crosswalks"], case["params"]
    lines = [torch.tensor(points, dtype=torch.float64) for points in [*(road["points"] for road in roads), *crossings]]
    sd_map = SDMap(
        Polylines.from_lines(lines), torch.tensor([0] * len(roads) + [1] * len(crossings), dtype=torch.int64),
        torch.tensor([road.get("lanes") or 0 for road in roads] + [0] * len(crossings), dtype=torch.int64),
        right_hand=params["right_hand"],
    )
    anchors = sd_anchors(
        sd_map, params["K"], piece=params["piece_m"], lane_width=params["lane_width"],
        crossing_width=params["crosswalk_width"],
    )
    assert anchors.kinds.tolist() == [anchor["type"] for anchor in case["expected"]]
    for name, line in (("center", anchors.centers), ("left", anchors.lefts), ("right", anchors.rights)):
        expected = torch.tensor([anchor[name] for anchor in case["expected"]], dtype=torch.float64)
        close(line[..., :2], expected.view(-1, params["K"], 2), atol=1e-6, rtol=0)
