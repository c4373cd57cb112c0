"""PEM's modules, losses, post-processing and whole models against the authors' own inputs, states and outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from mmengine.config import Config
from torch import Tensor

from perception.models.attention.sine_position import sine_position
from perception.models.image_backbones.resnet import ResNet
from perception.models.image_backbones.stdc import STDC
from perception.models.image_data_preprocessor import PictureSize
from perception.models.key_map import rename_part
from perception.registry import MODELS
from perception.structures import PanopticPrediction, Segments
from perception_plugins.pem import MaskPredictions, PEMHead, PEMPixelDecoder, load_official
from perception_plugins.pem.attention import PrototypeAttention
from perception_plugins.pem.decoder import PrototypeDecoder
from perception_plugins.pem.mask_loss import MaskLoss
from perception_plugins.pem.pixel_decoder import DeformUpsample, SelfModulation
from perception_plugins.pem.post_processing import instances, panoptic_map, semantic_scores

CONFIGS = Path(__file__).resolve().parents[2] / "configs/pem"
PIXEL, PREDICTOR = ("sem_seg_head.pixel_decoder.", "head.pixel_decoder."), ("sem_seg_head.predictor.", "head.decoder.")
MODULE, GRADIENT = 1e-5, 1e-4                        # tolerances of the sheet, relative to the largest entry
BACKBONE_MAP, PREDICTION, SCORES = 1e-4, 1e-3, 2e-3
Maps = Mapping[str, Tensor]


def _check(expected: Maps, ours: Mapping[str, Any], tolerance: float) -> None:
    """Every tensor of a file; integers exactly, others to a share of the largest entry."""
    for key, wanted in expected.items():
        assert ours[key] is not None, key
        _same(ours[key].detach(), wanted, tolerance, key)


def _same(got: Tensor, wanted: Tensor, tolerance: float, name: str) -> None:
    if not wanted.is_floating_point():
        assert torch.equal(got.to(wanted.dtype), wanted), name
        return
    largest = float(wanted.abs().max()) if wanted.numel() else 0.0
    torch.testing.assert_close(got, wanted, atol=tolerance * largest, rtol=0, msg=lambda text: f"{name}: {text}")


def _count(tensors: Maps, prefix: str) -> int:
    return sum(key.startswith(prefix) for key in tensors)


def _part(state: Maps, prefixes: tuple[str, str], official: str = "", ours: str = "") -> dict[str, Tensor]:
    return rename_part(state, load_official, prefixes[0] + official, prefixes[1] + ours)


def _check_grads(golden: Golden, module: torch.nn.Module, inputs: Maps, *part: Any) -> None:
    weights = {key: value for key, value in golden.grad.items() if key not in inputs}
    _check({k: v for k, v in golden.grad.items() if k in inputs}, {k: v.grad for k, v in inputs.items()}, GRADIENT)
    for key, value in _part(weights, *part).items():
        _check({key: value}, {key: module.get_parameter(key).grad}, GRADIENT)


def _cross_attention(golden: Golden) -> None:
    inputs, part = golden.inputs, (PREDICTOR, "transformer_cross_attention_layers.0.", "layers.0.cross_attention.")
    attention = PrototypeAttention(golden.config["args"]["d_model"], heads=golden.config["args"]["nhead"])
    load_state(attention, _part(golden.state, *part))
    leaves = {name: inputs[name].clone().requires_grad_() for name in ("memory", "tgt")}
    query, code, memory = leaves["tgt"].transpose(0, 1), inputs["query_pos"].transpose(0, 1), leaves["memory"]
    hidden = inputs["memory_mask"].flatten(2) < 0
    tokens, asked = attention.tokens_of_memory(memory + inputs["pos"]), attention.tokens_of_query(query + code)
    index = attention.choose(asked, tokens, hidden)
    answers = {
        name: attention(query, code, memory + inputs["pos"], mask).transpose(0, 1)
        for name, mask in (("y", hidden), ("y_nomask", None))
    }
    looked = {"memory_normed": tokens, "query_normed": asked, "index": index}
    _check(golden.out, looked | answers | {"prototypes": attention.pick(tokens, index)}, MODULE)
    answers["y"].square().sum().backward()
    _check_grads(golden, attention, leaves, *part)


def _csm(golden: Golden) -> None:
    x, part = golden.inputs["x"].requires_grad_(), (PIXEL, "csm.0.", "modulations.0.")
    modulation = SelfModulation(golden.config["args"]["hidden_dim"], golden.config["args"]["factor"])
    load_state(modulation, _part(golden.state, *part))
    y = modulation(x)
    _check(golden.out, {"y": y}, MODULE)
    y.square().sum().backward()
    _check_grads(golden, modulation, {"x": x}, *part)


def _deform_layer(golden: Golden) -> None:
    x, part = golden.inputs["x"].requires_grad_(), (PIXEL, "dcn.0.", "upsamples.0.")
    layer = DeformUpsample(golden.config["args"]["in_planes"], golden.config["args"]["out_planes"])
    load_state(layer, _part(golden.state, *part))
    y, up = layer(x)
    inside = {"offset_mask_raw": layer.deform.conv_offset(x), "dcn_raw": layer.deform(x)}
    _check(golden.out, {"y": y, "up": up, **inside}, MODULE)
    (y.square().sum() + up.square().sum()).backward()
    _check_grads(golden, layer, {"x": x}, *part)


def _pixel_decoder(golden: Golden) -> None:
    config = golden.config
    decoder = PEMPixelDecoder(config["channels"], channels=config["conv_dim"], mask_channels=config["mask_dim"])
    load_state(decoder, _part(golden.state, PIXEL))
    mask_features, levels = decoder([golden.inputs[name] for name in sorted(golden.inputs)])
    ours = {"mask_features": mask_features} | {f"ms{number}": level for number, level in enumerate(levels)}
    _check(golden.out, ours, MODULE)


def _position_encoding(golden: Golden) -> None:
    config, x = golden.config, golden.inputs["x"]
    code = sine_position(
        (x.shape[2], x.shape[3]), 2 * config["num_pos_feats"], temperature=config["temperature"],
        normalize=config["normalize"],
    )
    _check(golden.out, {"pos": code.expand(len(x), -1, -1, -1)}, MODULE)


def _decoder_options(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "channels": config["hidden_dim"], "num_queries": config["num_queries"], "layers": config["dec_layers"],
        "heads": config["nheads"], "hidden": config["dim_feedforward"], "pre_norm": config["pre_norm"],
        "always_project": config.get("enforce_input_project", True),
    }


def _by_name(predictions: MaskPredictions) -> dict[str, Tensor]:
    stages = {"": predictions, **{f"aux{number}.": stage for number, stage in enumerate(predictions.auxiliary)}}
    ours = {f"{name}pred_logits": stage.logits for name, stage in stages.items()}
    return ours | {f"{name}pred_masks": stage.masks for name, stage in stages.items()}


def _transformer_decoder(golden: Golden) -> None:
    args = golden.config["args"]
    levels = [golden.inputs[name] for name in sorted(golden.inputs) if name.startswith("ms")]
    decoder = PrototypeDecoder(
        args["in_channels"], args["mask_dim"], args["num_classes"], levels=len(levels), **_decoder_options(args)
    )
    load_state(decoder, _part(golden.state, PREDICTOR))
    _check(golden.out, _by_name(decoder(golden.inputs["mask_features"], levels, auxiliary=True)), MODULE)


def _stdc(golden: Golden) -> None:
    args = golden.config["args"]
    net = STDC(
        args["layers"], base_channels=args["base"], block=args["block_type"], num_convs=args["block_num"],
        last_conv=args["use_conv_last"],
    )
    load_state(net, rename_part(golden.state, load_official, "backbone.", "backbone."))
    maps = net(golden.inputs["x"])
    assert [found.shape[1] for found in maps] == list(net.channels)
    _check(golden.out, {f"res{number}": found for number, found in enumerate(maps, 2)}, MODULE)


def _model_of(config: Mapping[str, Any]) -> torch.nn.ModuleDict:
    """The backbone and the head of a file."""
    options = dict(zip(config["backbone_opts"][::2], map(int, config["backbone_opts"][1::2]), strict=True))
    width = options["MODEL.RESNETS.WIDTH_PER_GROUP"]
    backbone = ResNet(
        50, stem_channels=options["MODEL.RESNETS.STEM_OUT_CHANNELS"], base_channels=width,
        expansion=options["MODEL.RESNETS.RES2_OUT_CHANNELS"] // width,
    )
    head = PEMHead(
        backbone.channels, config["num_classes"],
        pixel_decoder={
            "type": "PEMPixelDecoder", "channels": config["conv_dim"], "mask_channels": config["mask_dim"],
        },
        decoder=_decoder_options(config), things=config["thing_classes"] if config["panoptic_on"] else None,
        object_threshold=config["object_mask_threshold"], overlap_threshold=config["overlap_threshold"],
    )
    return torch.nn.ModuleDict({"backbone": backbone, "head": head})


def _pictures(golden: Golden) -> tuple[Tensor, list[PictureSize]]:
    """The normalised and padded batch, and where its pictures lie."""
    config, divisor = golden.config, golden.config["size_divisibility"]
    images = [golden.inputs[f"image{number}"] for number in range(_count(golden.inputs, "image"))]
    mean, std = (torch.tensor(config[name]).view(3, 1, 1) for name in ("pixel_mean", "pixel_std"))
    H, W = (-(-max(image.shape[axis] for image in images) // divisor) * divisor for axis in (1, 2))
    batch = torch.zeros(len(images), 3, H, W)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1], : image.shape[2]] = (image - mean) / std
    sizes = [tuple(golden.inputs[f"size{number}"].tolist()) for number in range(len(images))]
    used = [(image.shape[1], image.shape[2]) for image in images]
    return batch, [PictureSize((H, W), part, (h, w)) for part, (h, w) in zip(used, sizes, strict=True)]


def _info(found: PanopticPrediction, things: list[int]) -> Tensor:
    """(S, 3) number, whether a thing, and class of each segment."""
    is_thing = torch.isin(found.labels, torch.tensor(things))
    return torch.stack([torch.arange(1, len(found) + 1), is_thing.long(), found.labels], dim=1)


@torch.no_grad()
def _model(golden: Golden) -> None:
    model = _model_of(golden.config)
    load_state(model, load_official(golden.state))
    batch, sizes = _pictures(golden)
    maps = model["backbone"](batch)
    raw = model["head"](maps)
    ours: dict[str, Any] = {f"bb_res{number}": found for number, found in enumerate(maps, 2)} | _by_name(raw)
    for number, (picture, size) in enumerate(zip(model["head"].decode(raw, sizes), sizes, strict=True)):
        scores = model["head"].class_scores(raw.logits[number], raw.masks[number], size)
        assert torch.equal(picture.classes, scores.argmax(dim=0))
        ours[f"sem_seg{number}"] = scores
        if picture.panoptic is not None:
            ours[f"panoptic{number}"] = picture.panoptic.ids
            ours[f"info{number}"] = _info(picture.panoptic, golden.config["thing_classes"])
    tolerances = {"bb_": BACKBONE_MAP, "pred_": PREDICTION, "sem_seg": SCORES, "panoptic": 0.0, "info": 0.0}
    for key, expected in golden.out.items():
        (tolerance,) = (value for prefix, value in tolerances.items() if key.startswith(prefix))
        _check({key: expected}, ours, tolerance)


def _predictions(inputs: Maps, prefix: str = "", auxiliary: tuple[MaskPredictions, ...] = ()) -> MaskPredictions:
    return MaskPredictions(inputs[f"{prefix}pred_logits"], inputs[f"{prefix}pred_masks"], auxiliary)


def _replay(inputs: Maps) -> Callable[[tuple[int, ...], torch.device], Tensor]:
    """The recorded draws in their order; a draw of nothing takes none."""
    numbered = sorted((int(key.removeprefix("rand")), draw) for key, draw in inputs.items() if key.startswith("rand"))
    recorded: Iterator[Tensor] = (draw for _, draw in numbered if draw.numel())

    def draw(shape: tuple[int, ...], device: torch.device) -> Tensor:
        if 0 in shape:
            return torch.zeros(shape, device=device)
        numbers = next(recorded)
        assert numbers.shape == shape
        return numbers

    return draw


def _loss(golden: Golden) -> None:
    config = golden.config
    leaves = {key: value.requires_grad_() for key, value in golden.inputs.items() if "pred_" in key}
    stages = sum(key.startswith("aux") and key.endswith("logits") for key in leaves)
    auxiliary = tuple(_predictions(leaves, f"aux{number}.") for number in range(stages))
    predictions = _predictions(leaves, auxiliary=auxiliary)
    pictures = len(leaves["pred_logits"])
    segments = [Segments(golden.inputs[f"t{b}.labels"], golden.inputs[f"t{b}.masks"].bool()) for b in range(pictures)]
    factors, cost = config["weight_dict"], config["cost"]
    options = {
        "weights": {"label": factors["loss_ce"], "mask": factors["loss_mask"], "dice": factors["loss_dice"]},
        "cost": {"label": cost["cls"], "mask": cost["mask"], "dice": cost["dice"]},
        "no_object_weight": config["eos_coef"], "num_points": config["num_points"],
        "oversampling": config["oversample_ratio"], "uncertain_share": config["importance_sample_ratio"],
    }
    losses = MaskLoss(config["num_classes"], draw=_replay(golden.inputs), **options)(predictions, segments)
    total = sum(losses.values())
    ours = {name: value / factors[name] for name, value in losses.items()} | {"total_weighted": total}
    shared = {key: draw for key, draw in golden.inputs.items() if draw.shape == (1, config["num_points"], 2)}
    matcher = MaskLoss(config["num_classes"], draw=_replay(shared), **options)
    for j, stage in enumerate((predictions, *auxiliary)):
        for b, pair in enumerate(matcher.match(stage, segments)):
            ours |= {f"match{j}.{b}.src": pair.query, f"match{j}.{b}.tgt": pair.truth}
    _check(golden.out, ours, MODULE)
    total.backward()
    _check(golden.grad, {key: leaf.grad for key, leaf in leaves.items()}, GRADIENT)


def _postprocess(golden: Golden) -> None:
    logits, masks = golden.inputs["class_logits"], golden.inputs["mask_logits"]
    config = golden.config
    ours: dict[str, Tensor] = {"semantic": semantic_scores(logits, masks)}
    for number, thresholds in enumerate(config["cfgs"]):
        found = panoptic_map(
            logits, masks, config["thing_classes"], object_threshold=thresholds["object_mask_threshold"],
            overlap_threshold=thresholds["overlap_threshold"],
        )
        ours |= {f"pan{number}": found.ids, f"info{number}": _info(found, config["thing_classes"])}
    most = int(config["instance"].split(",")[0].removeprefix("top "))
    things = config["thing_classes"] if "things only" in config["instance"] else None
    objects = instances(logits, masks, things=things, max_instances=most)
    ours |= {"inst.classes": objects.labels, "inst.scores": objects.scores, "inst.masks": objects.masks}
    _check(golden.out, ours, MODULE)


CASES: dict[str, Callable[[Golden], None]] = {
    "cross_attention": _cross_attention,
    "csm": _csm,
    "deform_layer": _deform_layer,
    "pixel_decoder": _pixel_decoder,
    "position_encoding": _position_encoding,
    "transformer_decoder": _transformer_decoder,
    "stdc": _stdc,
    "model": _model,
    "loss": _loss,
    "postprocess": _postprocess,
}


@pytest.mark.golden_files("pem")
def test_pem_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)


@pytest.mark.golden_files("pem", pattern="keys_*.json")
def test_every_official_key_has_its_place_and_every_place_its_key(golden_file: Path):
    data, backbone = golden_file.stem.removeprefix("keys_").split("_")
    shapes = json.loads(golden_file.read_text())
    with torch.device("meta"):
        state = {key: torch.empty(shape) for key, shape in shapes.items()}
        config = Config.fromfile(CONFIGS / f"pem_{backbone}_{data}_semantic.py").model
        net = MODELS.build(config.backbone)
        head = MODELS.build({**config.head, "in_channels": net.channels})
    ours = torch.nn.ModuleDict({"backbone": net, "head": head}).state_dict()
    assert {key: value.shape for key, value in load_official(state).items()} == {k: v.shape for k, v in ours.items()}
