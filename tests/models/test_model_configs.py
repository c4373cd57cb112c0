from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from perception.engine.config import load_config
from perception.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
MODEL_CONFIGS = sorted([*CONFIGS.glob("flatformer/*.py"), *CONFIGS.glob("centerpoint_pillar/*.py")])
MIXED = ("complexformer", "matformer", "ssm_vision", "tokenformer")     # of the synthetic city, with other layers
MIXED_CONFIGS = sorted(path for plugin in MIXED for path in CONFIGS.glob(f"{plugin}/flatformer_*_synthetic.py"))
PARTS = ("voxel_encoder", "lidar_backbone", "bev_backbone", "neck", "head")
WAYMO = (17_472, 1_059_840, 701_952, 74_240, 414_606)
VOXEL = (0, 2_694_352, 4_280_832, 295_936, 1_667_142)
PUBLISHED = {                                        # parameters of PARTS, as counted in the authors' models
    "flatformer_waymo_D1_2x_3class": WAYMO,
    "flatformer_waymo_D1_2x_3class_2f": WAYMO,
    "flatformer_waymo_D1_2x_3class_3f": WAYMO,
    "flatformer_waymo_D5_1x_3class": WAYMO,
    "flatformer_waymo_D5_1x_3class_3f": WAYMO,
    "flatformer_nuscenes": (17_472, 1_059_840, 701_952, 74_240, 1_519_686),
    "centerpoint_pillar02_nuscenes": (832, 0, 4_207_616, 180_992, 1_593_414),
    "centerpoint_pillar02_nuscenes_circle": (832, 0, 4_207_616, 180_992, 1_593_414),
    "centerpoint_voxel_nuscenes": VOXEL,
    "centerpoint_voxel_nuscenes_circle": VOXEL,
    "centerpoint_voxel01_nuscenes_circle": VOXEL,
}


def model_of(cfg: Config) -> torch.nn.Module:
    """The model of a config, which gets no memory; skips where it needs an extra that is not installed."""
    if cfg.model.lidar_backbone.type == "SparseEncoder" and importlib.util.find_spec("spconv") is None:
        pytest.skip("spconv is not installed: pip install -e '.[sparse]'")
    with torch.device("meta"):
        return MODELS.build(cfg.model)


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("path", [*MODEL_CONFIGS, *MIXED_CONFIGS], ids=lambda path: path.stem)
def test_every_config_builds_a_model_whose_parts_fit(path):
    cfg = load_config(path)
    model = model_of(cfg)
    grid, strides = cfg.grid, model.bev_backbone.strides
    assert [round((cfg.point_range[3 + a] - cfg.point_range[a]) / cfg.voxel_size[a]) for a in (0, 1)] == list(grid)
    assert model.voxel_encoder.in_channels == len(model.data_preprocessor.channels)
    channels = getattr(model.lidar_backbone, "channels", model.voxel_encoder.channels)
    rows, columns = (size // getattr(model.lidar_backbone, "stride", 1) for size in (grid[1], grid[0]))
    assert all(size % max(strides) == 0 for size in (rows, columns))
    assert tuple(model.head.coder.voxel_size) == tuple(cfg.voxel_size[:2])
    canvas = torch.zeros(1, channels, rows, columns, device="meta")
    maps = model.head(model.neck(model.bev_backbone(canvas)))
    assert maps[0]["heatmap"].shape[2] * model.head.coder.out_size_factor == grid[1]


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_parameters_are_as_many_as_published(name):
    path = next(path for path in MODEL_CONFIGS if path.stem == name)
    model = model_of(load_config(path))
    assert tuple(parameters(getattr(model, part)) for part in PARTS) == PUBLISHED[name]
    assert parameters(model) == sum(PUBLISHED[name])


@pytest.mark.parametrize(("name", "total"), [
    ("flatformer_waymo_D1_2x_3class", 2_268_110), ("flatformer_nuscenes", 3_373_190),
    ("centerpoint_pillar02_nuscenes", 5_982_854), ("centerpoint_voxel_nuscenes", 8_938_262),
])
def test_published_totals(name, total):
    assert sum(PUBLISHED[name]) == total


@pytest.mark.parametrize(("name", "reach_m"), [("voxel_nuscenes", 54.0), ("voxel01_nuscenes_circle", 51.2)])
def test_a_voxel_model_trains_on_points_and_boxes_within_its_own_range(name, reach_m):
    cfg = load_config(CONFIGS / f"centerpoint_pillar/centerpoint_{name}.py")
    (kept,) = [step for step in cfg.train_dataloader.dataset.transforms if step.type == "RangeFilter"]
    ranges = [cfg.model.voxel_encoder.point_range, cfg.model.head.coder.point_range, cfg.point_range, kept.point_range]
    assert all(tuple(limits) == (-reach_m, -reach_m, -5.0, reach_m, reach_m, 3.0) for limits in ranges)
    assert cfg.model.lidar_backbone.grid == (*cfg.grid, 40)


def test_the_waymo_variants_differ_in_frames_and_epochs_only():
    folder = CONFIGS / "flatformer"
    one, three = (load_config(folder / f"flatformer_waymo_D1_2x_3class{suffix}.py") for suffix in ("", "_3f"))
    fifth = load_config(folder / "flatformer_waymo_D5_1x_3class_3f.py")
    assert one.model.data_preprocessor.channels[4] == "elongation"
    assert three.model.data_preprocessor.scales == {"time": -10.0}
    assert fifth.model == three.model
    assert (one.train_cfg.max_epochs, fifth.train_cfg.max_epochs) == (24, 12)
