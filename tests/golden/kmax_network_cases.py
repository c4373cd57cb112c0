"""Golden cases of kMaX-DeepLab's modules."""

from __future__ import annotations

from typing import Any

import torch
from center_cases import Golden
from kmax_cases import (
    BLOCK,
    DECODER,
    DEEP,
    LAYER,
    MAP_NAMES,
    MODULE,
    OUR_BLOCK,
    OUR_LAYER,
    PIXEL,
    check,
    check_grads,
    load,
    predictions_of,
    recorded,
    widths_of,
)

from perception.models.image_backbones.convnext import ConvNeXt
from perception_plugins.kmax.axial_attention import AxialAttention
from perception_plugins.kmax.kmeans_decoder import KMeansDecoder
from perception_plugins.kmax.kmeans_layer import KMeansLayer, assigned_clusters
from perception_plugins.kmax.pixel_decoder import PixelDecoder, ResidualBlock, ResizedFuse
from perception_plugins.kmax.predictor import ClusterPredictor
from perception_plugins.kmax.semantic_branch import FullSemanticBranch, LightSemanticBranch


def axial_attention_1d(golden: Golden) -> None:
    args = golden.config["args"]
    axis = AxialAttention(args["in_planes"], args["total_key_depth"], args["total_value_depth"], args["num_heads"])
    official, ours = f"{BLOCK}_attention._height_axis.", f"{OUR_BLOCK}middle.height."
    load(axis, golden, official, ours)
    seen = recorded(
        {"qkv_bn": axis.norm_qkv, "similarity_bn": axis.norm_similarity, "retrieved_bn": axis.norm_retrieved}
    )
    y = axis(golden.inputs["x"].requires_grad_())
    found = {**seen, "y": y}
    check_grads(golden, y.square().sum(), axis, ["x"], official, ours)
    axis.train()
    found["y_train"] = axis(golden.inputs["x"])
    for name in ("mean", "var"):
        found[f"train.running_{name}_similarity"] = getattr(axis.norm_similarity, f"running_{name}")
    check(found, golden.out, MODULE)


def block(golden: Golden) -> None:
    args = golden.config["args"]
    block = ResidualBlock(
        args["inplanes"], args["filter_list"][1], args["block_type"], heads=args.get("num_heads", 8)
    )
    load(block, golden, BLOCK, OUR_BLOCK)
    inside = {"attention": block.middle, "height_axis": block.middle.height} if block.is_axial else {}
    seen = recorded(inside)
    y = block(golden.inputs["x"].requires_grad_())
    check({**seen, "y": y}, golden.out, MODULE)
    check_grads(golden, y.square().sum(), block, ["x"], BLOCK, OUR_BLOCK)


def resized_fuse(golden: Golden) -> None:
    args = golden.config["args"]
    fuse = ResizedFuse(args["low_in_channels"], args["high_in_channels"], args["out_channels"])
    load(fuse, golden, f"{PIXEL}_resized_fuses.0.", "head.pixel_decoder.fuses.0.")
    check({"y": fuse(golden.inputs["low"], golden.inputs["high"])}, golden.out, MODULE)


def _pixel_decoder_of(args: dict[str, Any], in_channels: list[int], heads: int) -> PixelDecoder:
    return PixelDecoder(
        in_channels, layers=args["dec_layers"], channels=args["dec_channels"], layer_types=args["layer_types"],
        heads=heads,
    )


def pixel_decoder(golden: Golden) -> None:
    config = golden.config
    width = dict(zip(config["input_names"], config["channels"], strict=True))
    order = config["processing_order"]
    decoder = _pixel_decoder_of(config["args"], [width[name] for name in order], config["num_heads"])
    load(decoder, golden, PIXEL, "head.pixel_decoder.")
    outputs = decoder([golden.inputs[name] for name in order])
    found = {f"ms{stage}": output for stage, output in enumerate(outputs)} | {"panoptic": outputs[-1]}
    check(found, {name: value for name, value in golden.out.items() if name == "ms0"}, MODULE)
    check(found, golden.out, DEEP)


def predictor(golden: Golden) -> None:
    args, config, inputs = golden.config["args"], golden.config, golden.inputs
    predictor = ClusterPredictor(
        args["in_channel_pixel"], args["in_channel_query"], args["num_classes_plus_void"] - 1,
        channels=config["embed_dim"], mask_channels=config["mask_dim"],
    )
    load(predictor, golden, f"{DECODER}_predcitor.", "head.decoder.predictor.")
    found = predictor(inputs["class_embeddings"], inputs["mask_embeddings"], inputs["pixel_feature"])
    ours = {"class_logits": found.logits, "mask_logits": found.masks, "pixel_feature": found.pixels}
    check(ours, golden.out, MODULE)


def kmeans_layer(golden: Golden) -> None:
    args, inputs = golden.config["args"], golden.inputs
    layer = KMeansLayer(args["in_channel_pixel"], args["num_classes"] - 1, **widths_of(golden.config | args))
    load(layer, golden, LAYER, OUR_LAYER)
    seen = recorded({
        "pixel_space": layer.pixel_space, "query_space": layer.query_space, "pixel_value": layer.pixel_value,
        "kmeans_update": layer.kmeans_update, "self_attn_update": layer.attention_update,
    })
    query, found = layer(inputs["query_feature"].requires_grad_(), inputs["pixel_feature"].requires_grad_())
    ours = {
        **seen, "query": query, "class_logits": found.logits, "mask_logits": found.masks,
        "pixel_feature_norm": found.pixels, "assignment": assigned_clusters(found.masks),
    }
    check(ours, golden.out, MODULE)
    scalar = query.square().sum() + found.masks.square().sum() + found.logits.sum()
    check_grads(golden, scalar, layer, ["pixel_feature", "query_feature"], LAYER, OUR_LAYER)


def _branch_of(in_channels: list[int], num_classes: int, config: dict[str, Any], full: bool) -> torch.nn.Module:
    embed = config["embed_dim"]
    widths = config.get("aux_dims", (embed, embed // 4, embed // 8))
    return (FullSemanticBranch if full else LightSemanticBranch)(in_channels, num_classes, widths)


def transformer_decoder(golden: Golden) -> None:
    args, config = golden.config["args"], golden.config
    decoder = KMeansDecoder(
        args["in_channels"], args["num_classes"], num_queries=args["num_queries"], layers=args["dec_layers"],
        **widths_of(config),
    )
    parts = torch.nn.ModuleDict({"decoder": decoder})
    if args["add_aux_semantic_pred"]:
        widths = [config["backbone_shapes"][name][0] for name in ("res5", "res3", "res2")]
        parts["semantic_branch"] = _branch_of(widths, args["num_classes"], config, args["use_aux_semantic_decoder"])
    load(parts, golden, DECODER, "head.")
    names = [*(f"ms{level}" for level in range(len(args["dec_layers"]))), "panoptic"]
    final, layers = decoder([golden.inputs[name] for name in names])
    ours = predictions_of(final)
    for number, found in enumerate(layers):
        ours |= predictions_of(found.resized(final.masks.shape), f"aux{number}.")
    check(ours, golden.out, DEEP)


def aux_semantic(golden: Golden) -> None:
    args, config = golden.config["args"], golden.config
    branch = FullSemanticBranch(
        [args["in_channels"], args["os8_channels"], args["os4_channels"]], args["num_classes_plus_void"] - 1,
        (config["aspp_dim"], config["os8_proj"], config["os4_proj"]),
    )
    load(branch, golden, f"{DECODER}_auxiliary_semantic_predictor.", "head.semantic_branch.")
    seen = recorded({"aspp": branch.pyramid})
    y = branch([golden.inputs[name] for name in ("os32", "os8", "os4")])
    check({**seen, "y": y}, golden.out, MODULE)


def convnext(golden: Golden) -> None:
    args = golden.config["args"]
    net = ConvNeXt(
        args["depths"], args["dims"], drop_path=args["drop_path_rate"], stem_map=True, ceil_sizes=True,
        layer_scale=args["layer_scale_init_value"],
    )
    load(net, golden, "backbone.", "backbone.")
    check(dict(zip(MAP_NAMES, net(golden.inputs["x"]), strict=True)), golden.out, MODULE)
