"""CenterPoint over pillars against the library's own inputs, states, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from center_cases import Golden, check_decode, check_head, check_losses, check_targets, load_state, read_golden

from perception.models.key_map import rename_part
from perception.models.pillar_scatter import PillarScatter
from perception.models.voxel_encoders.hard_pillar import HardPillar
from perception_plugins.centerpoint_pillar import load_official


def _head(golden: Golden) -> None:
    check_head(golden, rename_part(golden.state, load_official, "pts_bbox_head.", "head."))


def _pillar_hard(golden: Golden) -> None:
    config, state = golden.config, rename_part(golden.state, load_official, "pts_voxel_encoder.", "voxel_encoder.")
    points = [golden.inputs[f"points{i}"] for i in range(len(golden.inputs))]
    for legacy, suffix in ((False, ""), (True, "_legacy")):
        encoder = HardPillar(
            config["in_channels"], config["feat_channels"], voxel_size=config["voxel_size"],
            point_range=config["point_cloud_range"], max_points=config["max_num_points"],
            max_voxels=(config["max_voxels"],) * 2, legacy=legacy, eps=config["norm_cfg"]["eps"],
        )
        load_state(encoder, state)
        voxels, coords, counts = encoder.voxelize(points)
        assert torch.equal(voxels, golden.out["voxels"])
        assert torch.equal(coords, golden.out["coors"])
        assert torch.equal(counts.int(), golden.out["num_points"])
        features, coords = encoder(points)
        torch.testing.assert_close(features, golden.out[f"pillar_feats{suffix}"], atol=1e-5, rtol=1e-4)
    ny, nx = config["output_shape"]
    canvas = PillarScatter((nx, ny))(golden.out["pillar_feats"], coords, len(points))
    torch.testing.assert_close(canvas, golden.out["canvas"], atol=1e-5, rtol=1e-4)


CASES: dict[str, Callable[[Golden], None]] = {
    "centerhead_nus_head": _head,
    "centerhead_nus_targets": check_targets,
    "centerhead_nus_losses": check_losses,
    "centerhead_nus_decode": check_decode,
    "pillar_hard": _pillar_hard,
}


@pytest.mark.golden_files("centerpoint_pillar")
def test_centerpoint_pillar_equals_the_library(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
