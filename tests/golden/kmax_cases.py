"""What the golden tests of kMaX-DeepLab share: comparing, loading through the key map, and looking inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from center_cases import Golden, load_state
from torch import Tensor

from perception.models.key_map import rename_part
from perception_plugins.kmax import load_official
from perception_plugins.kmax.predictor import ClusterPredictions

PIXEL, DECODER = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."
BLOCK, OUR_BLOCK = f"{PIXEL}_stages.0._blocks.0.", "head.pixel_decoder.stages.0.0."
LAYER, OUR_LAYER = f"{DECODER}_kmax_transformer_layers.0.", "head.decoder.layers.0."
MAP_NAMES = ("stem", "res2", "res3", "res4", "res5")
MODULE, DEEP = 1e-5, 1e-3                            # the sheet's; attention logits without scale amplify rounding


def check(ours: Mapping[str, Tensor | None], expected: Mapping[str, Tensor], tolerance: float) -> None:
    """Every tensor of a file: whole numbers exactly, others to a share of their greatest entry."""
    for name, reference in expected.items():
        value = ours[name]
        assert value is not None, name
        assert value.shape == reference.shape, f"{name}: {tuple(value.shape)}, expected {tuple(reference.shape)}"
        if reference.is_floating_point():
            size = float(reference.abs().max()) if reference.numel() else 0.0
            worst = float((value.detach().double() - reference.double()).abs().max()) if reference.numel() else 0.0
            assert worst <= tolerance * size, f"{name}: off by {worst}, greatest entry {size}"
        else:
            assert torch.equal(value.to(reference.dtype), reference), name


def load(module: torch.nn.Module, golden: Golden, official: str, ours: str) -> None:
    load_state(module, rename_part(golden.state, load_official, official, ours))


def recorded(modules: Mapping[str, torch.nn.Module]) -> dict[str, Tensor]:
    """A dictionary that the outputs of the modules appear in as soon as they run."""
    seen: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, __, output, name=name: seen.__setitem__(name, output))
    return seen


def check_grads(
    golden: Golden, scalar: Tensor, module: torch.nn.Module, inputs: Iterable[str], official: str, ours: str
) -> None:
    """Gradients of inputs, by the file's names, and of parameters, by the official ones."""
    scalar.backward()
    ours_by_name: dict[str, Any] = {name: golden.inputs[name].grad for name in inputs}
    check(ours_by_name, {name: golden.grad[name] for name in golden.grad if name in ours_by_name}, 1e-4)
    mapped = rename_part(
        {name: grad for name, grad in golden.grad.items() if name not in ours_by_name}, load_official, official, ours
    )
    check({name: module.get_parameter(name).grad for name in mapped}, mapped, 1e-4)


def predictions_of(found: ClusterPredictions, prefix: str = "") -> dict[str, Tensor]:
    return {
        f"{prefix}pred_logits": found.logits, f"{prefix}pred_masks": found.masks,
        f"{prefix}pixel_feature": found.pixels,
    }


def widths_of(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "channels": config["embed_dim"], "mask_channels": config["mask_dim"], "hidden": config["ffn_dim"],
        "base_channels": config["base_filters"], "heads": config["num_heads"],
    }
