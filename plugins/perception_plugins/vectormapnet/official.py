"""Keys of checkpoints trained with the authors' code (Mrmoore98/VectorMapNet_code)."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from perception.errors import CheckpointError
from perception.models.key_map import Rename, rename_keys

from . import official_encoder

_WB = r"(weight|bias)"
_DET = r"head\.det_net\."
_DET_LAYER = _DET + r"transformer\.decoder\.layers\.(\d+)\."
_GEN = r"head\.gen_net\."
_GEN_LAYER = _GEN + r"decoder\.layers\.(\d+)\."


def _norm_of_detector(match: re.Match[str]) -> str:
    """Normalisations count from 0 there."""
    return f"head.detector.layers.{match[1]}.norm{int(match[2]) + 1}.{match[3]}"


RENAMES: tuple[Rename, ...] = (
    *official_encoder.RENAMES,
    (_DET + rf"input_proj\.{_WB}", r"head.detector.memory.project.\1"),
    (_DET + rf"img_coord_embed\.{_WB}", r"head.detector.memory.place.\1"),
    (_DET + r"query_embedding\.weight", "head.detector.queries.weight"),
    (_DET + r"bbox_embedding\.weight", "head.detector.keypoint_queries.weight"),
    (_DET + rf"transformer\.reference_points_embed\.{_WB}", r"head.detector.reference.\1"),
    (_DET_LAYER + rf"attentions\.0\.attn\.in_proj_{_WB}", r"head.detector.layers.\1.self_attn.in_proj.\2"),
    (_DET_LAYER + rf"attentions\.0\.attn\.out_proj\.{_WB}", r"head.detector.layers.\1.self_attn.out_proj.\2"),
    (
        _DET_LAYER + rf"attentions\.1\.(sampling_offsets|attention_weights|value_proj|output_proj)\.{_WB}",
        r"head.detector.layers.\1.cross_attn.\2.\3",
    ),
    (_DET_LAYER + rf"ffns\.0\.layers\.0\.0\.{_WB}", r"head.detector.layers.\1.linear1.\2"),
    (_DET_LAYER + rf"ffns\.0\.layers\.1\.{_WB}", r"head.detector.layers.\1.linear2.\2"),
    (_DET_LAYER + rf"norms\.([0-2])\.{_WB}", _norm_of_detector),
    (_DET + rf"pre_branches\.cls\.0\.{_WB}", r"head.detector.class_head.\1"),
    (_DET + rf"pre_branches\.reg\.0\.(\d+)\.{_WB}", r"head.detector.keypoint_head.\1.\2"),
    (_GEN + rf"input_proj\.{_WB}", r"head.generator.memory.project.\1"),
    (_GEN + rf"img_coord_embed\.{_WB}", r"head.generator.memory.place.\1"),
    (_GEN + r"label_embed\.weight", "head.generator.class_table.weight"),
    (_GEN + r"bbox_context_embed\.weight", "head.generator.keypoint_table.weight"),
    (_GEN + r"coord_embed\.weight", "head.generator.axis_table.weight"),
    (_GEN + r"pos_embeddings\.weight", "head.generator.vertex_table.weight"),
    (_GEN + r"vertex_embed\.weight", "head.generator.token_table.weight"),
    (_GEN + rf"_project_to_logits\.{_WB}", r"head.generator.to_logits.\1"),
    (_GEN_LAYER + r"res_weight([1-3])", r"head.generator.decoder.layers.\1.gate\2"),
    (_GEN_LAYER + rf"self_attn\.in_proj_{_WB}", r"head.generator.decoder.layers.\1.self_attn.in_proj.\2"),
    (_GEN_LAYER + rf"multihead_attn\.in_proj_{_WB}", r"head.generator.decoder.layers.\1.cross_attn.in_proj.\2"),
    (_GEN_LAYER + rf"self_attn\.out_proj\.{_WB}", r"head.generator.decoder.layers.\1.self_attn.out_proj.\2"),
    (_GEN_LAYER + rf"multihead_attn\.out_proj\.{_WB}", r"head.generator.decoder.layers.\1.cross_attn.out_proj.\2"),
    (_GEN_LAYER + rf"(linear[12]|norm[1-3])\.{_WB}", r"head.generator.decoder.layers.\1.\2.\3"),
)
DROPPED = (
    *official_encoder.DROPPED,
    r"conv1x1\.weight",                              # of the released file; its own model has no such layer
    r"head\.augmentation\.(canvas_size|shift_scale|scaling_size)",
    r"head\.(det_net|gen_net)\.canvas_size",         # here the config says it
    _DET + r"transformer\.level_embeds",             # these two tables are never read
    _DET + r"label_embed\.weight",
    _DET + r"pre_branches\.(cls|reg)\.[1-9]\d*\..+",  # the same modules as under 0
)
_SHARED = re.compile(r"(.*pre_branches\.(?:cls|reg)\.)([1-9]\d*)(\..+)")


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of `MapGenerator`.

    Raises:
        CheckpointError: a key belongs to another architecture (all such keys are listed), or the prediction heads, which
            all layers share and the file repeats for each, differ between layers.
    """
    for key, value in state.items():
        match = _SHARED.fullmatch(key)
        first = None if match is None else f"{match[1]}0{match[3]}"
        if first is not None and (first not in state or not torch.equal(state[first], value)):
            raise CheckpointError(f"{key} differs from {first}, but all layers share one prediction head")
    return rename_keys(state, RENAMES, DROPPED)
