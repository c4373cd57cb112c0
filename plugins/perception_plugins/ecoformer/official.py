"""Keys of the authors' checkpoints (ziplab/EcoFormer), and of the PVTv2 that these begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(?P<name>weight|bias)"
_BLOCK = r"(?:block(?P<pvt>\d+)|blocks\.(?P<twins>\d+))\.(?P<block>\d+)\."
_LAYERS = {
    "attn.qkv": "token_mixer.in_proj", "attn.to_qk": "token_mixer.to_qk", "attn.to_v": "token_mixer.to_v",
    "attn.q": "token_mixer.q", "attn.kv": "token_mixer.kv", "attn.sr": "token_mixer.reduce",
    "attn.norm": "token_mixer.norm", "mlp.fc1": "channel_mixer.fc1", "mlp.fc2": "channel_mixer.fc2",
    "mlp.dwconv.dwconv": "channel_mixer.dwconv", "norm1": "norm1", "norm2": "norm2",
}
_HASH = {"A": "projections", "mvec": "mean", "anchor": "anchors"}
_DROPPED = (_BLOCK + r"attn\.fast_attention\.projection_matrix",)      # random features of another attention, unused


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `BackboneClassifier` with one of the two hosts.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    names = "|".join(re.escape(name) for name in _LAYERS)

    def layer(match: re.Match[str]) -> str:
        return f"{_block(match)}{_LAYERS[match['layer']]}.{match['name']}"

    def projection(match: re.Match[str]) -> str:
        apart = match[0].removesuffix(f"proj.{match['name']}") + "kv.weight" in state
        return f"{_block(match)}token_mixer.{'proj' if apart else 'out_proj'}.{match['name']}"

    renames: tuple[Rename, ...] = (
        (r"patch_embed(?P<pvt>\d+)\.(?P<part>proj|norm)\." + _WB, _embedding),
        (r"patch_embeds\.(?P<twins>\d+)\.(?P<part>proj|norm)\." + _WB, _embedding),
        (_BLOCK + rf"(?P<layer>{names})\." + _WB, layer),
        (_BLOCK + r"attn\.proj\." + _WB, projection),
        (
            _BLOCK + r"attn\.fast_attention\.ksh\.(?P<hash>A|mvec|anchor)",
            lambda match: f"{_block(match)}token_mixer.hash.{_HASH[match['hash']]}",
        ),
        (r"pos_block\.(\d+)\.proj\.0\." + _WB, r"backbone.stages.\1.blocks.1.conv.\g<name>"),
        (r"norm(?P<pvt>\d+)\." + _WB, lambda match: f"backbone.stages.{int(match['pvt']) - 1}.norm.{match['name']}"),
        (r"(norm|head)\." + _WB, r"\1.\g<name>"),
    )
    return rename_keys(state, renames, _DROPPED)


def _embedding(match: re.Match[str]) -> str:
    return f"backbone.stages.{_stage(match)}.embed.{match['part']}.{match['name']}"


def _block(match: re.Match[str]) -> str:
    """Ours counts the position code of a Twins stage, which follows the first block, as one of the blocks."""
    number = int(match["block"])
    place = number + 1 if number and match["twins"] is not None else number
    return f"backbone.stages.{_stage(match)}.blocks.{place}."


def _stage(match: re.Match[str]) -> int:
    groups = match.groupdict()
    return int(groups["pvt"]) - 1 if groups.get("pvt") is not None else int(groups["twins"])
