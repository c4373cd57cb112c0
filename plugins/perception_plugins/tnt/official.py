"""Keys of the released checkpoints (huawei-noah/Efficient-AI-Backbones, tnt_pytorch) and of timm's TNT models."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.errors import CheckpointError
from perception.models.key_map import Rename, rename_keys

_WB = r"(weight|bias)"
_UNIT = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_CONVS = r"patch_embed\.(common_conv|inner_convs|outer_convs)\.(\d+)\."
_UNIT_PLACES = {"common_conv": "common", "inner_convs": "words", "outer_convs": "sentences"}
CONV, NORM, STEP = 0, 1, 3                           # places of a unit's parts in a list, and of the next unit's
BLOCK_PARTS = {                                      # the authors' names, then timm's
    "inner_norm1": "words.norm1", "inner_attn": "words.attn", "inner_norm2": "words.norm2", "inner_mlp": "words.mlp",
    "proj_norm1": "project.norm1", "proj": "project.proj", "proj_norm2": "project.norm2",
    "outer_norm1": "sentences.norm1", "outer_attn": "sentences.attn", "outer_norm2": "sentences.norm2",
    "outer_mlp": "sentences.mlp",
    "norm_in": "words.norm1", "attn_in": "words.attn", "norm_mlp_in": "words.norm2", "mlp_in": "words.mlp",
    "norm1_proj": "project.norm1", "norm2_proj": "project.norm2",
    "norm_out": "sentences.norm1", "attn_out": "sentences.attn", "norm_mlp": "sentences.norm2", "mlp": "sentences.mlp",
}
GATE_PARTS = {"0": "norm", "1": "reduce", "3": "expand"}
TABLES = {
    "cls_token": "class_token", "inner_pos": "word_position", "outer_pos": "sentence_position",
    "pixel_pos": "word_position", "patch_pos": "sentence_position",
}


def _unit(match: re.Match[str]) -> str | None:
    """A unit of the pyramid's stem: a list of convolution, norm and activation there, over and over."""
    unit, part = divmod(int(match[2]), STEP)
    if part not in (CONV, NORM):
        return None
    place = _UNIT_PLACES[match[1]] + (f".{unit}" if match[1] == "outer_convs" else "")
    return f"backbone.stem.{place}.{'conv' if part == CONV else 'bn'}.{match[3]}"


def _merge(match: re.Match[str]) -> str:
    """The merge after a stage; here it belongs to the next one."""
    return f"backbone.stages.{int(match[2]) + 1}.merge.{match[1]}s.{match[3]}.{match[4]}"


def _block(match: re.Match[str]) -> str:
    return f"backbone.{match[1] or ''}blocks.{match[2]}.{BLOCK_PARTS[match[3]]}.{match[4] or ''}{match[5]}"


def _gate(match: re.Match[str]) -> str:
    return f"backbone.{match[1] or ''}blocks.{match[2]}.sentences.se.{GATE_PARTS[match[3]]}.{match[4]}"


_BLOCK = r"(stages\.\d+\.)?blocks\.(\d+)\."
RENAMES: tuple[Rename, ...] = (
    (rf"({'|'.join(TABLES)})", lambda match: f"backbone.{TABLES[match[1]]}"),
    (rf"(?:patch|pixel)_embed\.proj\.{_WB}", r"backbone.word_embed.proj.\1"),
    (rf"(?:proj_norm1|norm1_proj)\.{_WB}", r"backbone.project.norm1.\1"),
    (rf"proj\.{_WB}", r"backbone.project.proj.\1"),
    (rf"(?:proj_norm2|norm2_proj)\.{_WB}", r"backbone.project.norm2.\1"),
    (_CONVS + _UNIT, _unit),
    (rf"(word|sentence)_merges\.(\d+)\.(norm)\.{_WB}", _merge),
    (rf"(word|sentence)_merges\.(\d+)\.(conv)\.0\.{_WB}", _merge),
    (r"stages\.(\d+)\.relative_pos", r"backbone.stages.\1.pair_bias"),
    (_BLOCK + rf"se_layer\.fc\.([013])\.{_WB}", _gate),
    (_BLOCK + rf"({'|'.join(BLOCK_PARTS)})\.((?:qk|v|q|kv|proj|linear|norm|fc1|fc2)\.)?{_WB}", _block),
    (rf"(norm|head)\.{_WB}", r"\1.\2"),
)
DROPPED = (r"outer_tokens",)                         # frozen zeros that nothing reads


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict, or of one of timm's, to those of a classifier.

    Of a TNT that is a `TNTClassifier`, of a PyramidTNT a `BackboneClassifier`; the parts are called ``backbone``,
    ``norm`` and ``head`` in both. timm's table of the words' positions is laid out as the authors'.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed. Or timm's table is no
            (1, c, rows, columns).
    """
    table = state.get("pixel_pos")
    if table is not None:
        if table.dim() != 4:
            raise CheckpointError(f"pixel_pos must be (1, channels, rows, columns), got {tuple(table.shape)}")
        state = {**state, "pixel_pos": table.flatten(2).transpose(1, 2)}                   # (1, n, c)
    return rename_keys(state, RENAMES, DROPPED)
