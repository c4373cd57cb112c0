"""DRCT, its inference by tiles, and the metrics of super-resolution against the authors' own code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor, nn

from perception.evaluation.picture_quality import luma, psnr, ssim
from perception.models.key_map import rename_part
from perception.models.picture_padding import mirrored, reflected
from perception.models.sliding_window import MarginTiles, SlidingWindow
from perception.transforms.bicubic import enlarged, shrunk, to_uint8
from perception_plugins.drct import DRCT, load_official
from perception_plugins.drct.attention import WindowAttention, shift_mask
from perception_plugins.drct.group import ResidualDenseGroup, SwinLayer

NETWORK = ("", "network.")
GROUP = ("layers.0.", "network.groups.0.")
LAYER = ("layers.0.swin1.", "network.groups.0.layers.0.")
ATTENTION = (f"{LAYER[0]}attn.", f"{LAYER[1]}attention.")
close = torch.testing.assert_close


def _compare(golden: Golden, ours: Mapping[str, Tensor], atol: float = 1e-5) -> None:
    """Every output that the file has."""
    for name, expected in golden.out.items():
        close(ours[name], expected, atol=atol, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


def _check(
    golden: Golden, module: nn.Module, prefix: tuple[str, str], run: Callable[[Tensor], Mapping[str, Tensor]],
    atol: float = 1e-5,
) -> None:
    """A module whose ``run`` gives outputs by name on the file's input, and gradients of the waved sum of its ``y``."""
    load_state(module, rename_part(golden.state, load_official, *prefix))
    x = golden.inputs["x"].requires_grad_()
    found = run(x)
    _compare(golden, found, atol)
    if not golden.grad:
        return
    y = found["y"]
    (y * torch.cos(0.37 * torch.arange(y.numel())).reshape(y.shape)).sum().backward()
    grads = {name.removeprefix("param."): grad for name, grad in golden.grad.items() if name.startswith("param.")}
    expected = rename_part(grads, load_official, *prefix)
    pairs = [(name, module.get_parameter(name).grad, grad) for name, grad in expected.items()]
    pairs += [("x", x.grad, golden.grad["in.x"])] if "in.x" in golden.grad else []
    assert len(pairs) == len(golden.grad)
    for name, ours, grad in pairs:
        close(ours, grad, atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"gradient of {name}: {text}")


def _recorded(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The outputs of modules by the name of each, once they have run."""
    found: dict[str, Tensor] = {}
    for name, module in modules.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: found.__setitem__(name, output))
    return found


def _window_attention(golden: Golden) -> None:
    config = golden.config
    attention = WindowAttention(
        config["dim"], config["num_heads"], config["window_size"], qkv_bias=config["qkv_bias"]
    )
    _check(golden, attention, ATTENTION, lambda x: {"y": attention(x, golden.inputs.get("mask"))})


def _window_and_shift(window: int, shift: int, resolution: int) -> tuple[int, int]:
    """Of a network made for pictures of that size: windows that fill them are not moved."""
    return (resolution, 0) if resolution <= window else (window, shift)


def _swin_block(golden: Golden) -> None:
    config = golden.config
    resolution = min(config["input_resolution"])
    window, shift = _window_and_shift(config["window_size"], config["shift_size"], resolution)
    assert (window, shift) == (config["effective_window"], config["effective_shift"])
    layer = SwinLayer(config["dim"], config["num_heads"], window, shift, mlp_ratio=config["mlp_ratio"])
    size = tuple(config["x_size"])

    def run(x: Tensor) -> dict[str, Tensor]:
        y = {"y": layer(x, size)}
        return {**y, "attn_mask_for_size": shift_mask(size, window, shift, x)} if shift else y

    _check(golden, layer, LAYER, run)


def _rdg(golden: Golden) -> None:
    config = golden.config
    size = config["window_size"]
    window, shift = _window_and_shift(size, size // 2, min(config["input_resolution"]))
    group = ResidualDenseGroup(
        config["dim"], config["gc"], config["num_heads"], window, shift, mlp_ratio=config["mlp_ratio"]
    )
    assert group.heads == config["resolved_heads"]
    found = _recorded({f"swin{number}": layer for number, layer in enumerate(group.layers, start=1)})
    _check(golden, group, GROUP, lambda x: {"y": group(x, tuple(config["x_size"])), **found})


def _network(config: Mapping[str, Any], features: int) -> DRCT:
    assert config["upsampler"] == "pixelshuffle", "the only one that there is"
    assert config["patch_size"] == 1, "a token is a pixel"
    return DRCT(
        config["upscale"], depths=config["depths"], channels=config["embed_dim"], growth=config["gc"],
        heads=config["num_heads"], window=config["window_size"], mlp_ratio=config["mlp_ratio"], features=features,
        in_channels=config["in_chans"], image_size=config["img_size"], image_range=config["img_range"],
        qkv_bias=config.get("qkv_bias", True), embed_norm=config.get("patch_norm", True),
        position_table=config.get("ape", False), body_conv=config["resi_connection"] == "1conv",
    )


def _drct(golden: Golden) -> None:
    network = _network(golden.config, golden.config["num_feat"])
    assert [group.heads for group in network.groups] == golden.config["resolved_heads"]
    parts = {"conv_first": network.conv_first, "rdg0": network.groups[0], "conv_after_body": network.body_conv}
    found = _recorded(parts)
    atol = 5e-5 if golden.config["upscale"] == 4 else 1e-5
    _check(golden, network, NETWORK, lambda x: {"y": network(x), **found}, atol)


@torch.no_grad()
def _inference(golden: Golden) -> None:
    config = golden.config
    network = _network(config["model"], config["num_feat"])
    load_state(network, rename_part(golden.state, load_official, *NETWORK))
    x, scale, divisor = golden.inputs["x"], config["scale"], config["window_size"]
    assert (network.scale, network.divisor) == (scale, divisor)
    inner = (..., slice(x.shape[2] * scale), slice(x.shape[3] * scale))
    padded, script = reflected(x, divisor), mirrored(x, divisor)
    tiles = MarginTiles((config["tile_size"],) * 2, config["tile_pad"])
    side = min(config["script_tile"], *script.shape[2:])
    windows = SlidingWindow((side, side), (side - config["script_overlap"],) * 2)
    _compare(golden, {
        "padded_reflect": padded, "script_padded": script, "whole": network(padded)[inner],
        "script_whole": network(script)[inner], "tiled": tiles.apply(network, padded, scale)[inner],
        "script_overlap_avg": windows.apply(network, script, scale)[inner],
    }, atol=5e-5 if scale == 4 else 1e-5)


def _metrics(golden: Golden) -> None:
    scale, border, out = golden.config["scale"], golden.config["crop_border"], golden.out
    sharp = golden.inputs["hr_rgb"]
    lr = shrunk(sharp, scale)
    up = enlarged(out.get("lr_bicubic", lr), scale)
    truth, found = out.pop("hr_u8_rgb"), out.pop("up_u8_rgb")
    assert torch.equal(to_uint8(sharp).permute(1, 2, 0), truth)
    level = (up * 255).permute(1, 2, 0)
    off = to_uint8(up).permute(1, 2, 0).int() != found.int()
    assert ((level[off] % 1) - 0.5).abs().max() < 1e-3 if off.any() else True, "only ties may round the other way"
    first, second = truth.numpy(), found.numpy()
    lumas = luma(first), luma(second)
    for name, value, tolerance in (
        ("psnr_y0", psnr(first, second, border), 1e-4), ("ssim_y0", ssim(first, second, border), 1e-6),
        ("psnr_y1", psnr(*lumas, border), 1e-4), ("ssim_y1", ssim(*lumas, border), 1e-6),
    ):
        if name in out:
            assert value == pytest.approx(float(out.pop(name)), abs=tolerance), name
    _compare(golden, {"lr_bicubic": lr, "up_bicubic": up, "hr_y": torch.from_numpy(lumas[0]).float()})


CASES: dict[str, Callable[[Golden], None]] = {
    "drct": _drct,
    "inference": _inference,
    "metrics": _metrics,
    "rdg": _rdg,
    "swin_block": _swin_block,
    "window_attention": _window_attention,
}


@pytest.mark.golden_files("drct")
def test_drct_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
