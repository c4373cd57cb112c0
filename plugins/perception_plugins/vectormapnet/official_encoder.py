"""Keys of the encoder and the neck in checkpoints of the authors' code (Mrmoore98/VectorMapNet_code)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

CAMERA, LIDAR = "bev_encoder.camera.", "bev_encoder.lidar."
POINT_WEIGHT = f"{LIDAR}point_layer.linear.weight"


def _upsampling_unit(match: re.Match[str]) -> str:
    """Levels count from 1 there, since the finest one has no units."""
    part = {"conv": "conv", "gn": "norm"}[match[3]]
    return f"{CAMERA}upsample.levels.{int(match[1]) - 1}.{match[2]}.{part}.{match[4]}"


def _unit_of_stage(match: re.Match[str]) -> str | None:
    """A stage is one flat sequence there: convolution 3i, normalisation 3i + 1, ReLU 3i + 2."""
    unit, part = _unit_and_part(int(match[2]))
    return part and f"{LIDAR}backbone.stages.{int(match[1]) - 1}.{unit}.{part}.{match[3]}"


def _unit_of_join(match: re.Match[str]) -> str | None:
    """Likewise, with a bare convolution at the end."""
    unit, part = _unit_and_part(int(match[1]))
    return part and (f"{LIDAR}join.2.{match[2]}" if unit == 2 else f"{LIDAR}join.{unit}.{part}.{match[2]}")


def _unit_after_upsampling(match: re.Match[str]) -> str | None:
    """The first level needs no upsampling, which stands first in the others."""
    level = int(match[1]) - 1
    _, part = _unit_and_part(int(match[2]) - (level > 0))
    return part and f"{LIDAR}ups.{level}.{part}.{match[3]}"


def _unit_and_part(place: int) -> tuple[int, str | None]:
    unit, kind = divmod(place, 3)
    return unit, {0: "conv", 1: "bn"}.get(kind)


RENAMES: tuple[Rename, ...] = (
    (r"backbone\.img_backbone\.(.+)", rf"{CAMERA}image_backbone.\1"),
    (r"backbone\.img_neck\.lateral_convs\.(\d+)\.(conv|bn)\.(\w+)", rf"{CAMERA}image_neck.laterals.\1.\2.\3"),
    (r"backbone\.img_neck\.fpn_convs\.(\d+)\.(conv|bn)\.(\w+)", rf"{CAMERA}image_neck.outputs.\1.\2.\3"),
    (r"backbone\.upsample\.fscale\.([1-9])\.(\d+)\.(conv|gn)\.(\w+)", _upsampling_unit),
    (r"backbone\.bev_planes", f"{CAMERA}lift.bev_planes"),
    (r"backbone\.outconvs\.(\w+)", rf"{CAMERA}output.\1"),
    (r"backbone\.pp\.pn\.pointnet\.0\.weight", POINT_WEIGHT),
    (r"backbone\.pp\.pn\.pointnet\.1\.(\w+)", rf"{LIDAR}point_layer.norm.\1"),
    (r"backbone\.pp\.block([1-3])\.layers\.(\d+)\.(\w+)", _unit_of_stage),
    (r"backbone\.pp\.up([1-3])\.(\d+)\.(\w+)", _unit_after_upsampling),
    (r"backbone\.pp\.conv_out\.(\d+)\.(\w+)", _unit_of_join),
    (r"backbone\.outconvs_lidar\.(\w+)", rf"{LIDAR}output.\1"),
    (r"neck\.0\.weight", "neck.conv.weight"),
    (r"neck\.1\.(\w+)", r"neck.bn.\1"),
    (r"neck\.4\.([01])\.((?:conv|bn)[12])\.(\w+)", r"neck.blocks.\1.\2.\3"),
    (r"neck\.5\.weight", "neck.output.weight"),
)
DROPPED = (
    r"backbone\.masked_embeds\.weight",              # never used there
    r"backbone\.img_backbone\.conv1\.bias",          # of the Caffe initialisation
    r"conv1x1\.weight",                              # a stray one of the released file
)


def load_official_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of the encoder and the neck to those of `MapGenerator`.

    Raises:
        CheckpointError: a key belongs to another part or architecture; all such keys are listed.
    """
    return with_linear_point_layer(rename_keys(state, RENAMES, DROPPED))


def with_linear_point_layer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The renamed state whose point layer is linear instead of a convolution of size 1: (C, C_in, 1) -> (C, C_in)."""
    return {key: value.squeeze(2) if key == POINT_WEIGHT else value for key, value in state.items()}
