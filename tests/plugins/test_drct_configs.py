"""DRCT's published variants: parameters, recipes, the keys of checkpoints, and the small config."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from perception.engine.benchmark.flops import count_flops
from perception.engine.build import build_model
from perception.engine.checkpoint import load_checkpoint, load_weights
from perception.engine.config import load_config
from perception.engine.convert import convert_checkpoint
from perception.errors import CheckpointError
from perception.registry import DATASETS, METRICS
from perception.structures import Camera, Frame
from perception.structures.super_resolution import HIGH
from perception.transforms.compose import Compose
from perception_plugins.drct import PLUGIN, load_official

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted((ROOT / "configs/drct").glob("*.py"))
SMALL = ROOT / "configs/drct/drct_small_synthetic.py"
PUBLISHED = {                                        # parameters as counted in the authors' models
    ("drct", 2): 13_991_867, ("drct", 3): 14_176_507, ("drct", 4): 14_139_579,
    ("drct_l", 2): 27_433_007, ("drct_l", 3): 27_617_647, ("drct_l", 4): 27_580_719,
}


def meta_model(cfg: Config) -> torch.nn.Module:
    """The model of a config, which gets no memory; equal ones are built once."""
    return built(json.dumps(cfg.model.to_dict(), sort_keys=True))


@cache
def built(model: str) -> torch.nn.Module:
    with torch.device("meta"):
        return build_model(json.loads(model))


@pytest.mark.parametrize("path", [path for path in CONFIGS if path != SMALL], ids=lambda path: path.stem)
def test_every_config_builds_the_published_variant(path):
    cfg = load_config(path)
    model = meta_model(cfg)
    variant, scale = "drct_l" if "drct_l" in path.stem else "drct", int(path.stem.partition("_x")[2][0])
    assert model.scale == scale
    assert sum(parameter.numel() for parameter in model.parameters()) == PUBLISHED[variant, scale]
    assert [group.heads for group in model.network.groups] == [[6, 4, 2, 6, 4]] * (12 if variant == "drct_l" else 6)
    assert model.network.divisor == 16


@pytest.mark.parametrize(("name", "expected"), [("drct_x2_df2k", 71.8), ("drct_l_x4_df2k", 143.9)])
def test_products_for_a_picture_of_64_by_64_pixels_are_as_many_as_counted_in_the_authors_models(name, expected):
    network = meta_model(load_config(ROOT / f"configs/drct/{name}.py")).network.eval()
    operations = count_flops(lambda: network(torch.empty(1, 3, 64, 64, device="meta")))
    assert operations / 2e9 == pytest.approx(expected, abs=0.05)       # a multiply-add is two operations


@pytest.mark.parametrize(("name", "lr", "milestones", "iterations"), [
    ("drct_x3_df2k", 2e-4, (250_000, 400_000, 450_000, 475_000), 500_000),
    ("drct_x4_from_x2_df2k", 1e-4, (125_000, 200_000, 225_000, 240_000), 250_000),
    ("drct_l_x2_df2k", 1e-5, (125_000, 200_000, 225_000, 240_000), 250_000),
])
def test_recipes_are_as_published(name, lr, milestones, iterations):
    cfg = load_config(ROOT / f"configs/drct/{name}.py")
    (schedule,) = cfg.param_scheduler
    assert dict(cfg.optim_wrapper.optimizer) == {"type": "Adam", "lr": lr, "betas": (0.9, 0.99)}
    assert (tuple(schedule.milestones), schedule.gamma) == (milestones, 0.5)
    assert cfg.train_cfg.max_iters == iterations
    assert [(hook.type, hook.momentum) for hook in cfg.custom_hooks] == [("EmaHook", 0.001)]


def test_a_config_reads_folders_of_pictures_and_makes_pairs_of_its_scale(tmp_path):
    (tmp_path / "HR").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (150, 205, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "HR/a.png")
    roots = {"data_root": str(tmp_path), "val_root": str(tmp_path)}
    cfg = load_config(ROOT / "configs/drct/drct_x2_df2k.py", roots)
    for stage, low in (("train", (64, 64)), ("val", (75, 102))):
        frame = DATASETS.build(cfg[f"{stage}_dataloader"].dataset)[0]
        sizes = {name: tuple(camera.image.shape[1:]) for name, camera in frame.cameras.items()}
        assert sizes == {"image": low, "image" + HIGH: (2 * low[0], 2 * low[1])}
    assert METRICS.build(load_config(ROOT / "configs/drct/drct_x4_df2k.py").val_evaluator).border == 3
    assert METRICS.build(cfg.val_evaluator).border is None


def test_the_plugins_checkpoints_have_configs():
    assert all((ROOT / path).is_file() for path in PLUGIN.checkpoints.values())


def official_state(groups: int, upsample: tuple[int, ...]) -> dict[str, torch.Tensor]:
    """Every key of a released checkpoint, with tensors of its shape but no memory."""
    shapes: dict[str, tuple[int, ...]] = {"conv_first.weight": (180, 3, 3, 3), "conv_first.bias": (180,)}
    vectors = {"patch_embed.norm": 180, "norm": 180}
    convs = {"conv_after_body": (180, 180), "conv_before_upsample.0": (64, 180), "conv_last": (3, 64)}
    convs |= {f"upsample.{2 * place}": (width, 64) for place, width in enumerate(upsample)}
    for group in (f"layers.{number}" for number in range(groups)):
        for k, heads in enumerate((6, 4, 2, 6, 4), start=1):
            width, layer = 180 + 32 * (k - 1), f"{group}.swin{k}"
            hidden = 2 * width if k <= 3 else width
            vectors |= {f"{layer}.norm1": width, f"{layer}.norm2": width}
            linears = {"attn.qkv": (3 * width, width), "attn.proj": (width, width), "mlp.fc1": (hidden, width),
                       "mlp.fc2": (width, hidden)}
            for name, shape in linears.items():
                shapes |= {f"{layer}.{name}.weight": shape, f"{layer}.{name}.bias": shape[:1]}
            shapes[f"{layer}.attn.relative_position_bias_table"] = (961, heads)
            shapes[f"{layer}.attn.relative_position_index"] = (256, 256)
            if k in (2, 4):
                shapes[f"{layer}.attn_mask"] = (16, 256, 256)
            added = 32 if k < 5 else 180
            shapes |= {f"{group}.adjust{k}.weight": (added, width, 1, 1), f"{group}.adjust{k}.bias": (added,)}
    shapes |= {f"{name}.{part}": (width,) for name, width in vectors.items() for part in ("weight", "bias")}
    shapes |= {f"{name}.weight": (*shape, 3, 3) for name, shape in convs.items()}
    shapes |= {f"{name}.bias": shape[:1] for name, shape in convs.items()}
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


@pytest.mark.parametrize(("name", "groups", "upsample"), [
    ("drct_x2_df2k", 6, (256,)), ("drct_x3_df2k", 6, (576,)), ("drct_x4_df2k", 6, (256, 256)),
    ("drct_l_x4_df2k", 12, (256, 256)),
])
def test_every_official_key_has_its_place_and_every_place_its_key(name, groups, upsample):
    model = meta_model(load_config(ROOT / f"configs/drct/{name}.py"))
    mapped = load_official(official_state(groups, upsample))
    assert {key: value.shape for key, value in mapped.items()} == {
        key: value.shape for key, value in model.state_dict().items()
    }


@pytest.mark.parametrize("key", ["layers.0.swin6.norm1.weight", "layers.0.residual_group.blocks.0.norm1.weight",
                                 "mean", "conv_up1.weight"])
def test_a_key_of_another_architecture_is_told(key):
    with pytest.raises(CheckpointError, match="belong to another architecture"):
        load_official({key: torch.ones(1)})


def test_a_released_file_is_converted_from_its_averaged_weights(tmp_path):
    state = {"conv_last.bias": torch.ones(3), "layers.0.swin2.attn_mask": torch.zeros(1, 4, 4)}
    torch.save({"params": {"conv_last.bias": torch.zeros(3)}, "params_ema": state}, tmp_path / "net_g.pth")
    convert_checkpoint("drct", tmp_path / "net_g.pth", tmp_path / "ours.pth")
    converted = load_checkpoint(tmp_path / "ours.pth")["state_dict"]
    assert {key: value.tolist() for key, value in converted.items()} == {"network.conv_last.bias": [1, 1, 1]}


def street(token: str) -> Frame:
    """Bright stripes of all directions on a dark road, 96 x 64 pixels."""
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    turned = torch.stack([torch.sin(rows / 3 + columns * slope) for slope in (0.2, 0.5, 1.1)])
    image = (255 * (turned > 0)).to(torch.uint8)
    return Frame(token, 0, cameras={"front": Camera(None, 0, image=image)})


def test_the_small_config_learns_more_than_bicubic_enlargement_and_predicts():
    torch.manual_seed(0)
    cfg = load_config(SMALL, {"model.network.depths": (6,), "model.network.channels": 16})         # half of each
    model = build_model(cfg.model)
    pairs = Compose(cfg.train_dataloader.dataset.transforms)
    frames = [pairs(street(str(number)), np.random.default_rng(number)) for number in range(4)]
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    batch = model.train().data_preprocessor(frames, training=True)
    totals = []
    for _ in range(20):
        loss = model(**batch, mode="loss")["loss_pixel"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals.append(loss.item())
    assert totals[-1] < 0.9 * totals[0]                                # the first is that of bicubic enlargement
    metric = METRICS.build(cfg.val_evaluator)
    frames = [Compose(cfg.val_dataloader.dataset.transforms)(street("a"), np.random.default_rng(0))]
    found = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert found[0].image.shape == (3, 64, 96)
    metric.process(frames, found)
    assert metric.results[0][1]["psnr_y_db"] > metric.results[0][1]["bicubic_psnr_y_db"]


def test_weights_of_another_scale_start_a_training(tmp_path):
    small = load_config(SMALL)
    two, four = build_model(small.model), load_config(SMALL, {"model.network.scale": 4}).model
    torch.save({"state_dict": two.state_dict()}, tmp_path / "x2.pth")
    model = build_model({**four, "pretrained": tmp_path / "x2.pth"})
    fresh = model.network.upsample[2].weight.clone()
    model.init_weights()
    assert torch.equal(model.network.groups[1].adjust[0].weight, two.network.groups[1].adjust[0].weight)
    assert torch.equal(model.network.upsample[0].weight, two.network.upsample[0].weight)
    assert torch.equal(model.network.upsample[2].weight, fresh)
    with pytest.raises(CheckpointError, match=r"missing: network\.upsample\.2\.weight"):
        load_weights(model, tmp_path / "x2.pth")


def test_weights_of_another_width_start_no_training(tmp_path):
    small = load_config(SMALL)
    torch.save({"state_dict": build_model(small.model).state_dict()}, tmp_path / "x2.pth")
    wide = load_config(SMALL, {"model.network.features": 32}).model
    model = build_model({**wide, "pretrained": tmp_path / "x2.pth"})
    with pytest.raises(CheckpointError, match=r"x2\.pth: .* weights do not fit or are missing"):
        model.init_weights()
