"""Keys of the authors' checkpoints (sail-sg/poolformer), and of the same weights in timm's names."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_ENTRY = r"network\.(?P<entry>\d+)\."                # stages, what reduces between them, and position maps, in one list
_MIXER = {"qkv": "in_proj", "proj": "out_proj", "fc": "fc"}
TIMM = (
    (r"stem\.conv\." + _WB, r"backbone.stages.0.embed.proj.\1"),
    (r"stages\.(\d+)\.downsample\.conv\." + _WB, r"backbone.stages.\1.embed.proj.\2"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.(norm[12])\." + _WB, r"backbone.stages.\1.blocks.\2.\3.\4"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.mlp\.(fc[12])\." + _WB, r"backbone.stages.\1.blocks.\2.channel_mixer.\3.\4"),
    (r"stages\.(\d+)\.blocks\.(\d+)\.layer_scale([12])\.scale", r"backbone.stages.\1.blocks.\2.scale\3.gamma"),
    (r"head\.norm\." + _WB, r"norm.\1"),
    (r"head\.fc\." + _WB, r"head.\1"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `BackboneClassifier` with a `MetaFormer`.

    A network made for dense maps gives the backbone's keys alone. The 1x1 convolutions of its feed-forward layers
    become linear layers.

    Args:
        state: a whole state_dict: the stage of an entry shows in how many reductions stand before it.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    mapped = rename_keys(state, (*_renames(state), *TIMM))
    return {key: value.flatten(1) if _is_linear(key) and value.dim() == 4 else value for key, value in mapped.items()}


def _is_linear(key: str) -> bool:
    return re.search(r"\.channel_mixer\.fc[12]\.weight$", key) is not None


def _renames(state: Mapping[str, Tensor]) -> tuple[Rename, ...]:
    matches = [re.fullmatch(_ENTRY + r"proj\.weight", key) for key in state]
    reductions = [int(match["entry"]) for match in matches if match is not None]

    def stage(match: re.Match[str]) -> str:
        return f"backbone.stages.{sum(entry <= int(match['entry']) for entry in reductions)}."

    def out_norm(match: re.Match[str]) -> str:
        return f"backbone.out_norms.{sum(entry < int(match['entry']) for entry in reductions)}.{match[2]}"

    return (
        (r"patch_embed\.proj\." + _WB, r"backbone.stages.0.embed.proj.\1"),
        (_ENTRY + r"proj\." + _WB, lambda match: f"{stage(match)}embed.proj.{match[2]}"),
        (_ENTRY + r"pos_embed", lambda match: f"{stage(match)}position.table"),
        (_ENTRY + r"(\d+)\.(norm[12])\." + _WB, lambda match: f"{stage(match)}blocks.{match[2]}.{match[3]}.{match[4]}"),
        (
            _ENTRY + r"(\d+)\.mlp\.(fc[12])\." + _WB,
            lambda match: f"{stage(match)}blocks.{match[2]}.channel_mixer.{match[3]}.{match[4]}",
        ),
        (
            _ENTRY + r"(\d+)\.token_mixer\.(qkv|proj|fc)\." + _WB,
            lambda match: f"{stage(match)}blocks.{match[2]}.token_mixer.{_MIXER[match[3]]}.{match[4]}",
        ),
        (_ENTRY + r"(\d+)\.layer_scale_([12])", lambda match: f"{stage(match)}blocks.{match[2]}.scale{match[3]}.gamma"),
        (r"norm(?P<entry>\d+)\." + _WB, out_norm),
        (r"(norm|head)\." + _WB, r"\1.\2"),
    )
