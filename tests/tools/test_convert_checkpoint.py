from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from perception.engine.checkpoint import load_checkpoint, load_weights
from perception.engine.config import load_config
from perception.errors import CheckpointError, PluginError
from perception.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
PILLAR_CONFIG = ROOT / "configs/centerpoint_pillar/centerpoint_pillar02_nuscenes.py"
VOXEL_CONFIG = ROOT / "configs/centerpoint_pillar/centerpoint_voxel_nuscenes_circle.py"


@pytest.fixture
def convert() -> Callable[..., int]:
    main = runpy.run_path(str(ROOT / "tools/convert_checkpoint.py"))["main"]
    return lambda *arguments: main([str(argument) for argument in arguments])


def official_pillar_state(inputs: int = 11) -> dict[str, torch.Tensor]:
    """Keys and shapes of the released pillar checkpoint."""
    return {
        "pts_voxel_encoder.pfn_layers.0.linear.weight": torch.rand(64, inputs),
        **batch_norm("pts_voxel_encoder.pfn_layers.0.norm", 64),
        **official_dense_state(
            64, ((64, 3), (128, 5), (256, 5)), ((128, 64, 2, 2), (128, 128, 1, 1), (256, 128, 2, 2)), 384
        ),
    }


def official_voxel_state(is_output_first: bool) -> dict[str, torch.Tensor]:
    """Keys and shapes of a released voxel checkpoint, sparse weights as spconv 2 or its forerunners lay them out."""
    state = official_dense_state(256, ((128, 5), (256, 5)), ((256, 128, 1, 1), (256, 256, 2, 2)), 512)
    state |= sparse_unit("conv_input.0", "conv_input.1", 5, 16, is_output_first)
    state |= sparse_unit("conv_out.0", "conv_out.1", 128, 128, is_output_first, (3, 1, 1))
    widths = (16, 32, 64, 128)
    for stage, width in enumerate(widths):
        prefix = f"encoder_layers.encoder_layer{stage + 1}"
        for block, part in ((block, part) for block in (0, 1) for part in (1, 2)):
            layer = f"{prefix}.{block}"
            state |= sparse_unit(f"{layer}.conv{part}", f"{layer}.bn{part}", width, width, is_output_first)
        if stage < 3:
            state |= sparse_unit(f"{prefix}.2.0", f"{prefix}.2.1", width, widths[stage + 1], is_output_first)
    return state


def sparse_unit(
    conv: str, norm: str, width: int, out: int, is_output_first: bool, kernel: tuple[int, ...] = (3, 3, 3)
) -> dict[str, torch.Tensor]:
    weight = torch.rand((out, *kernel, width) if is_output_first else (*kernel, width, out))
    return {f"pts_middle_encoder.{conv}.weight": weight, **batch_norm(f"pts_middle_encoder.{norm}", out)}


def official_dense_state(
    width: int, stages: tuple[tuple[int, int], ...], neck: tuple[tuple[int, ...], ...], joined: int
) -> dict[str, torch.Tensor]:
    """Everything behind the canvas of ``width``: stages (channels, further layers), weights of the neck, the head."""
    state = {"pts_bbox_head.shared_conv.conv.weight": torch.rand(64, joined, 3, 3)}
    state |= batch_norm("pts_bbox_head.shared_conv.bn", 64)
    for stage, (channels, extra) in enumerate(stages):
        for unit in range(extra + 1):
            prefix = f"pts_backbone.blocks.{stage}"
            state[f"{prefix}.{3 * unit}.weight"] = torch.rand(channels, width, 3, 3)
            state |= batch_norm(f"{prefix}.{3 * unit + 1}", channels)
            width = channels
    for stage, shape in enumerate(neck):
        state[f"pts_neck.deblocks.{stage}.0.weight"] = torch.rand(shape)
        state |= batch_norm(f"pts_neck.deblocks.{stage}.1", joined // len(neck))
    for task, classes in enumerate((1, 2, 2, 1, 2, 2)):
        for branch, channels in (("reg", 2), ("height", 1), ("dim", 3), ("rot", 2), ("vel", 2), ("heatmap", classes)):
            prefix = f"pts_bbox_head.task_heads.{task}.{branch}"
            state[f"{prefix}.0.conv.weight"] = torch.rand(64, 64, 3, 3)
            state |= batch_norm(f"{prefix}.0.bn", 64)
            state[f"{prefix}.1.weight"] = torch.rand(channels, 64, 3, 3)
            state[f"{prefix}.1.bias"] = torch.rand(channels)
    return state


def batch_norm(prefix: str, channels: int) -> dict[str, torch.Tensor]:
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{prefix}.{name}": torch.rand(channels) for name in names} | {
        f"{prefix}.num_batches_tracked": torch.tensor(7)
    }


@pytest.mark.parametrize(("inputs", "options"), [(11, {}), (10, {"model.voxel_encoder.center_z": False})])
def test_a_released_pillar_checkpoint_fits_the_config_with_the_options_it_asks_for(
    convert, tmp_path, capsys, inputs, options
):
    state = official_pillar_state(inputs)
    torch.save({"state_dict": state, "meta": {"epoch": 20}}, tmp_path / "official.pth")

    assert convert("centerpoint_pillar", tmp_path / "official.pth", tmp_path / "ours.pth") == 0

    converted = load_checkpoint(tmp_path / "ours.pth")
    assert converted["meta"]["config_options"] == options
    assert ("model.voxel_encoder.center_z=False" in capsys.readouterr().out) is (inputs == 10)
    model = MODELS.build(load_config(PILLAR_CONFIG, options).model)
    load_weights(model, tmp_path / "ours.pth")
    stage, unit = model.bev_backbone.stages[1], 4
    torch.testing.assert_close(stage[unit].conv.weight, state["pts_backbone.blocks.1.12.weight"])
    torch.testing.assert_close(stage[unit].bn.running_var, state["pts_backbone.blocks.1.13.running_var"])
    bias = model.head.task_heads[5]["heatmap"][1].bias
    torch.testing.assert_close(bias, state["pts_bbox_head.task_heads.5.heatmap.1.bias"])


@pytest.mark.parametrize("is_output_first", [True, False], ids=["spconv_2", "before"])
def test_a_released_voxel_checkpoint_fits_its_config_whatever_the_layout_of_its_sparse_weights(
    convert, tmp_path, is_output_first
):
    pytest.importorskip("spconv", reason="spconv is not installed: pip install -e '.[sparse]'")
    state = official_voxel_state(is_output_first)
    torch.save({"state_dict": state, "meta": {"epoch": 20}}, tmp_path / "official.pth")

    assert convert("centerpoint_pillar", tmp_path / "official.pth", tmp_path / "ours.pth") == 0

    model = MODELS.build(load_config(VOXEL_CONFIG).model)
    load_weights(model, tmp_path / "ours.pth")
    ours, layers = model.lidar_backbone, "pts_middle_encoder.encoder_layers"
    for conv, key in (
        (ours.stem.conv, "pts_middle_encoder.conv_input.0"),
        (ours.stages[3][1].conv2, f"{layers}.encoder_layer4.1.conv2"),
        (ours.downs[1].conv, f"{layers}.encoder_layer2.2.0"),
        (ours.end.conv, "pts_middle_encoder.conv_out.0"),
    ):
        official = state[f"{key}.weight"]
        assert torch.equal(conv.weight, official if is_output_first else official.movedim(4, 0))
    assert torch.equal(ours.downs[2].bn.running_var, state[f"{layers}.encoder_layer3.2.1.running_var"])
    assert torch.equal(ours.stages[0][1].bn1.bias, state[f"{layers}.encoder_layer1.1.bn1.bias"])


def test_keys_of_another_architecture_are_listed_and_nothing_is_written(convert, tmp_path):
    torch.save({"pts_middle_encoder.encoder_layers.encoder_layer1.0.2.weight": torch.ones(2)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth: not a centerpoint_pillar .*encoder_layer1\.0\.2\.weight"):
        convert("centerpoint_pillar", tmp_path / "other.pth", tmp_path / "ours.pth")
    assert not (tmp_path / "ours.pth").exists()


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_malicious_checkpoint_is_refused_and_its_code_does_not_run(convert, tmp_path):
    torch.save({"state_dict": {"weight": torch.ones(1)}, "hook": Malicious(tmp_path / "ran")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth: refused"):
        convert("flatformer", tmp_path / "evil.pth", tmp_path / "ours.pth")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "ours.pth").exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"], ids=["empty", "text"])
def test_a_damaged_checkpoint_is_named(convert, tmp_path, content):
    (tmp_path / "damaged.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"damaged\.pth"):
        convert("flatformer", tmp_path / "damaged.pth", tmp_path / "ours.pth")


def test_an_absent_checkpoint_is_named(convert, tmp_path):
    with pytest.raises(CheckpointError, match=r"absent\.pth: no such checkpoint"):
        convert("flatformer", tmp_path / "absent.pth", tmp_path / "ours.pth")


def test_an_unknown_plugin_suggests_the_nearest(convert, tmp_path):
    with pytest.raises(PluginError, match=r'did you mean "flatformer"'):
        convert("flatforner", tmp_path / "a.pth", tmp_path / "b.pth")


def test_help_needs_no_torch():
    import subprocess

    command = [sys.executable, "-X", "importtime", str(ROOT / "tools/convert_checkpoint.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Examples:" in done.stdout
    assert " torch\n" not in done.stderr
