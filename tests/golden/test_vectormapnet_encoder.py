"""The encoders and the neck of VectorMapNet against the authors' own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception.models.key_map import rename_part
from perception.models.lifts.plane_ipm import PlaneIPM
from perception_plugins.vectormapnet import VectorMapNetNeck
from perception_plugins.vectormapnet.camera_encoder import IMAGE_BACKBONE, CameraEncoder
from perception_plugins.vectormapnet.official_encoder import load_official_encoder
from perception_plugins.vectormapnet.pillar_encoder import PillarEncoder


def plane(config: Mapping[str, Any]) -> dict[str, Any]:
    """Region and grid of a file, whose bounds are (low, high, step) along each axis."""
    (x0, x1, dx), (y0, y1, dy) = config["xbound"], config["ybound"]
    return {"region": (x0, y0, x1, y1), "grid": (int((x1 - x0) / dx), int((y1 - y0) / dy))}


def compare(golden: Golden, ours: Mapping[str, Tensor], close: Callable[[Tensor, Tensor], None]) -> None:
    """Every output of the file by name; ours may have more."""
    assert golden.out
    for name, expected in golden.out.items():
        if expected.is_floating_point():
            close(ours[name], expected)
        else:
            assert torch.equal(ours[name].to(expected.dtype), expected), name


@pytest.mark.golden_files("vectormapnet", pattern="ipm*.safetensors")
def test_the_lift_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    config, projection = golden.config, golden.inputs["ego2img"]
    lift = PlaneIPM(**plane(config), heights=config["heights"])
    features = golden.inputs["cam_feat"].unflatten(0, projection.shape[:2]).requires_grad_()
    locations, visible = lift.project(projection, config["img_hw"])
    projected = lift.lift(features, projection, config["img_hw"]).permute(0, 4, 1, 2, 3)
    ours = {
        "bev_planes": lift.bev_planes,
        "sample_grid": locations.flatten(0, 1),
        "cam_mask": visible,
        "valid": visible.any(dim=1).view(len(projected), 1, *projected.shape[2:]),
        "projected": projected,
        "flattened": lift(features, projection, config["img_hw"]),
    }
    grid = golden.out.pop("sample_grid", None)
    if grid is not None:
        torch.testing.assert_close(ours["sample_grid"], grid, atol=1e-4, rtol=1e-3)  # huge beside a camera
    compare(golden, ours, lambda got, want: torch.testing.assert_close(got, want, atol=1e-5, rtol=0))
    if golden.grad:
        (projected * golden.inputs["grad_weight"]).sum().backward()
        torch.testing.assert_close(features.grad.flatten(0, 1), golden.grad["cam_feat"], atol=1e-5, rtol=0)


@pytest.mark.golden_files("vectormapnet", pattern="camera_encoder*.safetensors")
def test_the_camera_branch_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    config, images = golden.config, golden.inputs["img"]
    base = config["base_channels"]
    widths = {"base_channels": base, "stem_channels": config.get("stem_channels", base)}
    encoder = CameraEncoder(
        config["out_channels"], **plane(config), heights=config["heights"], image_channels=config["fpn_channels"],
        image_backbone={**IMAGE_BACKBONE, **widths},
    )
    load_state(encoder, rename_part(golden.state, load_official_encoder, "backbone.", "bev_encoder.camera."))
    stages = encoder.image_backbone(images.flatten(0, 1))
    levels = encoder.image_neck(stages)
    ours = {f"stage{i}": x for i, x in enumerate(stages)} | {f"fpn{i}": x for i, x in enumerate(levels)}
    ours["img_feat"] = encoder.picture_features(images.flatten(0, 1))
    ours["bev"] = encoder(images, golden.inputs["ego2img"])

    def close(got: Tensor, want: Tensor) -> None:
        torch.testing.assert_close(got, want, atol=1e-4 * want.abs().max().item(), rtol=0)

    compare(golden, ours, close)


@pytest.mark.golden_files("vectormapnet", pattern="lidar_encoder*.safetensors")
def test_the_lidar_branch_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    config, points = golden.config, golden.inputs["points"]
    B, P, C = points.shape
    encoder = PillarEncoder(
        config["out_channels"], **plane(config), z_range=config["zbound"][:2], in_channels=C, base=config["base"],
        hidden_channels=config["C"], as_released=True,
    )
    load_state(encoder, rename_part(golden.state, load_official_encoder, "backbone.", "bev_encoder.lidar."))
    batch = torch.arange(B).repeat_interleave(P)
    described = encoder.describe(points.flatten(0, 1), batch, B, golden.inputs["points_mask"].flatten() == 0)
    nx, ny, _ = encoder.grid.shape
    pillars = encoder.pillar_map(described, B)
    hidden = encoder.join_stages(pillars)
    ours = {
        "voxel_indices": (described.pillars - batch * nx * ny).view(B, P),
        "points_mask": described.inside.float().view(B, P),
        "voxel_point_count": described.features[:, C].view(B, P),
        "point_features15": described.features.view(B, P, -1),
        "pillars": pillars,
        "lidar_bev": hidden,
        "outconvs_lidar": encoder.output(hidden),
    }
    compare(golden, ours, lambda got, want: torch.testing.assert_close(got, want, atol=1e-4, rtol=0))


@pytest.mark.golden_files("vectormapnet", pattern="bev_neck*.safetensors")
def test_the_neck_equals_the_authors_code(golden_file: Path):
    golden = read_golden(golden_file)
    config = golden.config
    neck = VectorMapNetNeck(config["in_channels"], config["out"], hidden_channels=config["mid"])
    load_state(neck, rename_part(golden.state, load_official_encoder, "", "neck."))
    ours = {"bev": neck(golden.inputs["bev"])}
    compare(golden, ours, lambda got, want: torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5))
