"""Keys of the pillar checkpoints of CenterPoint that OpenMMLab has released (open-mmlab/mmdetection3d, from 1.0 on)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.errors import CheckpointError
from perception.models.key_map import Rename, rename_keys

PARTS = {                                            # prefix there -> prefix here
    "pts_voxel_encoder.": "voxel_encoder.",
    "pts_backbone.": "bev_backbone.",
    "pts_neck.": "neck.",
    "pts_bbox_head.": "head.",
}
FIRST_WEIGHT = "pts_voxel_encoder.pfn_layers.0.linear.weight"


def _unit_of_stage(match: re.Match[str]) -> str | None:
    """A stage is one flat sequence there: convolution 3i, normalisation 3i + 1, ReLU 3i + 2."""
    stage, (unit, kind), name = match[1], divmod(int(match[2]), 3), match[3]
    if kind == 0 and name == "weight":
        return f"bev_backbone.stages.{stage}.{unit}.conv.weight"
    return f"bev_backbone.stages.{stage}.{unit}.bn.{name}" if kind == 1 else None


_BN = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
RENAMES: tuple[Rename, ...] = (
    (r"pts_voxel_encoder\.pfn_layers\.(\d+)\.(linear|norm)\.(\w+)", r"voxel_encoder.layers.\1.\2.\3"),
    (rf"pts_backbone\.blocks\.(\d+)\.(\d+)\.{_BN}", _unit_of_stage),
    (r"pts_neck\.deblocks\.(\d+)\.0\.weight", r"neck.stages.\1.conv.weight"),
    (rf"pts_neck\.deblocks\.(\d+)\.1\.{_BN}", r"neck.stages.\1.bn.\2"),
    (r"pts_bbox_head\.shared_conv\.(conv|bn)\.(\w+)", r"head.shared.\1.\2"),
    (r"pts_bbox_head\.task_heads\.(\d+)\.(\w+)\.(\d+)\.((?:conv\.|bn\.)?\w+)", r"head.task_heads.\1.\2.\3.\4"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a released state_dict to those of `Detector`.

    Raises:
        CheckpointError: a key belongs to another architecture, such as the voxel form; all such keys are listed.
    """
    return rename_keys(state, RENAMES)


def config_options(state: Mapping[str, Tensor], point_channels: int = 5) -> dict[str, Any]:
    """Config overrides that a released state_dict needs; older releases know no offset from a pillar's centre along z.

    Args:
        state: tensors by official key.
        point_channels: channels of a point.

    Raises:
        CheckpointError: the first layer of the pillar encoder is absent or of another width.
    """
    if FIRST_WEIGHT not in state:
        raise CheckpointError(f"the checkpoint has no {FIRST_WEIGHT}: it is not a pillar model")
    width, full = state[FIRST_WEIGHT].shape[1], point_channels + 6
    if width not in (full - 1, full):
        raise CheckpointError(f"{FIRST_WEIGHT} takes {width} inputs, expected {full - 1} or {full}")
    return {} if width == full else {"model.voxel_encoder.center_z": False}
