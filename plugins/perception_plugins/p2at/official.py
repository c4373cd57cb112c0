"""Keys of checkpoints trained with the authors' code (mohamedac29/P2AT); the prefix of its trainer is taken off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

TRAINER_PREFIX = "model."
AUX2_BIAS = "aux_seg_head2.conv2.bias"

_UNIT = r"(conv\.weight|bn\.\w+|act\.weight)"                # convolution, norm and PReLU
_WB = r"(weight|bias)"
_PAIR = r"[01]"                                              # a sequence of convolution (".conv") and norm
_LAYER = r"deep_feature_processor\.transformer_layers\.(\d+)\."
_OUR_LAYER = r"head.layers.\1."
_FUSION = r"BiS([34])\."


def _pair(official: str, ours: str, group: int) -> tuple[Rename, Rename]:
    """The two rules of a convolution and its norm, kept as members 0 and 1 of a sequence."""
    return (official + r"\.0\.conv\.weight", ours + ".conv.weight"), (official + r"\.1\.(\w+)", rf"{ours}.bn.\{group}")


RENAMES: tuple[Rename, ...] = (
    (r"conv1_x\.weight", "backbone.conv1.weight"),
    (r"bn1\.(\w+)", r"backbone.bn1.\1"),
    (r"layer([1-4])\.(.+)", r"backbone.layer\1.\2"),
    (r"feature_reducer\." + _UNIT, r"head.reduce.\1"),
    (_LAYER + r"attn\.to_([qkv])\.conv\.weight", _OUR_LAYER + r"attention.to_\2.weight"),
    (_LAYER + r"attn\.proj\." + _UNIT, _OUR_LAYER + r"attention.project.\2"),
    (_LAYER + r"attn\.proj_encode_row\." + _UNIT, _OUR_LAYER + r"attention.project_rows.\2"),
    (_LAYER + r"attn\.proj_encode_column\.conv\.weight", _OUR_LAYER + "attention.project_columns.weight"),
    (_LAYER + r"attn\.pos_emb_row_q\.pos_embed", _OUR_LAYER + "attention.rows.query_place.table"),
    (_LAYER + r"attn\.pos_emb_row_k\.pos_embed", _OUR_LAYER + "attention.rows.key_place.table"),
    (_LAYER + r"attn\.pos_emb_column_q\.pos_embed", _OUR_LAYER + "attention.columns.query_place.table"),
    (_LAYER + r"attn\.pos_emb_column_k\.pos_embed", _OUR_LAYER + "attention.columns.key_place.table"),
    *_pair(_LAYER + r"attn\.details_enhancer\.conv1", _OUR_LAYER + "attention.details.point", 2),
    *_pair(_LAYER + r"attn\.details_enhancer\.conv2", _OUR_LAYER + "attention.details.around", 2),
    (_LAYER + r"attn\.pool_feats_processor\.conv1\." + _UNIT, _OUR_LAYER + r"attention.pooling.embed.\2"),
    (_LAYER + r"attn\.pool_feats_processor\.conv2\." + _UNIT, _OUR_LAYER + r"attention.pooling.mix.\2"),
    (_LAYER + r"mlp\.fc1\.conv\.weight", _OUR_LAYER + "mlp.up.weight"),
    (_LAYER + rf"mlp\.dwconv\.{_WB}", _OUR_LAYER + r"mlp.around.\2"),
    (_LAYER + r"mlp\.fc2\.conv\.weight", _OUR_LAYER + "mlp.down.weight"),
    (r"P([1-3])_decoder\.gamma", r"head.block\1.gamma"),
    (rf"P([1-3])_decoder\.dwconv\.0\.{_WB}", r"head.block\1.conv.\2"),
    (r"P([1-3])_decoder\.dwconv\.1\.(\w+)", r"head.block\1.bn.\2"),
    (rf"P([1-3])_decoder\.pwconv1\.0\.{_WB}", r"head.block\1.up.\2"),
    (rf"P([1-3])_decoder\.pwconv2\.{_WB}", r"head.block\1.down.\2"),
    (_FUSION + r"down_feat\.conv1\." + _UNIT, r"head.fusion\1.detail.embed.\2"),
    (_FUSION + r"down_feat\.conv2\.conv\.weight", r"head.fusion\1.detail.whole.weight"),
    (_FUSION + r"down_feat\.conv3\.conv\.weight", r"head.fusion\1.detail.each.weight"),
    (_FUSION + r"down_feat\.fuse\.conv\.weight", r"head.fusion\1.detail.fuse.weight"),
    (_FUSION + r"up_feat\.conv1\." + _UNIT, r"head.fusion\1.stream.embed.\2"),
    (_FUSION + rf"up_feat\.conv2\.conv\.{_WB}", r"head.fusion\1.stream.share.\2"),
    *_pair(_FUSION + "st_feat", r"head.fusion\1.semantic", 2),
    *_pair(_FUSION + "fuse", r"head.fusion\1.fuse", 2),
    (r"pool_gce([34])\.conv1\.conv\.weight", r"head.context\1.conv1.weight"),
    (r"pool_gce([34])\.bn_scale\.weight", r"head.context\1.scale"),
    (r"pool_gce([34])\.bn_scale\.bias", r"head.context\1.shift"),
    (r"pool_gce([34])\.conv2\." + _UNIT, r"head.context\1.conv2.\2"),
    (r"refine([1-3])\.c2_\." + _UNIT, r"head.refine\1.\2"),
    (r"fuse1\." + _UNIT, r"head.merge2.\1"),                 # counted in the order of use there
    (r"fuse2\." + _UNIT, r"head.merge1.\1"),
    *(
        rule
        for official, ours in (("final_seg_head", "classifier"), (r"aux_seg_head1", "aux1"), (r"aux_seg_head2", "aux2"))
        for rule in (
            (official + r"\.bn1\.(\w+)", rf"head.{ours}.bn1.\1"),
            (official + r"\.conv1\.weight", f"head.{ours}.embed.conv.weight"),
            (official + r"\.bn2\.(\w+)", rf"head.{ours}.embed.bn.\1"),
            (official + rf"\.conv2\.{_WB}", rf"head.{ours}.classify.\1"),
        )
    ),
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict, with the trainer's prefix or without, to those of `Segmentor`.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(without_prefix(state), RENAMES)


def config_options(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Config overrides that a released state_dict needs: its auxiliary heads are as it was trained.

    Args:
        state: tensors by official key.
    """
    bias = without_prefix(state).get(AUX2_BIAS)
    return {"model.head.auxiliary": False} if bias is None else {"model.head.aux2_channels": len(bias)}


def without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by the keys of the network itself."""
    return {key.removeprefix(TRAINER_PREFIX): value for key, value in state.items()}
