"""Keys of the authors' checkpoints (xinghaochen/SLAB): DeiT, PVT, Swin, CSWin, and the Swin of their detectors."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from torch import Tensor

from perception.errors import CheckpointError
from perception.models.key_map import Rename, rename_keys
from perception.models.token_layout import map_of

_WB = r"(weight|bias)"
_REP = r"alpha|bn\.(?:weight|bias|running_mean|running_var|num_batches_tracked)"
_P = rf"({_REP}|warm|iter|total_step|norm1\.(?:weight|bias)|norm2\.(?:{_REP}))"      # of a RepBN or a PRepBN
MAX_STAGES = 6
DROPPED = (r".*\.attn_mask", r".*\.relative_position_index", r".*attns\.\d\.scale")     # made anew, or without use

LINEAR: tuple[tuple[str, str], ...] = (              # parts of a mixer, whose group 1 is the block
    (rf"attn\.(qkv|q|kv|proj)\.{_WB}", r"\2.\3"),
    (rf"attn\.dwc\.{_WB}", r"core.dwc.\2"),
    (r"attn\.positional_encoding", "core.position"),
)
REDUCED = (*LINEAR, (rf"attn\.sr\.{_WB}", r"reduce.\2"), (rf"attn\.norm\.{_P}", r"norm.\2"))
WINDOWS = (*LINEAR, (r"attn\.relative_position_bias_table", "bias_table"))
STRIPES = (
    (rf"(qkv|proj)\.{_WB}", r"\2.\3"),
    (rf"attns\.(\d)\.get_v\.{_WB}", r"attns.\2.get_v.\3"),
    (rf"attns\.(\d)\.dwc\.{_WB}", r"attns.\2.core.dwc.\3"),
    (r"attns\.(\d)\.positional_encoding", r"attns.\2.core.position"),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a classifier with one of our backbones.

    A detector's backbone gives the keys of the backbone alone. Tables of positions become maps, and DeiT's class token
    takes its position up. What the authors' code keeps without use, or makes anew, is left out.

    Args:
        state: a whole state_dict: the other keys tell which network it is, and which attention a block of DeiT has.

    Raises:
        CheckpointError: a key belongs to another architecture (all such keys are listed), or positions form no square.
    """
    has_linear_column = any(_is_linear_column(state, key) for key in state)
    dropped = (*DROPPED, "cls_token") if has_linear_column else DROPPED
    mapped = rename_keys(state, _renames(state), dropped)
    for key in [key for key in mapped if key.endswith("position.table")]:
        table, own_place = _position_map(key, mapped[key])
        mapped[key] = table
        if own_place is not None and "backbone.class_token" in mapped:
            mapped["backbone.class_token"] = mapped["backbone.class_token"] + own_place
    return mapped


def _renames(state: Mapping[str, Tensor]) -> tuple[Rename, ...]:
    def projection(match: re.Match[str]) -> str:
        linear = _is_linear_column(state, match[0])
        name = match[2] if linear else {"qkv": "in_proj", "proj": "out_proj"}[match[2]]
        return f"backbone.blocks.{match[1]}.token_mixer.{name}.{match[3]}"

    has_stages = any(key.startswith("patch_embed.norm.") for key in state)
    stem = "backbone.stages.0.embed." if has_stages else "backbone.embed."
    stages = [rename for stage in range(MAX_STAGES) for rename in _stage(stage)]
    return (
        (r"cls_token", "backbone.class_token"),
        (r"pos_embed", "backbone.position.table"),
        (rf"patch_embed\.proj\.{_WB}", rf"{stem}proj.\1"),
        (rf"patch_embed\.norm\.{_P}", rf"{stem}norm.\1"),
        (rf"blocks\.(\d+)\.attn\.(qkv|proj)\.{_WB}", projection),
        *_block(r"blocks\.(\d+)\.", r"backbone.blocks.\1.", LINEAR),
        (rf"stage1_conv_embed\.0\.{_WB}", r"backbone.stages.0.embed.proj.\1"),
        (rf"stage1_conv_embed\.2\.{_P}", r"backbone.stages.0.embed.norm.\1"),
        *stages,
        (rf"norm\.{_P}", r"norm.\1"),
        (rf"norm(\d)\.{_WB}", r"backbone.out_norms.\1.\2"),
        (rf"head\.{_WB}", r"head.\1"),
    )


def _stage(stage: int) -> tuple[Rename, ...]:
    """What PVT, Swin and CSWin have in a stage; the first and the last of them count from 1."""
    ours, number = f"backbone.stages.{stage}.", stage + 1
    return (
        (rf"patch_embed{number}\.proj\.{_WB}", rf"{ours}embed.proj.\1"),
        (rf"patch_embed{number}\.norm\.{_P}", rf"{ours}embed.norm.\1"),
        (rf"pos_embed{number}", f"{ours}position.table"),
        *_block(rf"block{number}\.(\d+)\.", rf"{ours}blocks.\1.", REDUCED),
        (rf"layers\.{stage - 1}\.downsample\.norm\.{_P}", rf"{ours}embed.norm.\1"),
        (rf"layers\.{stage - 1}\.downsample\.reduction\.weight", f"{ours}embed.reduction.weight"),
        *_block(rf"layers\.{stage}\.blocks\.(\d+)\.", rf"{ours}blocks.\1.", WINDOWS),
        (rf"merge{stage}\.conv\.{_WB}", rf"{ours}embed.proj.\1"),
        (rf"merge{stage}\.norm\.{_P}", rf"{ours}embed.norm.\1"),
        *_block(rf"stage{number}\.(\d+)\.", rf"{ours}blocks.\1.", STRIPES),
    )


def _block(official: str, ours: str, mixer: tuple[tuple[str, str], ...]) -> tuple[Rename, ...]:
    return (
        (rf"{official}(norm[12])\.{_P}", rf"{ours}\2.\3"),
        (rf"{official}mlp\.(fc[12])\.{_WB}", rf"{ours}channel_mixer.\2.\3"),
        *((official + pattern, f"{ours}token_mixer.{name}") for pattern, name in mixer),
    )


def _is_linear_column(state: Mapping[str, Tensor], key: str) -> bool:
    """Whether a key is of a block of DeiT with linear attention."""
    block = re.match(r"blocks\.\d+\.", key)
    return block is not None and f"{block[0]}attn.positional_encoding" in state


def _position_map(key: str, table: Tensor) -> tuple[Tensor, Tensor | None]:
    """Positions (1, N, C) as a square map (1, C, s, s), and the class token's place (1, 1, C) if that comes before."""
    if table.dim() == 3:
        for extra in (0, 1):
            side = math.isqrt(table.shape[1] - extra)
            if side * side == table.shape[1] - extra:
                return map_of(table[:, extra:], (side, side)), table[:, :1] if extra else None
    raise CheckpointError(f"{key}: positions {tuple(table.shape)} form no square map, with or without a class token")
