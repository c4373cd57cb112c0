"""Keys of the authors' checkpoints: DAFormer (lhoyer/DAFormer) and the ImageNet encoders of SegFormer."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

STUDENT = "model."
_WB = r"(weight|bias)"
_UNIT = r"(conv\.weight|bn\.(?:weight|bias|running_mean|running_var|num_batches_tracked))"
_BACKBONE = r"(?:backbone\.)?"                       # the ImageNet encoders have no prefix
_FUSE = r"decode_head\.fuse_layer\."
_LAST = r"decode_head\.embed_layers\.(\d)\."
_BLOCK_PARTS = {"attn.sr": "attn.reduce", "mlp.fc1": "ffn.fc1", "mlp.fc2": "ffn.fc2", "mlp.dwconv.dwconv": "ffn.dwconv"}
_RELATIONS = {"global": "across", "local": "within"}


def _stage(match: re.Match[str]) -> str:
    """Stages count from 1 there."""
    return f"backbone.stages.{int(match['stage']) - 1}."


def _embed(match: re.Match[str]) -> str:
    return f"{_stage(match)}embed.{match[2]}.{match[3]}"


def _block(match: re.Match[str]) -> str:
    return f"{_stage(match)}blocks.{match[2]}.{_BLOCK_PARTS.get(match[3], match[3])}.{match[4]}"


def _norm(match: re.Match[str]) -> str:
    return f"{_stage(match)}norm.{match[2]}"


def _relation(match: re.Match[str]) -> str:
    return f"head.fusion.{_RELATIONS[match[1]]}.{match[2]}.{match[3]}"


RENAMES: tuple[Rename, ...] = (
    (_BACKBONE + rf"patch_embed(?P<stage>[1-4])\.(proj|norm)\.{_WB}", _embed),
    (
        _BACKBONE + r"block(?P<stage>[1-4])\.(\d+)\."
        rf"(norm[12]|attn\.(?:q|kv|proj|sr|norm)|mlp\.(?:fc[12]|dwconv\.dwconv))\.{_WB}",
        _block,
    ),
    (_BACKBONE + rf"norm(?P<stage>[1-4])\.{_WB}", _norm),
    (rf"decode_head\.conv_seg\.{_WB}", r"head.classifier.\1"),
    (_LAST + rf"proj\.{_WB}", r"head.embeds.\1.\2"),
    (_LAST + rf"0\.{_WB}", r"head.embeds.\1.project.\2"),
    (_LAST + rf"1\.aspp_modules\.(\d+)\.{_UNIT}", r"head.embeds.\1.context.branches.\2.\3"),
    (
        _LAST + rf"1\.aspp_modules\.(\d+)\.(depthwise|pointwise)_conv\.{_UNIT}",
        r"head.embeds.\1.context.branches.\2.\3.\4",
    ),
    (_LAST + rf"1\.bottleneck\.{_UNIT}", r"head.embeds.\1.context.bottleneck.\2"),
    (_FUSE + rf"aspp_modules\.(\d+)\.{_UNIT}", r"head.fusion.branches.\1.\2"),
    (_FUSE + rf"aspp_modules\.(\d+)\.(depthwise|pointwise)_conv\.{_UNIT}", r"head.fusion.branches.\1.\2.\3"),
    (_FUSE + rf"image_pool\.1\.{_UNIT}", r"head.fusion.pool.\1"),
    (_FUSE + rf"bottleneck\.{_UNIT}", r"head.fusion.bottleneck.\1"),
    (_FUSE + _UNIT, r"head.fusion.unit.\1"),
    (_FUSE + rf"in_conv\.{_UNIT}", r"head.fusion.project.\1"),
    (_FUSE + r"(global|local)_relation\.(query|key|output)_project\.((?:\d+\.)?(?:conv|bn)\.\w+)", _relation),
    (_FUSE + rf"(global|local)_relation\.(value)_project\.{_WB}", _relation),
)
DROPPED = (r"head\.(weight|bias)",)                  # ImageNet's classes


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `Segmentor`.

    Of a DAFormer checkpoint the student is taken; the teacher and the frozen encoder beside it are left out. An
    ImageNet encoder becomes the backbone alone.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    if any(key.startswith(STUDENT) for key in state):
        state = {key.removeprefix(STUDENT): value for key, value in state.items() if key.startswith(STUDENT)}
    return rename_keys(state, RENAMES, DROPPED)
