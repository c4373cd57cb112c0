"""SLAB against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.compression.batch_norm import fold_batch_norms
from perception.models.classifier import BackboneClassifier
from perception.models.key_map import rename_part
from perception.models.metaformer.block import MetaFormerBlock
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS
from perception_plugins.slab import (
    ClassTokenClassifier,
    PaddedPatchEmbedding,
    PRepBN,
    ReducedLinearAttention,
    RepBN,
    SimplifiedLinearAttention,
    SlabPatchMerging,
    load_official,
)
from perception_plugins.slab.stripe_attention import LinearStripeBranch
from perception_plugins.slab.windows import relative_places

BLOCK = "backbone.stages.0.blocks.0."


def assert_near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], limit: float) -> None:
    """Every expected tensor, within ``limit`` of the largest number in it, or of 1."""
    for name, value in expected.items():
        error = (found[name].detach() - value).abs().max().item()
        assert error <= limit * max(1.0, value.abs().max().item()), f"{name}: {error}"


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}


def _norm(config: Mapping[str, Any]) -> dict[str, Any]:
    if config["norm"].startswith("RepBN"):
        return {"type": "RepBN"}
    eps = re.search(r"ln_eps ([\d.e-]+\d)", config["norm"])
    return {"type": "PRepBN", **({} if eps is None else {"eps": float(eps[1])})}


def _score(y: Tensor) -> Tensor:
    return (y * torch.linspace(-1, 1, y.shape[-1])).sum()


def _schedule(golden: Golden) -> None:
    config = golden.config
    norm = PRepBN(
        config["dim"], steps=config["step"], warm=config["warm"], first=config["r0"], eps=config["ln_eps"],
        batch_eps=config["bn_eps"], momentum=config["bn_momentum"],
    )
    norm.load_state_dict(rename_part(golden.state, load_official, "norm.", "norm."), strict=True)
    norm.train()
    found: dict[str, list[Tensor]] = {name: [] for name in ("y", "mean", "var", "counters")}
    for step, x in enumerate(golden.inputs["x"]):
        x = x.clone().requires_grad_()
        norm.zero_grad()
        y = norm(x)
        _score(y).backward()
        grads = {"x": x.grad, "alpha": norm.norm2.alpha.grad}
        grads = {name: value for name, value in grads.items() if value is not None}
        assert_near(grads, _under(golden.grad, f"step{step}."), 1e-5)
        bn, counters = norm.norm2.bn, (norm.warm, norm.iter, norm.total_step)
        for name, value in (("y", y), ("mean", bn.running_mean), ("var", bn.running_var), ("counters", counters)):
            found[name].append(torch.stack([*value]).detach().clone())
    assert torch.equal(torch.stack(found["counters"]), golden.out["warm_iter_total_after"])
    last = norm.eval()(golden.inputs["x"][-1])
    maps = {
        "y": torch.stack(found["y"]), "running_mean_after": torch.stack(found["mean"]),
        "running_var_after": torch.stack(found["var"]), "y_eval_last_x": last,
        "warm_iter_total_after": torch.stack(found["counters"]),
    }
    assert_near(maps, golden.out, 1e-5)


def _fusion(golden: Golden) -> None:
    found: dict[str, Tensor] = {}
    for part in (_fused_linear, _fused_block, _fused_merging, _fused_embedding):
        found |= part(golden)
    expected = {name: value for name, value in golden.out.items() if not name.startswith("merged_block.")}
    assert_near(found, expected, 1e-4)


class NormedLinear(nn.Module):
    """A norm and a linear layer, which folds as the head of a classifier does."""

    fold_batch_norm = BackboneClassifier.fold_batch_norm

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.head = RepBN(width), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(x))


def _fused_linear(golden: Golden) -> dict[str, Tensor]:
    state, x = golden.state, golden.inputs["x"]
    pair = NormedLinear(golden.config["dim"], len(state["linear.weight"]))
    official = {f"norm.{key}": value for key, value in _under(state, "repbn.").items()}
    official |= {f"head.{key}": value for key, value in _under(state, "linear.").items()}
    load_state(pair, load_official(official))
    normed, before = pair.norm(x), pair(x)
    fold_batch_norms(pair)
    assert_near({"folded": pair(x)}, {"folded": before.detach()}, 1e-4)
    return {"repbn": normed, "linear_of_repbn": before}


def _fused_block(golden: Golden) -> dict[str, Tensor]:
    config, x = golden.config, golden.inputs["block_x"]
    mixer = {"type": "SlabWindowAttention", "heads": config["num_heads"], "window": config["window"]}
    feed_forward = {"type": "FeedForward", "ratio": config["mlp_ratio"]}
    block = MetaFormerBlock(config["dim"], mixer, feed_forward, norm={"type": "RepBN"})

    def mapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return rename_part(tensors, load_official, "layers.0.blocks.0.", BLOCK)

    load_state(block, mapped(_under(golden.state, "block.")))
    size = (config["window"], config["window"])
    before = block(x, size)
    fold_batch_norms(block)
    merged = _under(golden.out, "merged_block.")
    assert_near(block.state_dict(), mapped(merged), 1e-4)
    index = "attn.relative_position_index"
    if index in merged:
        assert torch.equal(relative_places(config["window"]), merged[index])
    return {"block_y": before, "block_y_merged": block(x, size)}


def _fused_merging(golden: Golden) -> dict[str, Tensor]:
    size, width = golden.config["merge_hw"], golden.config["dim"]
    merging = SlabPatchMerging(width, len(golden.state["patch_merging.reduction.weight"]), norm={"type": "RepBN"})
    state = _under(golden.state, "patch_merging.")
    load_state(merging, rename_part(state, load_official, "layers.0.downsample.", "backbone.stages.1.embed."))
    x = map_of(golden.inputs["merge_x"], (size[0], size[1]))
    before = tokens_of(merging(x))
    fold_batch_norms(merging)
    assert_near({"merged": tokens_of(merging(x))}, {"merged": before.detach()}, 1e-4)
    weights = {f"merged_reduction.{name}": value for name, value in merging.reduction.state_dict().items()}
    return {"merge_y": before, **weights}


def _fused_embedding(golden: Golden) -> dict[str, Tensor]:
    weight, image = golden.state["patch_embed.proj.weight"], golden.inputs["image"]
    embed = PaddedPatchEmbedding(3, len(weight), patch=weight.shape[2], norm={"type": "RepBN"})
    state = _under(golden.state, "patch_embed.")
    load_state(embed, rename_part(state, load_official, "patch_embed.", "backbone.stages.0.embed."))
    before, alpha, bias = tokens_of(embed(image)), embed.norm.alpha.detach(), embed.proj.bias.detach()
    fold_batch_norms(embed)
    assert_near({"fused": tokens_of(embed(image))}, {"fused": before.detach()}, 1e-4)
    weights = {f"patch_embed_fused.{name}": value for name, value in embed.proj.state_dict().items()}
    forgotten = embed.proj.bias - alpha * bias                 # the released code leaves this out
    return {"patch_embed_y": before, "patch_embed_reference_fused.bias": forgotten, **weights}


def _compare_mixer(golden: Golden, mixer: nn.Module, official: str, size: tuple[int, int]) -> None:
    """A mixer whose keys had the prefix ``official`` in the authors' network, and its gradients."""
    ours = f"{BLOCK}token_mixer."
    load_state(mixer, rename_part(golden.state, load_official, official, ours))
    x = golden.inputs["x"].requires_grad_()
    y = mixer(x, size)
    assert_near({"y": y}, golden.out, 1e-5)
    _score(y).backward()
    for name, expected in golden.grad.items():
        if name == "x":
            grad = x.grad
        else:
            (key,) = rename_part({name: expected}, load_official, official, ours)
            grad = mixer.get_parameter(key).grad
        assert grad is not None
        assert_near({name: grad}, {name: expected}, 1e-5)


def _linear_in_windows(golden: Golden) -> None:
    config = golden.config
    size = (config["window"][0], config["window"][1])
    mixer = SimplifiedLinearAttention(
        config["dim"], heads=config["num_heads"], kernel=config["kernel_size"], position=size,
        qkv_bias=config["qkv_bias"],
    )
    _compare_mixer(golden, mixer, "layers.0.blocks.0.attn.", size)


def _linear_of_pvt(golden: Golden) -> None:
    config = golden.config
    size, reduction = (config["H"], config["W"]), config["sr_ratio"]
    mixer = ReducedLinearAttention(
        config["dim"], heads=config["num_heads"], reduction=reduction, kernel=config["kernel_size"],
        position=(size[0] // reduction, size[1] // reduction), qkv_bias=config["qkv_bias"], norm={"type": "PRepBN"},
    )
    _compare_mixer(golden, mixer, "block1.0.attn.", size)


def _linear_of_cswin(golden: Golden) -> None:
    config = golden.config
    size = (config["resolution"], config["resolution"])
    branch = LinearStripeBranch(
        config["dim"], config["num_heads"], split=None if config["idx"] == -1 else config["split_size"],
        vertical=config["idx"] == 0, resolution=size, kernel=config["kernel_size"],
    )
    load_state(branch, rename_part(golden.state, load_official, "stage1.0.attns.0.", f"{BLOCK}token_mixer.attns.0."))
    assert_near({"y": branch(*golden.inputs["qkv"], size)}, golden.out, 1e-5)


def _deit_backbone(golden: Golden, linear: bool) -> dict[str, Any]:
    config = golden.config
    side = config["img_size"] // config["patch_size"]
    return {
        "type": "SlabDeiT", "width": config["embed_dim"], "depth": config["depth"], "heads": config["num_heads"],
        "ratio": config["mlp_ratio"], "qkv_bias": config["qkv_bias"], "patch": config["patch_size"],
        "position": (side, side), "linear": linear, "norm": _norm(config),
    }


def _deit(golden: Golden) -> None:
    depth, norm = golden.config["depth"], _norm(golden.config)
    backbone = {**_deit_backbone(golden, True), "out_indices": tuple(range(depth))}
    network = BackboneClassifier(backbone, golden.config["num_classes"], norm)
    load_state(network, load_official(golden.state))
    maps = network.backbone(golden.inputs["image"])
    found = {f"block{number}": tokens_of(x) for number, x in enumerate(maps)}
    found |= {"pooled": network.norm(tokens_of(maps[-1])).mean(dim=1), "logits": network(golden.inputs["image"])}
    assert_near(found, golden.out, 1e-4)


def _deit_with_class_token(golden: Golden) -> None:
    network = ClassTokenClassifier(_deit_backbone(golden, False), golden.config["num_classes"], _norm(golden.config))
    load_state(network, load_official(golden.state))
    image = golden.inputs["image"]
    assert_near({"cls_feature": network.class_feature(image), "logits": network(image)}, golden.out, 1e-4)
    fold_batch_norms(network)
    assert_near({"logits": network(image)}, {"logits": golden.out["logits"]}, 1e-4)


def _classifier(golden: Golden, backbone: dict[str, Any], norm: dict[str, Any] | None) -> BackboneClassifier:
    network = BackboneClassifier(backbone, golden.config["num_classes"], norm)
    load_state(network, load_official(golden.state))
    return network


def _pvt(golden: Golden) -> None:
    config = golden.config
    network = _classifier(golden, {
        "type": "SlabPVT", "widths": config["embed_dims"], "depths": config["depths"], "heads": config["num_heads"],
        "ratios": config["mlp_ratios"], "attention": config["attn_type"], "reductions": config["sr_ratios"],
        "linear_reductions": [int(letter) for letter in config["la_sr_ratios"]], "patch": config["patch_size"],
        "resolution": config["img_size"] // config["patch_size"], "qkv_bias": config["qkv_bias"],
        "norm": _norm(config), "out_indices": tuple(range(len(config["depths"]))),
    }, None)
    maps = network.backbone(golden.inputs["image"])
    found = {f"stage{number}_tokens": tokens_of(x) for number, x in enumerate(maps, 1)}
    assert_near({**found, "logits": network(golden.inputs["image"])}, golden.out, 1e-4)


def _cswin(golden: Golden) -> None:
    config = golden.config
    network = _classifier(golden, {
        "type": "SlabCSWin", "width": config["embed_dim"], "depths": config["depth"], "heads": config["num_heads"],
        "attention": config["attn_type"], "splits": config["split_size"], "ratio": config["mlp_ratio"],
        "linear_splits": [int(split) for split in config["la_split_size"].split("-")],
        "resolution": config["img_size"] // 4, "norm": _norm(config), "out_indices": tuple(range(len(config["depth"]))),
    }, _norm(config))
    maps = network.backbone(golden.inputs["image"])
    found = {f"stage{number}": tokens_of(x) for number, x in enumerate(maps, 1)}
    assert_near({**found, "logits": network(golden.inputs["image"])}, golden.out, 1e-4)


def _swin_backbone(config: Mapping[str, Any]) -> dict[str, Any]:
    depths = config["depths"]
    return {
        "type": "SlabSwin", "width": config["embed_dim"], "depths": depths, "heads": config["num_heads"],
        "ratio": config["mlp_ratio"], "patch": config.get("patch_size", 4), "norm": _norm(config),
        "attention": config.get("attn_type", "S" * len(depths)),
        "out_indices": config.get("out_indices", tuple(range(len(depths)))),
    }


def _classifying_swin(golden: Golden) -> tuple[BackboneClassifier, dict[str, Tensor]]:
    config = golden.config
    backbone, side = _swin_backbone(config), config["img_size"] // config["patch_size"]
    backbone["windows"] = [
        min(config["window_size"] if letter == "L" else 7, side // 2**stage)
        for stage, letter in enumerate(backbone["attention"])
    ]
    network = _classifier(golden, backbone, _norm(config))
    maps = network.backbone(golden.inputs["image"])
    stages = network.backbone.stages
    ends = [*(stage.embed(x) for stage, x in zip(stages[1:], maps, strict=False)), maps[-1]]    # a stage ends merged
    found = {f"layer{number}": tokens_of(x) for number, x in enumerate(ends)}
    return network, {**found, "logits": network(golden.inputs["image"])}


def _swin(golden: Golden) -> None:
    assert_near(_classifying_swin(golden)[1], golden.out, 1e-4)


def _folded_swin(golden: Golden) -> None:
    network, found = _classifying_swin(golden)
    fold_batch_norms(network)
    assert_near({**found, "logits_fused": network(golden.inputs["image"])}, golden.out, 1e-4)


def _dense_swin(golden: Golden) -> None:
    config = golden.config
    window = config["window_size"]
    windows = [56, 28, window, window][: len(config["depths"])]
    backbone = MODELS.build({
        **_swin_backbone(config), "windows": windows, "shift_all": True, "out_norms": True
    })
    mapped = load_official(golden.state)
    mapped = {key.removeprefix("backbone."): value for key, value in mapped.items()}
    behind = tuple(f"stages.{stage}." for stage in range(len(backbone.stages), len(config["depths"])))
    load_state(backbone, {key: value for key, value in mapped.items() if not key.startswith(behind)})
    maps = {f"p{number}": x for number, x in enumerate(backbone(golden.inputs["image"]))}
    assert_near(maps, golden.out, 1e-5)
    fold_batch_norms(backbone)
    assert_near(
        {f"p{number}": x for number, x in enumerate(backbone(golden.inputs["image"]))}, golden.out, 1e-4
    )


CASES: dict[str, Callable[[Golden], None]] = {
    "prepbn_schedule": _schedule, "repbn_fusion": _fusion, "sla_window": _linear_in_windows, "sla_pvt": _linear_of_pvt,
    "sla_cswin": _linear_of_cswin, "slab_deit": _deit, "prepbn_deit": _deit_with_class_token, "slab_pvt": _pvt,
    "prepbn_pvt": _pvt, "slab_cswin": _cswin, "slab_swin": _swin, "swin_prepbn_fuse": _folded_swin,
    "slab_swin_dense": _dense_swin,
}


@pytest.mark.golden_files("slab")
def test_slab_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
