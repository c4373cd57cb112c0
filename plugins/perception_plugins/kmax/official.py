"""Keys of the released checkpoints (bytedance/kmax-deeplab)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import Rename, rename_keys

_UNIT = r"(conv\.weight|conv\.bias|norm\.\w+)"
_NORM = r"(\w+)"
_PIXEL = r"sem_seg_head\.pixel_decoder\."
_BLOCK = _PIXEL + r"_stages\.(\d+)\._blocks\.(\d+)\."
_AXIS = _BLOCK + r"_attention\._(height|width)_axis\."
_DECODER = r"sem_seg_head\.predictor\."
_LAYER = _DECODER + r"_kmax_transformer_layers\.(\d+)\."
_BRANCH = _DECODER + r"_auxiliary_semantic_predictor\."

BLOCK_UNITS = {"_conv1_bn_act": "reduce", "_conv2_bn_act": "middle", "_conv3_bn": "expand", "_shortcut": "shortcut"}
AXIS_NORMS = {"qkv": "norm_qkv", "similarity": "norm_similarity", "retrieved_output": "norm_retrieved"}
LAYER_UNITS = {
    "_query_conv1_bn_act": "query_space", "_pixel_conv1_bn_act": "pixel_space", "_query_qkv_conv_bn": "qkv",
    "_pixel_v_conv_bn": "pixel_value", "_query_conv3_bn": "attention_update", "_query_ffn_conv1_bn_act": "hidden",
    "_query_ffn_conv2_bn": "hidden_update", "_kmeans_query_conv3_bn": "kmeans_update",
}
PREDICTOR_UNITS = {
    "_pixel_space_head_conv0bnact": "pixel0", "_pixel_space_head_conv1bnact": "pixel1",
    "_pixel_space_head_last_convbn": "pixel2", "_transformer_mask_head": "kernel",
}
BRANCH_UNITS = {
    "_aspp._aspp_conv0": "pyramid.point", "_aspp._aspp_conv1": "pyramid.atrous.0",
    "_aspp._aspp_conv2": "pyramid.atrous.1", "_aspp._aspp_conv3": "pyramid.atrous.2",
    "_aspp._aspp_pool": "pyramid.pool", "_aspp._proj_conv_bn_act": "pyramid.project",
    "_low_level_projection_os8": "fuse8.project", "_low_level_fusion_os8_conv0_bn_act": "fuse8.depth",
    "_low_level_fusion_os8_conv1_bn_act": "fuse8.point", "_low_level_projection_os4": "fuse4.project",
    "_low_level_fusion_os4_conv0_bn_act": "fuse4.depth", "_low_level_fusion_os4_conv1_bn_act": "fuse4.point",
    "conv_block_0": "depth", "conv_block_1": "point",
    "0": "depth", "1": "point",
}


def _units(prefix: str, names: Mapping[str, str], ours: str, groups: int) -> tuple[Rename, ...]:
    """A rule for each unit of a module whose place in ``ours`` and ``prefix`` is told by ``groups`` numbers."""
    return tuple(
        (prefix + re.escape(name) + r"\." + _UNIT, rf"{ours}.{unit}.\{groups + 1}") for name, unit in names.items()
    )


def _predictor(prefix: str, ours: str, groups: int) -> tuple[Rename, ...]:
    last = groups + 1
    return (
        *_units(prefix + r"_predcitor\.", PREDICTOR_UNITS, f"{ours}.predictor", groups),
        (prefix + r"_predcitor\._transformer_class_head\.conv\.(weight|bias)", rf"{ours}.predictor.classify.\{last}"),
        (prefix + r"_predcitor\._pixel_space_mask_batch_norm\." + _NORM, rf"{ours}.predictor.mask_norm.\{last}"),
    )


def _resnet_norm(match: re.Match[str]) -> str:
    return f"backbone.layer{int(match[1]) - 1}.{match[2]}.bn{match[3]}.{match[4]}"


BACKBONE: tuple[Rename, ...] = (
    (r"backbone\.stem\.conv1\.weight", "backbone.conv1.weight"),
    (r"backbone\.stem\.conv1\.norm\." + _NORM, r"backbone.bn1.\1"),
    (r"backbone\.res(\d)\.(\d+)\.conv(\d)\.weight",
     lambda match: f"backbone.layer{int(match[1]) - 1}.{match[2]}.conv{match[3]}.weight"),
    (r"backbone\.res(\d)\.(\d+)\.conv(\d)\.norm\." + _NORM, _resnet_norm),
    (r"backbone\.res(\d)\.(\d+)\.shortcut\.weight",
     lambda match: f"backbone.layer{int(match[1]) - 1}.{match[2]}.downsample.0.weight"),
    (r"backbone\.res(\d)\.(\d+)\.shortcut\.norm\." + _NORM,
     lambda match: f"backbone.layer{int(match[1]) - 1}.{match[2]}.downsample.1.{match[3]}"),
    (r"(backbone\.downsample_layers\.\d\.\d\.(?:weight|bias))", r"\1"),
    (r"(backbone\.stages\.\d\.\d+\.(?:gamma|(?:dwconv|norm|pwconv1|pwconv2)\.(?:weight|bias)))", r"\1"),
)
PIXEL_DECODER: tuple[Rename, ...] = (
    (_PIXEL + r"_in_norms\.(\d+)\." + _NORM, r"head.pixel_decoder.norms.\1.\2"),
    *_units(_BLOCK, BLOCK_UNITS, r"head.pixel_decoder.stages.\1.\2", 2),
    (_AXIS + r"qkv_transform\.conv\.weight", r"head.pixel_decoder.stages.\1.\2.middle.\3.qkv.weight"),
    (_AXIS + r"_(query|key|value)_rpe\._embeddings\.weight", r"head.pixel_decoder.stages.\1.\2.middle.\3.\4_table"),
    *(
        (_AXIS + rf"_batch_norm_{name}\." + _NORM, rf"head.pixel_decoder.stages.\1.\2.middle.\3.{norm}.\4")
        for name, norm in AXIS_NORMS.items()
    ),
    (_PIXEL + r"_resized_fuses\.(\d+)\._conv_bn_(low|high)\." + _UNIT, r"head.pixel_decoder.fuses.\1.\2.\3"),
)
DECODER: tuple[Rename, ...] = (
    (_DECODER + r"_cluster_centers\.weight", "head.decoder.centers"),
    (_DECODER + r"_(class|mask)_embedding_projection\." + _UNIT, r"head.decoder.\1_embedding.\2"),
    *_predictor(_DECODER, "head.decoder", 0),
    *_units(_LAYER, LAYER_UNITS, r"head.decoder.layers.\1", 1),
    *_predictor(_LAYER, r"head.decoder.layers.\1", 1),
    (_LAYER + r"_kmeans_query_batch_norm_retrieved_value\." + _NORM, r"head.decoder.layers.\1.norm_members.\2"),
    (_LAYER + r"_query_self_attention\._batch_norm_similarity\." + _NORM,
     r"head.decoder.layers.\1.attention.norm_similarity.\2"),
    (_LAYER + r"_query_self_attention\._batch_norm_retrieved_value\." + _NORM,
     r"head.decoder.layers.\1.attention.norm_retrieved.\2"),
)
SEMANTIC_BRANCH: tuple[Rename, ...] = (
    *_units(_BRANCH, BRANCH_UNITS, "head.semantic_branch", 0),
    (_BRANCH + r"(?:final_conv|2)\.conv\.(weight|bias)", r"head.semantic_branch.classify.\1"),
)
RENAMES = (*BACKBONE, *PIXEL_DECODER, *DECODER, *SEMANTIC_BRANCH)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of a released state to ours.

    Args:
        state: tensors by official key, with the semantic branch of training or without.

    Raises:
        CheckpointError: keys belong to another architecture; all are listed, up to twenty.
    """
    return rename_keys(state, RENAMES)
