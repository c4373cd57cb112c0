"""Keys of checkpoints trained with the authors' code or its refactored form (AliSerwat/Refactored-DuoFormer)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_CNN, _NECK, _VIT = "backbone.cnn.", "backbone.neck.", r"vision_transformer\."


def _stage(match: re.Match[str]) -> str:
    """The children of the ResNet without its classifier are numbered: 4 to 7 are its stages."""
    return f"{_CNN}layer{int(match[1]) - 3}.{match[2]}"


RENAMES: tuple[Rename, ...] = (
    (r"resnet_projector\.0\.weight", f"{_CNN}conv1.weight"),
    (r"resnet_projector\.1\.(\w+)", rf"{_CNN}bn1.\1"),
    (r"resnet_projector\.([4-7])\.(.+)", _stage),
    (r"projection\.proj_heads([0-3])\." + _WB, rf"{_NECK}projections.\1.\2"),
    (r"channel_token", f"{_NECK}scale_token.token"),
    (r"channel_proj1\.conv1\." + _WB, rf"{_NECK}scale_token.level0.0.\1"),
    (r"channel_proj1\.conv2\." + _WB, rf"{_NECK}scale_token.level0.1.\1"),
    (r"channel_proj2\.conv1\." + _WB, rf"{_NECK}scale_token.level1.\1"),
    (r"channel_proj_all\.nConvs\.(\d)\.conv\." + _WB, rf"{_NECK}scale_token.units.\1.conv.\2"),
    (r"channel_proj_all\.nConvs\.(\d)\.norm\.(\w+)", rf"{_NECK}scale_token.units.\1.bn.\2"),
    (_VIT + r"pos_embed_for_scale", f"{_NECK}scale_position"),
    (_VIT + r"cls_token", f"{_NECK}class_token"),
    (_VIT + r"pos_embed", f"{_NECK}position"),
    (_VIT + r"scale_blocks\.(\d+)\.(norm[12])\." + _WB, rf"{_NECK}scale_blocks.\1.\2.\3"),
    (_VIT + r"scale_blocks\.(\d+)\.attn\.qkv\." + _WB, rf"{_NECK}scale_blocks.\1.token_mixer.in_proj.\2"),
    (_VIT + r"scale_blocks\.(\d+)\.attn\.proj\." + _WB, rf"{_NECK}scale_blocks.\1.token_mixer.out_proj.\2"),
    (_VIT + r"scale_blocks\.(\d+)\.mlp\.(fc[12])\." + _WB, rf"{_NECK}scale_blocks.\1.channel_mixer.\2.\3"),
    (_VIT + r"blocks\.(\d+)\.attn\.qkv\." + _WB, rf"{_NECK}patch_blocks.\1.attention.in_proj.\2"),
    (_VIT + r"blocks\.(\d+)\.attn\.proj\." + _WB, rf"{_NECK}patch_blocks.\1.attention.out_proj.\2"),
    (_VIT + r"blocks\.(\d+)\.attn\.([qk]_norm)\." + _WB, rf"{_NECK}patch_blocks.\1.attention.\2.\3"),
    (_VIT + r"fc_norm\." + _WB, r"norm.\1"),
    (_VIT + r"head\." + _WB, r"head.\1"),
)
DROPPED = (_VIT + r"scale_blocks\.\d+\.attn\.[qk]_norm\." + _WB,)     # the authors' code makes them and never uses them


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `DuoFormerClassifier`.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES, DROPPED)
