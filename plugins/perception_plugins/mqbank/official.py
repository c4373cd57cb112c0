"""Keys of LaneSegNet's released checkpoints (OpenDriveLab/LaneSegNet), and those of the query bank's decoder.

MQBank itself has no released model. Its decoder's keys are those of the definition in `bank_decoder`, below the prefix
``mqbank_decoder.`` of a model that is LaneSegNet's otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import rename_keys

_WB = r"(weight|bias)"
_LIFT = r"bev_constructor\."
_LIFT_LAYER = _LIFT + r"encoder\.layers\.(\d+)\."
_HEAD = r"pts_bbox_head\."
_DECODER = _HEAD + r"transformer\.decoder\.layers\.(\d+)\."
_BANK = r"mqbank_decoder\."
_BANK_LAYER = _BANK + r"layers\.(\d+)\."
_DEFORMABLE = r"(sampling_offsets|attention_weights|value_proj|output_proj)\." + _WB


def _layer(official: str, ours: str) -> tuple[tuple[str, str], ...]:
    """What the layers of both transformers have in common: the linear layers and the norms."""
    norms = tuple((official + rf"norms\.{n}\." + _WB, rf"{ours}.layers.\1.norm{n + 1}.\2") for n in range(3))
    return (
        (official + r"ffns\.0\.layers\.0\.0\." + _WB, rf"{ours}.layers.\1.ffn.0.\2"),
        (official + r"ffns\.0\.layers\.1\." + _WB, rf"{ours}.layers.\1.ffn.3.\2"),
        *norms,
    )


BACKBONE = (
    (r"img_backbone\.(conv1\.weight|bn1\.\w+|layer\d\.\d+\.(?:conv|bn)\d\.\w+|layer\d\.\d+\.downsample\.[01]\.\w+)",
     r"bev_encoder.image_backbone.\1"),
    (r"img_neck\.lateral_convs\.(\d+)\.conv\." + _WB, r"bev_encoder.neck.laterals.\1.conv.\2"),
    (r"img_neck\.fpn_convs\.(\d+)\.conv\." + _WB, r"bev_encoder.neck.outputs.\1.conv.\2"),
)
LIFT = (
    (_LIFT + "level_embeds", "bev_encoder.lift.level_code"),
    (_LIFT + "cams_embeds", "bev_encoder.lift.camera_code"),
    (_LIFT + r"bev_embedding\.weight", "bev_encoder.lift.query.weight"),
    (_LIFT + r"positional_encoding\.row_embed\.weight", "bev_encoder.lift.row_code.weight"),
    (_LIFT + r"positional_encoding\.col_embed\.weight", "bev_encoder.lift.column_code.weight"),
    (_LIFT + r"can_bus_mlp\.([02])\." + _WB, r"bev_encoder.lift.can_bus.\1.\2"),
    (_LIFT + r"can_bus_mlp\.norm\." + _WB, r"bev_encoder.lift.can_bus.4.\1"),
    (_LIFT_LAYER + r"attentions\.0\." + _DEFORMABLE, r"bev_encoder.lift.layers.\1.temporal.\2.\3"),
    (_LIFT_LAYER + r"attentions\.1\.deformable_attention\." + _DEFORMABLE,
     r"bev_encoder.lift.layers.\1.spatial.attention.\2.\3"),
    (_LIFT_LAYER + r"attentions\.1\.output_proj\." + _WB, r"bev_encoder.lift.layers.\1.spatial.output_proj.\2"),
    *_layer(_LIFT_LAYER, "bev_encoder.lift"),
)
HEAD = (
    (_HEAD + r"query_embedding\.weight", "head.decoder.query_embedding.weight"),
    (_HEAD + r"transformer\.reference_points\." + _WB, r"head.decoder.reference_points.\1"),
    (_DECODER + r"attentions\.0\.attn\.(in_proj_weight|in_proj_bias|out_proj\.weight|out_proj\.bias)",
     r"head.decoder.layers.\1.self_attention.\2"),
    (_DECODER + r"attentions\.1\." + _DEFORMABLE, r"head.decoder.layers.\1.cross_attention.attention.\2.\3"),
    *_layer(_DECODER, "head.decoder"),
    (_HEAD + r"reg_branches\.(\d+)\.([024])\." + _WB, r"head.decoder.layers.\1.center.\2.\3"),
    (_HEAD + r"reg_branches_offset\.(\d+)\.([024])\." + _WB, r"head.decoder.layers.\1.offset.\2.\3"),
    (_HEAD + r"cls_branches\.(\d+)\.([01346])\." + _WB, r"head.branches.\1.label.\2.\3"),
    (_HEAD + r"cls_(left|right)_type_branches\.(\d+)\.([01346])\." + _WB, r"head.branches.\2.\1_type.\3.\4"),
    (_HEAD + r"mask_embed\.(\d+)\.([024])\." + _WB, r"head.branches.\1.mask.\2.\3"),
    (r"(?:lclc|lsls)_head\.MLP_o1\.layers\.(\d)\." + _WB, r"head.topology.before.\1.\2"),
    (r"(?:lclc|lsls)_head\.MLP_o2\.layers\.(\d)\." + _WB, r"head.topology.after.\1.\2"),
    (r"(?:lclc|lsls)_head\.classifier\.layers\.(\d)\." + _WB, r"head.topology.classifier.\1.\2"),
)
BANK = (
    (_BANK + r"bank\.weight", "head.decoder.bank.weight"),
    (_BANK + r"(query_embedding|slot_embedding|type_embedding)\.weight", r"head.decoder.\1.weight"),
    (_BANK + r"(reference_points|content_proj|pos_proj)\." + _WB, r"head.decoder.\1.\2"),
    (_BANK_LAYER + r"self_attn\.(in_proj_weight|in_proj_bias|out_proj\.weight|out_proj\.bias)",
     r"head.decoder.layers.\1.self_attention.\2"),
    (_BANK_LAYER + r"cross_attn\." + _DEFORMABLE, r"head.decoder.layers.\1.cross_attention.attention.\2.\3"),
    (_BANK_LAYER + r"(bank_proj|pool_score|pool_out)\." + _WB, r"head.decoder.layers.\1.cross_attention.\2.\3"),
    (_BANK_LAYER + r"slot_embedding\.weight", r"head.decoder.layers.\1.cross_attention.slot_embedding.weight"),
    (_BANK_LAYER + r"ffn1\." + _WB, r"head.decoder.layers.\1.ffn.0.\2"),
    (_BANK_LAYER + r"ffn2\." + _WB, r"head.decoder.layers.\1.ffn.3.\2"),
    (_BANK_LAYER + r"(norm[123])\." + _WB, r"head.decoder.layers.\1.\2.\3"),
    (_BANK_LAYER + r"reg\.([024])\." + _WB, r"head.decoder.layers.\1.center.\2.\3"),
    (_BANK_LAYER + r"off\.([024])\." + _WB, r"head.decoder.layers.\1.offset.\2.\3"),
)
RENAMES = (*BACKBONE, *LIFT, *HEAD, *BANK)
DROPPED = (_HEAD + "code_weights",)                  # ones, which the loss here has no use for


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `MapGenerator` with a `BEVFormerEncoder`.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES, DROPPED)
