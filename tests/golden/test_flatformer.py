"""FlatFormer against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import (
    Golden,
    check_decode,
    check_detections,
    check_head,
    check_losses,
    check_targets,
    coder_config,
    load_state,
    modern_boxes,
    nms_config,
    read_golden,
    task_maps,
)

from perception.models.bev_backbones.second import SECOND
from perception.models.detector import Detector
from perception.models.heads.box_overlap import aligned_iou_3d
from perception.models.key_map import rename_part
from perception.models.necks.second_fpn import SECONDFPN
from perception.models.voxel_encoders.dynamic_vfe import DynamicVFE
from perception.structures import Boxes3D
from perception_ops import circle_nms, rotated_iou_bev, rotated_nms, window_partition
from perception_plugins.flatformer import FlatFormer, load_official
from perception_plugins.flatformer.attention import TokenGroups
from perception_plugins.flatformer.encoder import FlatFormerLayer
from perception_plugins.flatformer.position_code import position_code

BEV = [0, 1, 3, 4, 6]
close = torch.testing.assert_close


def _mapping(golden: Golden) -> None:
    config = golden.config
    result = window_partition(
        golden.inputs["coords"], config["batch_size"], config["sparse_shape"][:2], config["window_shape"][:2],
        config["group_size"],
    )
    for name, order in zip(("x", "x_shift", "y", "y_shift"), result.orders, strict=True):
        assert torch.equal(order, golden.out[name]), name
    assert torch.equal(result.flat2win, golden.out["flat2win"])
    assert torch.equal(result.win2flat, golden.out["win2flat"])


def _posembed(golden: Golden) -> None:
    config = golden.config
    grid = tuple(config["sparse_shape"][:2]) if config["normalize_pos"] else None
    code = position_code(golden.inputs["coords"], config["feat_dim"], temperature=config["pos_temperature"], grid=grid)
    close(code, golden.out["pe"], atol=2e-4, rtol=1e-4)


def _basic_layer(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    mixer = {"type": "GroupAttention", "num_heads": config["num_heads"]}
    layer = FlatFormerLayer(config["in_channels"], mixer)
    prefix = ("middle_encoder.block_list.0.block.0.", "lidar_backbone.blocks.0.layers.0.")
    load_state(layer, rename_part(golden.state, load_official, *prefix))
    source = inputs["src"].requires_grad_()
    slots = torch.arange(len(source))
    groups = TokenGroups(slots, slots, None, config["group_size"])
    mixed = layer.mixer.mix_tokens(source.detach(), inputs["pe"], groups)
    gathered, position = (rows.unflatten(0, (-1, groups.size)) for rows in (source.detach(), inputs["pe"]))
    for result in (mixed, layer.mixer(gathered, position=position).flatten(0, 1)):
        close(result, golden.out["attn"], atol=1e-5, rtol=1e-4)
    close(layer.norm1(source + mixed), golden.out["norm1"], atol=1e-5, rtol=1e-4)
    output = layer(source, inputs["pe"], groups)
    close(output, golden.out["y"], atol=1e-5, rtol=1e-4)
    (output * inputs["grad_out"]).sum().backward()
    _check_grads(golden, layer, prefix, source=source, source_key="src")


def _check_grads(
    golden: Golden, module: torch.nn.Module, prefix: tuple[str, str], source: torch.Tensor, source_key: str
) -> None:
    close(source.grad, golden.grad[source_key], atol=1e-5, rtol=1e-3)
    expected = rename_part({k: v for k, v in golden.grad.items() if k != source_key}, load_official, *prefix)
    for key, grad in expected.items():
        close(module.get_parameter(key).grad, grad, atol=1e-5, rtol=1e-3, msg=lambda text, key=key: f"{key}: {text}")


def _encoder_of(config: dict[str, Any]) -> FlatFormer:
    return FlatFormer(
        config["in_channels"], config["sparse_shape"][:2], window=config["window_shape"][:2],
        group_size=config["group_size"], num_blocks=config["num_blocks"], num_heads=config["num_heads"],
        temperature=config["pos_temperature"], normalize_position=config["normalize_pos"],
    )


def _encoder(golden: Golden) -> None:
    inputs, batch_size = golden.inputs, golden.config["batch_size"]
    encoder = _encoder_of(golden.config)
    prefix = ("middle_encoder.", "lidar_backbone.")
    load_state(encoder, rename_part(golden.state, load_official, *prefix))
    if "tokens" in golden.out:                       # no intermediate results in the file
        close(encoder.encode(inputs["feats"], inputs["coords"], batch_size), golden.out["tokens"], atol=1e-5, rtol=1e-4)
        return
    tokens = features = inputs["feats"].requires_grad_()
    code, orders = encoder.position(inputs["coords"]), encoder.orders(inputs["coords"], batch_size)
    for b, block in enumerate(encoder.blocks):
        for number, (layer, groups) in enumerate(zip(block.layers, orders, strict=True)):
            tokens = layer(tokens, code, groups)
            if f"tokens_block{b}_layer{number}" in golden.out:
                close(tokens, golden.out[f"tokens_block{b}_layer{number}"], atol=1e-5, rtol=1e-4)
        close(tokens, golden.out[f"tokens_block{b}"], atol=1e-5, rtol=1e-4)
    close(code, golden.out["pe"], atol=1e-5, rtol=1e-4)
    close(encoder(features, inputs["coords"], batch_size), golden.out["canvas"], atol=1e-5, rtol=1e-4)
    (tokens * inputs["grad_out_tokens"]).sum().backward()
    _check_grads(golden, encoder, prefix, source=features, source_key="feats")


def _vfe_of(config: dict[str, Any], **options: Any) -> DynamicVFE:
    return DynamicVFE(
        config["in_channels"], config["feat_channels"], voxel_size=config["voxel_size"],
        point_range=config["point_cloud_range"], outside="clamp", eps=config["norm_cfg"]["eps"],
        momentum=config["norm_cfg"]["momentum"], **options,
    )


def _dynamic_vfe(golden: Golden) -> None:
    points = golden.inputs["points"].split(golden.inputs["num_points_per_sample"].tolist())
    encoder = _vfe_of(golden.config)
    state = rename_part(golden.state, load_official, "voxel_encoder.", "voxel_encoder.")
    load_state(encoder, state)
    features, coords, inverse = encoder.voxelize(points)
    assert torch.equal(coords[inverse], golden.out["point_coors"])
    close(features, golden.out["point_features"], atol=1e-5, rtol=1e-4)
    close(encoder.layers[0](features), golden.out["vfe0_points"], atol=1e-5, rtol=1e-4)
    for options, suffix in (({}, ""), ({"keep_first_pillar": False}, "_dropfirst")):
        encoder = _vfe_of(golden.config, **options)
        load_state(encoder, state)
        pillars, coords = encoder(points)
        assert torch.equal(coords, golden.out[f"voxel_coors{suffix}"])
        close(pillars, golden.out[f"voxel_feats{suffix}"], atol=1e-5, rtol=1e-4)


def _bev_backbone_neck(golden: Golden) -> None:
    config = golden.config
    backbone = SECOND(
        config["cin"], config["cout"], config["nums"], config["strides"], residual=config["residual"]
    )
    neck = SECONDFPN(config["cout"], config["nout"], config["up"], conv_for_no_stride=config["conv1"])
    state = load_official(golden.state)
    for module, prefix in ((backbone, "bev_backbone."), (neck, "neck.")):
        load_state(module, {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
    single = _maps_by_name(backbone, neck, golden.inputs["x"])
    double = _maps_by_name(backbone.double(), neck.double(), golden.inputs["x"].double())
    for name, plane in double.items():               # float32 against float32 adds up the rounding of two machines
        close(plane, golden.out[name].double(), atol=1e-5, rtol=1e-4)
        close(single[name].double(), plane, atol=1e-5, rtol=1e-4)


def _maps_by_name(backbone: SECOND, neck: SECONDFPN, x: torch.Tensor) -> dict[str, torch.Tensor]:
    maps = backbone(x)
    return {**{f"stage{stage}": plane for stage, plane in enumerate(maps)}, "neck": neck(maps)}


def _head(golden: Golden) -> None:
    check_head(golden, rename_part(golden.state, load_official, "bbox_head.", "head."))


def _rotated_iou_nms(golden: Golden) -> None:
    a, b = (modern_boxes(golden.inputs[f"boxes_{name}"]) for name in "ab")
    scores = golden.inputs["scores_a"]
    close(rotated_iou_bev(a[:, BEV], b[:, BEV]), golden.out["iou_bev"], atol=1e-4, rtol=0)
    rows, columns = torch.cartesian_prod(torch.arange(len(a)), torch.arange(len(b))).unbind(1)
    close(aligned_iou_3d(a[rows], b[columns]).view(len(a), len(b)), golden.out["iou_3d"], atol=1e-4, rtol=0)
    count = min(len(a), len(b))
    close(aligned_iou_3d(a[:count], b[:count]), golden.out["iou_3d_aligned"], atol=1e-4, rtol=0)
    assert torch.equal(rotated_nms(a[:, BEV], scores, golden.config["nms_thr"]), golden.out["nms_keep"])
    keep = circle_nms(a[:, :2], scores, golden.config["circle_thr"])[: golden.config["circle_post_max"]]
    assert torch.equal(keep, golden.out["circle_keep"])
    _check_corners(golden.inputs["boxes_a"], golden.out["corners_a"])


def _check_corners(rows: torch.Tensor, expected: torch.Tensor) -> None:
    """Corners as sets: the file names them along its own axes, low and high, which are ours turned by a quarter."""
    corners = Boxes3D(modern_boxes(rows)).corners()                                      # (K, 8, 3)
    nearest = torch.cdist(corners.double(), expected.double()).min(dim=2)
    assert nearest.values.max() < 1e-4
    assert torch.equal(nearest.indices.sort(dim=1).values, torch.arange(8).expand(len(rows), 8))


def _detector_of(config: dict[str, Any]) -> Detector:
    backbone, neck, head, train = (config[key] for key in ("backbone", "neck", "bbox_head", "train_cfg"))
    encoder = config["middle_encoder"]
    return Detector(
        voxel_encoder={
            "type": "DynamicVFE", "in_channels": config["voxel_encoder"]["in_channels"],
            "channels": config["voxel_encoder"]["feat_channels"], "voxel_size": config["voxel_encoder"]["voxel_size"],
            "point_range": config["voxel_encoder"]["point_cloud_range"], "outside": "clamp",
        },
        lidar_backbone={
            "type": "FlatFormer", "channels": encoder["in_channels"], "grid": encoder["sparse_shape"][:2],
            "window": encoder["window_shape"][:2], "group_size": encoder["group_size"],
            "num_blocks": encoder["num_blocks"], "num_heads": encoder["num_heads"],
            "temperature": encoder["pos_temperature"], "normalize_position": encoder["normalize_pos"],
        },
        bev_backbone={
            "type": "SECOND", "in_channels": backbone["in_channels"], "channels": backbone["out_channels"],
            "layers": backbone["layer_nums"], "strides": backbone["layer_strides"], "residual": backbone["residual"],
        },
        neck={
            "type": "SECONDFPN", "in_channels": neck["in_channels"], "channels": neck["out_channels"],
            "upsample": neck["upsample_strides"],
        },
        head={
            "type": "CenterHead", "in_channels": head["in_channels"],
            "tasks": [task["class_names"] for task in head["tasks"]], "common_heads": head["common_heads"],
            "shared_channels": head["share_conv_channel"], "head_channels": head["separate_head"]["head_conv"],
            "coder": coder_config(head["bbox_coder"], config["test_cfg"]["iou_pow"]),
            "nms": nms_config(config["test_cfg"]),
            "loss_box": {"type": "L1BoxLoss", "code_weights": train["code_weights"]},
            "loss_iou": {"type": "IoUBranchLoss"}, "raised_iou": True,
        },
    )


def _detector_tiny(golden: Golden) -> None:
    detector = _detector_of(golden.config)
    load_state(detector, load_official(golden.state))
    points = [golden.inputs[f"points{i}"] for i in range(len(golden.inputs))]
    features, coords = detector.voxel_encoder(points)
    assert torch.equal(coords, golden.out["voxel_coors"])
    tokens = detector.lidar_backbone.encode(features, coords, len(points))
    close(tokens, golden.out["encoder_tokens"], atol=1e-4, rtol=1e-4)
    neck = detector.neck(detector.bev_backbone(detector.lidar_backbone(features, coords, len(points))))
    close(neck, golden.out["neck"], atol=1e-4, rtol=1e-4)
    maps = detector({"points": points}, mode="tensor")
    for ours, expected in zip(maps, task_maps(golden.out), strict=True):
        for branch, plane in expected.items():
            close(ours[branch], plane, atol=1e-4, rtol=1e-4)
    check_detections(detector.head, maps, golden, atol=1e-4)


CASES: dict[str, Callable[[Golden], None]] = {
    "mapping": _mapping,
    "posembed": _posembed,
    "basic_layer": _basic_layer,
    "encoder": _encoder,
    "dynamic_vfe": _dynamic_vfe,
    "bev_backbone_neck": _bev_backbone_neck,
    "head": _head,
    "targets": check_targets,
    "losses": check_losses,
    "decode": check_decode,
    "rotated_iou_nms": _rotated_iou_nms,
    "detector_tiny": _detector_tiny,
}


@pytest.mark.golden_files("flatformer")
def test_flatformer_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
