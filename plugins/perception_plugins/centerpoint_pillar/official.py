"""Keys of the checkpoints of CenterPoint that OpenMMLab has released (open-mmlab/mmdetection3d, from 1.0 on)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.errors import CheckpointError
from perception.models.key_map import Rename, rename_keys

PARTS = {                                            # prefix there -> prefix here
    "pts_voxel_encoder.": "voxel_encoder.",
    "pts_middle_encoder.": "lidar_backbone.",
    "pts_backbone.": "bev_backbone.",
    "pts_neck.": "neck.",
    "pts_bbox_head.": "head.",
}
FIRST_WEIGHT = "pts_voxel_encoder.pfn_layers.0.linear.weight"
FIRST_SPARSE_WEIGHT = "pts_middle_encoder.conv_input.0.weight"
SPARSE_KERNELS = ((3, 3, 3), (3, 1, 1))


def _unit_of_stage(match: re.Match[str]) -> str | None:
    """A stage is one flat sequence there: convolution 3i, normalisation 3i + 1, ReLU 3i + 2."""
    stage, (unit, kind), name = match[1], divmod(int(match[2]), 3), match[3]
    if kind == 0 and name == "weight":
        return f"bev_backbone.stages.{stage}.{unit}.conv.weight"
    return f"bev_backbone.stages.{stage}.{unit}.bn.{name}" if kind == 1 else None


def _block(match: re.Match[str]) -> str:
    """Stages of the sparse encoder count from 1 there."""
    return f"lidar_backbone.stages.{int(match[1]) - 1}.{match[2]}"


def _down(match: re.Match[str]) -> str:
    """The convolution that leads to the next stage is the last member of a stage there, of two parts."""
    return f"lidar_backbone.downs.{int(match[1]) - 1}.{'conv' if match[2] == '0' else 'bn'}.{match[3]}"


_BN = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
RENAMES: tuple[Rename, ...] = (
    (r"pts_voxel_encoder\.pfn_layers\.(\d+)\.(linear|norm)\.(\w+)", r"voxel_encoder.layers.\1.\2.\3"),
    (r"pts_middle_encoder\.conv_input\.0\.weight", r"lidar_backbone.stem.conv.weight"),
    (rf"pts_middle_encoder\.conv_input\.1\.{_BN}", r"lidar_backbone.stem.bn.\1"),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer([1-9])\.(\d+\.(?:conv|bn)[12]\.\w+)", _block),
    (r"pts_middle_encoder\.encoder_layers\.encoder_layer([1-9])\.\d+\.([01])\.(\w+)", _down),
    (r"pts_middle_encoder\.conv_out\.0\.weight", r"lidar_backbone.end.conv.weight"),
    (rf"pts_middle_encoder\.conv_out\.1\.{_BN}", r"lidar_backbone.end.bn.\1"),
    (rf"pts_backbone\.blocks\.(\d+)\.(\d+)\.{_BN}", _unit_of_stage),
    (r"pts_neck\.deblocks\.(\d+)\.0\.weight", r"neck.stages.\1.conv.weight"),
    (rf"pts_neck\.deblocks\.(\d+)\.1\.{_BN}", r"neck.stages.\1.bn.\2"),
    (r"pts_bbox_head\.shared_conv\.(conv|bn)\.(\w+)", r"head.shared.\1.\2"),
    (r"pts_bbox_head\.task_heads\.(\d+)\.(\w+)\.(\d+)\.((?:conv\.|bn\.)?\w+)", r"head.task_heads.\1.\2.\3.\4"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a released state_dict to those of `Detector`; sparse weights come to the layout of spconv 2.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return {
        key: _output_first(value) if key.startswith("lidar_backbone.") else value
        for key, value in rename_keys(state, RENAMES).items()
    }


def _output_first(weight: Tensor) -> Tensor:
    """(kD, kH, kW, in, out), as operators before spconv 2 kept it, to (out, kD, kH, kW, in); others as they are."""
    is_output_last = weight.ndim == 5 and weight.shape[:3] in SPARSE_KERNELS and weight.shape[1:4] not in SPARSE_KERNELS
    return weight.permute(4, 0, 1, 2, 3).contiguous() if is_output_last else weight


def config_options(state: Mapping[str, Tensor], point_channels: int = 5) -> dict[str, Any]:
    """Config overrides that a released state_dict needs; older releases know no offset from a pillar's centre along z.

    Args:
        state: tensors by official key.
        point_channels: channels of a point.

    Raises:
        CheckpointError: it is neither a pillar nor a voxel model, or the pillar encoder is of another width.
    """
    if FIRST_SPARSE_WEIGHT in state:
        return {}
    if FIRST_WEIGHT not in state:
        raise CheckpointError(
            f"the checkpoint has neither {FIRST_WEIGHT} nor {FIRST_SPARSE_WEIGHT}: it is no pillar or voxel model"
        )
    width, full = state[FIRST_WEIGHT].shape[1], point_channels + 6
    if width not in (full - 1, full):
        raise CheckpointError(f"{FIRST_WEIGHT} takes {width} inputs, expected {full - 1} or {full}")
    return {} if width == full else {"model.voxel_encoder.center_z": False}
