"""Keys of checkpoints trained with the authors' code (mit-han-lab/flatformer)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import rename_keys

PARTS = {                                            # prefix there -> prefix here
    "voxel_encoder.": "voxel_encoder.",
    "middle_encoder.": "lidar_backbone.",
    "backbone.": "bev_backbone.",
    "neck.": "neck.",
    "bbox_head.": "head.",
}
_LAYER = r"middle_encoder\.block_list\.(\d+)\.block\.([0-3])\."
RENAMES = (
    (r"voxel_encoder\.vfe_layers\.(\d+)\.(linear|norm)\.(\w+)", r"voxel_encoder.layers.\1.\2.\3"),
    (_LAYER + r"attn\.attn\.in_proj_(weight|bias)", r"lidar_backbone.blocks.\1.layers.\2.mixer.qkv.\3"),
    (_LAYER + r"attn\.attn\.out_proj\.(weight|bias)", r"lidar_backbone.blocks.\1.layers.\2.mixer.proj.\3"),
    (_LAYER + r"(fc[12])\.(weight|bias)", r"lidar_backbone.blocks.\1.layers.\2.ffn.\3.\4"),
    (_LAYER + r"(norm[12])\.(weight|bias)", r"lidar_backbone.blocks.\1.layers.\2.\3.\4"),
    (r"backbone\.blocks\.(\d+)\.(\d+)\.0\.weight", r"bev_backbone.stages.\1.\2.conv.weight"),
    (r"backbone\.blocks\.(\d+)\.(\d+)\.1\.(\w+)", r"bev_backbone.stages.\1.\2.bn.\3"),
    (r"neck\.deblocks\.(\d+)\.0\.weight", r"neck.stages.\1.conv.weight"),
    (r"neck\.deblocks\.(\d+)\.1\.(\w+)", r"neck.stages.\1.bn.\2"),
    (r"bbox_head\.shared_conv\.(conv|bn)\.(\w+)", r"head.shared.\1.\2"),
    (r"bbox_head\.task_heads\.(\d+)\.(\w+)\.(\d+)\.((?:conv\.|bn\.)?\w+)", r"head.task_heads.\1.\2.\3.\4"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of `Detector`.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES)
