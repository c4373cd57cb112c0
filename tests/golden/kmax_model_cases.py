"""Golden cases of whole kMaX-DeepLab models, from images to segments."""

from __future__ import annotations

import json
from typing import Any

import torch
from center_cases import Golden, load_state
from kmax_cases import MAP_NAMES, check, predictions_of, widths_of
from torch import Tensor
from torch.nn import functional as F

from perception.models.image_backbones.convnext import ConvNeXt
from perception.models.image_backbones.resnet import ResNet
from perception_plugins.kmax import KMaXHead, load_official, panoptic_map, pixel_shares, semantic_scores
from perception_plugins.kmax.decoding import PanopticMap, PanopticRule, content_size, masks_in_image

BACKBONE, MODEL, SCORES = 1e-4, 2e-3, 5e-3           # the sheet's


def _backbone_of(config: dict[str, Any]) -> torch.nn.Module:
    names, values = config["backbone_opts"][::2], config["backbone_opts"][1::2]
    options = {name.removeprefix("MODEL."): json.loads(value) for name, value in zip(names, values, strict=True)}
    if "convnext" in config["backbone"]:
        options.pop("CONVNEXT.DROP_PATH_RATE", None)
        depths, widths = options.pop("CONVNEXT.DEPTHS"), options.pop("CONVNEXT.DIMS")
        net: torch.nn.Module = ConvNeXt(depths, widths, stem_map=True, ceil_sizes=True)
    else:
        width = options.pop("RESNETS.WIDTH_PER_GROUP")
        net = ResNet(
            50, stem_channels=options.pop("RESNETS.STEM_OUT_CHANNELS"), base_channels=width, stem_map=True,
            expansion=options.pop("RESNETS.RES2_OUT_CHANNELS") // width, norm_eps=1e-3, norm_momentum=0.01,
        )
    assert not options, f"unknown options of the backbone: {options}"
    return net


def _model_of(config: dict[str, Any]) -> tuple[torch.nn.ModuleDict, list[int]]:
    """Backbone and head, and which of the backbone's maps the head reads."""
    backbone, used = _backbone_of(config), config["pixel_decoder_in_features"]
    args = config["pixel_decoder"]
    head = KMaXHead(
        [backbone.channels[MAP_NAMES.index(name)] for name in used], config["num_classes"],
        num_queries=config["num_queries"], map_order=[used.index(name) for name in config["pixel_decoder_order"]],
        pixel_decoder={
            "layers": args["dec_layers"], "channels": args["dec_channels"], "layer_types": args["layer_types"],
            "heads": config["num_heads"],
        },
        decoder={"layers": config["dec_layers"], **widths_of(config)},
        semantic_branch="full" if config["use_aux_semantic_decoder"] else "light",
        semantic_channels=config["aux_dims"],
    )
    return torch.nn.ModuleDict({"backbone": backbone, "head": head}), [MAP_NAMES.index(name) for name in used]


def _input_of(golden: Golden) -> Tensor:
    """The images of a file, normalised and padded to the input's shape."""
    (H, W), mean, std = golden.config["input_shape"], golden.config["pixel_mean"], golden.config["pixel_std"]
    images = [golden.inputs[f"image{i}"] for i in range(sum(name.startswith("image") for name in golden.inputs))]
    return torch.stack([F.pad((x - mean) / std, (0, W - x.shape[2], 0, H - x.shape[1])) for x in images])


def segments_of(found: PanopticMap, ids: str, info: str) -> dict[str, Tensor]:
    """The map under the name ``ids``, and rows id, isthing, category under the name ``info``."""
    number = torch.arange(1, len(found.labels) + 1)
    return {ids: found.ids, info: torch.stack([number, found.is_thing.long(), found.labels], dim=1)}


def model(golden: Golden) -> None:
    config = golden.config
    network, used = _model_of(config)
    load_state(network, load_official(golden.state))
    with torch.no_grad():
        maps = network["backbone"](_input_of(golden))
        found = network["head"]([maps[position] for position in used])
    ours = predictions_of(found) | {f"bb_{name}": value for name, value in zip(MAP_NAMES, maps, strict=True)}
    for image in range(len(found.logits)):
        shape, size = tuple(config["input_shape"]), tuple(golden.inputs[f"size{image}"].tolist())
        shares = pixel_shares(masks_in_image(found.masks[image], shape, content_size(shape, size), size))
        panoptic = panoptic_map(found.logits[image], shares, config["thing_classes"], rule_of(config["thresholds"]))
        ours |= segments_of(panoptic, f"panoptic{image}", f"info{image}")
        ours[f"sem_seg{image}"] = semantic_scores(found.logits[image], shares)
    for name, expected in golden.out.items():
        if name.startswith("panoptic"):                              # a file without a margin has one doubtful pixel
            spare = 0 if "min_decision_margin" in config else 1
            assert ours[name].shape == expected.shape
            assert int((ours[name] != expected).sum()) <= spare, name
        else:
            kind = BACKBONE if name.startswith("bb_") else SCORES if name.startswith("sem_seg") else MODEL
            check(ours, {name: expected}, kind)


def rule_of(thresholds: dict[str, float]) -> PanopticRule:
    return PanopticRule(
        pixel=thresholds["pixel_confidence_threshold"], thing=thresholds["class_threshold_thing"],
        stuff=thresholds["class_threshold_stuff"], overlap=thresholds["overlap_threshold"],
        class_power=thresholds["reorder_class_weight"], mask_power=thresholds["reorder_mask_weight"],
    )
