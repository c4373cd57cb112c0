"""Keys of the authors' released weights (ming053l/DRCT), of all variants and scales."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_LAYER = r"layers\.(\d+)\.swin([1-5])\."


def _of_layer(name: str) -> Callable[[re.Match[str]], str]:
    """A replacement for what lies in one of the five layers of a group, which are counted from 1 there."""

    def rename(match: re.Match[str]) -> str:
        return f"network.groups.{match[1]}.layers.{int(match[2]) - 1}." + match.expand(name)

    return rename


def _adjust(match: re.Match[str]) -> str:
    return f"network.groups.{match[1]}.adjust.{int(match[2]) - 1}.{match[3]}"


RENAMES: tuple[Rename, ...] = (
    (r"conv_first\." + _WB, r"network.conv_first.\1"),
    (r"patch_embed\.norm\." + _WB, r"network.embed_norm.\1"),
    ("absolute_pos_embed", "network.position"),
    (_LAYER + r"norm([12])\." + _WB, _of_layer(r"norm\3.\4")),
    (_LAYER + r"attn\.relative_position_bias_table", _of_layer("attention.bias_table")),
    (_LAYER + r"attn\.(qkv|proj)\." + _WB, _of_layer(r"attention.\3.\4")),
    (_LAYER + r"mlp\.(fc[12])\." + _WB, _of_layer(r"mlp.\3.\4")),
    (r"layers\.(\d+)\.adjust([1-5])\." + _WB, _adjust),
    (r"norm\." + _WB, r"network.norm.\1"),
    (r"conv_after_body\." + _WB, r"network.body_conv.\1"),
    (r"conv_before_upsample\.0\." + _WB, r"network.before_upsample.0.\1"),
    (r"upsample\.(\d+)\." + _WB, r"network.upsample.\1.\2"),
    (r"conv_last\." + _WB, r"network.conv_last.\1"),
)
DROPPED = (_LAYER + r"attn\.relative_position_index", _LAYER + "attn_mask")      # computed anew here


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of `SuperResolver`; 1x1 convolutions become linear layers.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    renamed = rename_keys(state, RENAMES, DROPPED)
    return {
        key: value.flatten(1) if ".adjust." in key and key.endswith("weight") else value
        for key, value in renamed.items()
    }
