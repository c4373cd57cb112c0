"""P2AT against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from mmengine.config import Config
from mmengine.optim import PolyLR
from torch import Tensor, nn

from perception.models.image_backbones.resnet import ResNet
from perception.models.key_map import rename_part
from perception.models.losses.weighted_cross_entropy import pixel_accuracy, pixel_cross_entropy
from perception_plugins.p2at import P2ATHead, P2ATLoss, load_official
from perception_plugins.p2at.attention import AxialLayer, ConvMlp, LocalDetails, PyramidAxialAttention, PyramidPooling
from perception_plugins.p2at.boundary import boundary_map
from perception_plugins.p2at.decoder import (
    BidirectionalFusion,
    DecoderBlock,
    DetailPath,
    GlobalContext,
    PixelClassifier,
    StreamPath,
)
from perception_plugins.p2at.layers import ConvPReLU
from perception_plugins.p2at.losses import (
    balanced_boundary_loss,
    batch_dice_loss,
    labels_at_boundaries,
)

CONFIG = Path(__file__).resolve().parents[2] / "configs/_base_/models/p2at.py"
LAYER = ("deep_feature_processor.transformer_layers.0.", "head.layers.0.")
DEPTHS = {"BasicBlock": 18, "Bottleneck": 50}
close = torch.testing.assert_close


def _compare(golden: Golden, ours: Mapping[str, Tensor]) -> None:
    """Every output that the file has; whole numbers must be equal."""
    for name, expected in golden.out.items():
        tolerance = {"atol": 1e-5, "rtol": 1e-4} if expected.is_floating_point() else {"atol": 0, "rtol": 0}
        close(ours[name], expected, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def _compare_grads(ours: Mapping[str, Tensor | None], expected: Mapping[str, Tensor]) -> None:
    for name, grad in expected.items():
        close(ours[name], grad, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def _waved_sum(y: Tensor) -> Tensor:
    """The scalar whose gradients the files hold."""
    return (y * torch.cos(0.37 * torch.arange(y.numel())).reshape(y.shape)).sum()


def _recorded(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The outputs of modules by the name of each, once they have run."""
    found: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: found.__setitem__(name, output))
    return found


def _check_block(
    golden: Golden, module: nn.Module, prefix: tuple[str, str], parts: Mapping[str, nn.Module] | None = None
) -> None:
    """A module on all the inputs of the file, and the outputs of its ``parts`` by their names in the file."""
    load_state(module, rename_part(golden.state, load_official, *prefix))
    found = _recorded(parts or {})
    for value in golden.inputs.values():
        value.requires_grad_()
    y = module(*golden.inputs.values())
    _compare(golden, {**found, "y": y})
    if not golden.grad:
        return
    _waved_sum(y).backward()
    _compare_grads(_grads(golden.inputs), _of_kind(golden.grad, "in"))
    params = rename_part(_of_kind(golden.grad, "param"), load_official, *prefix)
    _compare_grads({name: module.get_parameter(name).grad for name in params}, params)


def _of_kind(tensors: Mapping[str, Tensor], kind: str) -> dict[str, Tensor]:
    return {name[len(kind) + 1 :]: value for name, value in tensors.items() if name.startswith(f"{kind}.")}


def _grads(leaves: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    return {name: leaf.grad for name, leaf in leaves.items()}


def _convblock(golden: Golden) -> None:
    kwargs = golden.config["kwargs"]
    assert kwargs["padding"] == kwargs["kernel_size"] // 2, "the size is kept"
    assert kwargs["bn_act"], "a bare convolution is torch's own"
    unit = ConvPReLU(
        kwargs["in_channels"], kwargs["out_channels"], kwargs["kernel_size"], stride=kwargs["stride"],
        groups=kwargs.get("groups", 1),
    )
    _check_block(golden, unit, ("feature_reducer.", "head.reduce."))


def _decoder_block(golden: Golden) -> None:
    block = DecoderBlock(golden.config["kwargs"]["in_dim"], golden.config["kwargs"]["kernel_size"])
    _check_block(golden, block, ("P1_decoder.", "head.block1."))


def _widths(golden: Golden) -> tuple[int, int]:
    return golden.config["kwargs"]["in_channels"], golden.config["kwargs"]["out_channels"]


def _lfr_block(golden: Golden) -> None:
    _check_block(golden, DetailPath(*_widths(golden)), ("BiS4.down_feat.", "head.fusion4.detail."))


def _sfu_block(golden: Golden) -> None:
    _check_block(golden, StreamPath(*_widths(golden)), ("BiS4.up_feat.", "head.fusion4.stream."))


def _bif_module(golden: Golden) -> None:
    kwargs = golden.config["kwargs"]
    fusion = BidirectionalFusion(*(kwargs[f"{name}_channels"] for name in ("d", "s", "u", "out")))
    golden.inputs.update({name: golden.inputs.pop(name) for name in ("xd", "xs", "xu")})     # in the order of arguments
    parts = {"d": fusion.detail, "u": fusion.stream, "s": fusion.semantic}
    _check_block(golden, fusion, ("BiS4.", "head.fusion4."), parts)


def _lfi_module(golden: Golden) -> None:
    prefix = (f"{LAYER[0]}attn.details_enhancer.", f"{LAYER[1]}attention.details.")
    _check_block(golden, LocalDetails(*_widths(golden)), prefix)


def _p2_module(golden: Golden) -> None:
    kwargs = golden.config["kwargs"]
    assert kwargs["out_channels_conv1"] == kwargs["out_channels_final"], "the mixed pools scale the map"
    prefix = (f"{LAYER[0]}attn.pool_feats_processor.", f"{LAYER[1]}attention.pooling.")
    _check_block(golden, PyramidPooling(kwargs["in_channels"], kwargs["out_channels_final"]), prefix)


def _gce_block(golden: Golden) -> None:
    _check_block(golden, GlobalContext(_widths(golden)[0]), ("pool_gce4.", "head.context4."))


def _seg_head(golden: Golden) -> None:
    kwargs = golden.config["kwargs"]
    head = PixelClassifier(kwargs["in_channels"], kwargs["inter_channels"], kwargs["out_channels"])
    _check_block(golden, head, ("final_seg_head.", "head.classifier."))


def _mlp(golden: Golden) -> None:
    kwargs = golden.config["kwargs"]
    mlp = ConvMlp(kwargs["in_features"], kwargs["hidden_features"])
    _check_block(golden, mlp, (f"{LAYER[0]}mlp.", f"{LAYER[1]}mlp."))


def _attention_of(config: Mapping[str, Any]) -> PyramidAxialAttention:
    return PyramidAxialAttention(
        config["dim"], key_dim=config["key_dim"], num_heads=config["num_heads"],
        attn_ratio=config["att_ratio"] if "att_ratio" in config else config["attn_ratio"],
        table_length=config["pos_embed_initial_shape"],
    )


def _p2a2_attention(golden: Golden) -> None:
    attention = _attention_of(golden.config["kwargs"])
    prefix = (f"{LAYER[0]}attn.", f"{LAYER[1]}attention.")
    pooled_to_q = nn.Sequential(attention.pooling, attention.to_q)          # queries of each pixel are never needed
    load_state(attention, rename_part(golden.state, load_official, *prefix))
    with torch.no_grad():
        q = pooled_to_q(golden.inputs["x"])
        v = attention.to_v(attention.pooling(golden.inputs["x"]))
    for name, value in (("q", q), ("v", v)):
        if name in golden.out:
            close(value, golden.out.pop(name), atol=1e-5, rtol=1e-4)
    _check_block(golden, attention, prefix, {"details": attention.details, "pooled": attention.pooling})


def _ssa_block(golden: Golden) -> None:
    config = golden.config["kwargs"]
    hidden = int(config["mlp_ratio"] * config["dim"])
    layers = (AxialLayer(_attention_of(config), ConvMlp(config["dim"], hidden)) for _ in range(config["num_layers"]))
    _check_block(golden, nn.Sequential(*layers), ("deep_feature_processor.", "head.layers."))


class _Network(nn.Module):
    """Encoder and decoder, as a task model wires them."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        encoder = config["encoder"]
        self.backbone = ResNet(
            DEPTHS[encoder["block"]], stem_channels=encoder["stem"], widths=encoder["widths"], counts=encoder["depths"]
        )
        self.head = P2ATHead(
            self.backbone.channels, config["num_classes"], auxiliary=config["is_train"], width=config["width"],
            key_dim=config["key_dim"], num_heads=config["num_heads"], mlp_ratio=config["mlp_ratio"],
            attn_ratio=config["attn_ratio"], num_layers=config["num_layers"],
            table_length=config["pos_embed_initial_shape"],
        )

    def official_parts(self) -> dict[str, nn.Module]:
        """Modules by the authors' name, as far as they give one tensor."""
        backbone, head = self.backbone, self.head
        parts = {f"layer{stage}": getattr(backbone, f"layer{stage}") for stage in range(1, 5)}
        parts |= {f"BiS{level}": getattr(head, f"fusion{level}") for level in (3, 4)}
        parts |= {f"pool_gce{level}": getattr(head, f"context{level}") for level in (3, 4)}
        parts |= {f"P{number}_decoder": getattr(head, f"block{number}") for number in (1, 2, 3)}
        parts |= {f"refine{number}": getattr(head, f"refine{number}") for number in (1, 2, 3)}
        return parts | {
            "feature_reducer": head.reduce, "deep_feature_processor": head.layers, "fuse1": head.merge2,
            "fuse2": head.merge1, "final_seg_head": head.classifier,
        }


def _p2at_tiny(golden: Golden) -> None:
    network = _Network(golden.config)
    load_state(network, load_official(golden.state))
    found = _recorded(network.official_parts())
    x = golden.inputs["x"].requires_grad_()
    features = network.backbone(x)
    raw = {"final": network.head(features)}
    if golden.config["is_train"]:
        logits = network.head.all_logits(features)
        assert torch.equal(logits.logits, raw["final"])
        raw |= {"aux1": logits.aux1, "aux2": logits.aux2}
    maps = {name: network.head.resized_logits(value, x.shape[2:]) for name, value in raw.items()}
    _compare(golden, {**found, **maps})
    _waved_sum(maps["final"]).backward()
    _compare_grads({"x": x.grad}, _of_kind(golden.grad, "in"))
    params = load_official(_of_kind(golden.grad, "param"))
    _compare_grads({name: network.get_parameter(name).grad for name in params}, params)


def _losses(golden: Golden) -> None:
    config, inputs = golden.config, golden.inputs
    assert (config["ignore_index"], config["bce_weight"], config["dice_smooth"]) == (255, 20.0, 1.0), "as published"
    assert config["boundary_threshold"] == 0.8, "as published"
    auxiliary_weight, semantic_weight = config["balance_weights"]
    criterion = P2ATLoss(
        auxiliary_weight=auxiliary_weight, semantic_weight=semantic_weight,
        boundary_semantic_weight=config["aux_weight"], threshold=config["ohem_threshold"],
        min_kept=config["ohem_min_kept"], class_weights=config.get("class_weights"),
    )
    leaves = {name: inputs[name].requires_grad_() for name in ("aux1", "final", "boundary")}
    aux, final, boundary, labels, edges = *leaves.values(), inputs["label"], inputs["edge"]
    boundary = boundary[:, 0]
    losses = criterion(final, labels, aux, boundary, edges)
    total = torch.stack(list(losses.values())).sum()
    cross_entropy = pixel_cross_entropy(aux, labels)
    semantic = criterion.semantic(pixel_cross_entropy(final, labels), labels)
    _compare(golden, {
        "acc": pixel_accuracy(final, labels) / 100, "b_loss": losses["loss_boundary"], "ce_map_aux1": cross_entropy,
        "dice": batch_dice_loss(boundary, edges), "ohem_final": semantic,
        "s_loss_map": auxiliary_weight * cross_entropy + semantic_weight * semantic,
        "s_loss_mean": losses["loss_auxiliary"] + losses["loss_semantic"],
        "sb_label": labels_at_boundaries(boundary, labels), "sb_loss": losses["loss_boundary_semantic"],
        "total": total, "weighted_bce": balanced_boundary_loss(boundary, edges),
    })
    total.backward()
    _compare_grads(_grads(leaves), _of_kind(golden.grad, "in"))


def _edge_target(golden: Golden) -> None:
    assert golden.config["edge_size"] == 4, "as published"
    assert not golden.config["edge_pad"], "as published"
    labels = golden.inputs["label"].long()
    preprocessor = Config.fromfile(CONFIG).model.data_preprocessor
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessor.mean, preprocessor.std))
    image = (golden.inputs["image_rgb_u8"].permute(2, 0, 1).float() - mean) / std
    edge = boundary_map(labels[None])[0]
    _compare(golden, {"image": image, "label": labels, "edge": edge})
    if "edge" in golden.out:
        assert torch.equal(edge, golden.out["edge"])


def _poly_lr(golden: Golden) -> None:
    config = golden.config
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=config["base_lr"])
    end = config["max_iters"] + 1                                           # the rate is 0 one iteration before it
    scheduler = PolyLR(optimizer, power=config["power"], eta_min=0, end=end, by_epoch=False)
    rates = []
    for _ in range(int(golden.inputs["iters"].max()) + 1):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = torch.tensor(rates, dtype=torch.float64)[golden.inputs["iters"]]
    close(ours, golden.out["lr"], atol=1e-12, rtol=1e-9)                    # a product of thousands of factors


CASES: dict[str, Callable[[Golden], None]] = {
    "bif_module": _bif_module,
    "convblock": _convblock,
    "decoder_block": _decoder_block,
    "edge_target": _edge_target,
    "gce_block": _gce_block,
    "lfi_module": _lfi_module,
    "lfr_block": _lfr_block,
    "losses": _losses,
    "mlp": _mlp,
    "p2_module": _p2_module,
    "p2a2_attention": _p2a2_attention,
    "p2at_tiny": _p2at_tiny,
    "poly_lr": _poly_lr,
    "seg_head": _seg_head,
    "sfu_block": _sfu_block,
    "ssa_block": _ssa_block,
}


@pytest.mark.golden_files("p2at")
def test_p2at_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
