"""Keys of checkpoints of the authors' code (NiccoloCavagnero/PEM) and of the STDC backbones that it starts from.

The release links no trained checkpoint; these are the keys that its models write.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from perception.models.key_map import rename_keys

_WB = r"(weight|bias)"
_BN = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
_STDC = r"(?:backbone\.)?"                            # absent in files of the network trained as a classifier
_BLOCK = _STDC + r"features\.(\d+)\."
_PIXEL = r"sem_seg_head\.(?:pixel_decoder\.)?"       # files from before a renaming lack the middle part
_QUERY = r"sem_seg_head\.predictor\."
_CROSS = _QUERY + r"transformer_cross_attention_layers\.(\d+)\."
_SELF = _QUERY + r"transformer_self_attention_layers\.(\d+)\."
_FFN = _QUERY + r"transformer_ffn_layers\.(\d+)\."

RESNET = (
    (r"backbone\.stem\.conv1\.weight", "backbone.conv1.weight"),
    (r"backbone\.stem\.conv1\.norm\." + _BN, r"backbone.bn1.\1"),
    *((rf"backbone\.res{stage + 1}\.(\d+)\.conv(\d)\.weight", rf"backbone.layer{stage}.\1.conv\2.weight")
      for stage in range(1, 5)),
    *((rf"backbone\.res{stage + 1}\.(\d+)\.conv(\d)\.norm\." + _BN, rf"backbone.layer{stage}.\1.bn\2.\3")
      for stage in range(1, 5)),
    *((rf"backbone\.res{stage + 1}\.(\d+)\.shortcut\.weight", rf"backbone.layer{stage}.\1.downsample.0.weight")
      for stage in range(1, 5)),
    *((rf"backbone\.res{stage + 1}\.(\d+)\.shortcut\.norm\." + _BN, rf"backbone.layer{stage}.\1.downsample.1.\2")
      for stage in range(1, 5)),
)
STDC = (
    (_STDC + r"(features\.[01]|conv_last)\.(conv\.weight|bn\.\w+)", r"backbone.\1.\2"),
    (_BLOCK + r"conv_list\.(\d+)\.(conv\.weight|bn\.\w+)", r"backbone.features.\1.convs.\2.\3"),
    (_BLOCK + r"avd_layer\.0\.weight", r"backbone.features.\1.down.conv.weight"),
    (_BLOCK + r"avd_layer\.1\." + _BN, r"backbone.features.\1.down.bn.\2"),
    (_BLOCK + r"skip\.0\.weight", r"backbone.features.\1.shortcut.0.conv.weight"),
    (_BLOCK + r"skip\.1\." + _BN, r"backbone.features.\1.shortcut.0.bn.\2"),
    (_BLOCK + r"skip\.2\.weight", r"backbone.features.\1.shortcut.1.conv.weight"),
    (_BLOCK + r"skip\.3\." + _BN, r"backbone.features.\1.shortcut.1.bn.\2"),
)
PIXEL_DECODER = (
    (_PIXEL + r"in_projections\.(\d+)\.(conv\.weight|bn\.\w+)", r"head.pixel_decoder.projections.\1.\2"),
    (_PIXEL + r"conv_avg\.(conv\.weight|bn\.\w+)", r"head.pixel_decoder.context.\1"),
    (_PIXEL + r"csm\.(\d+)\.mlp\.0\.mlp\.0\.weight", r"head.pixel_decoder.modulations.\1.reduce.conv.weight"),
    (_PIXEL + r"csm\.(\d+)\.mlp\.0\.mlp\.1\." + _BN, r"head.pixel_decoder.modulations.\1.reduce.bn.\2"),
    (_PIXEL + r"csm\.(\d+)\.mlp\.0\.mlp\.3\.weight", r"head.pixel_decoder.modulations.\1.expand.weight"),
    (_PIXEL + r"dcn\.(\d+)\.dcn_offset\." + _WB, r"head.pixel_decoder.upsamples.\1.deform.conv_offset.\2"),
    (_PIXEL + r"dcn\.(\d+)\.dcn\.weight", r"head.pixel_decoder.upsamples.\1.deform.weight"),
    (_PIXEL + r"dcn\.(\d+)\.dcn_bn\." + _BN, r"head.pixel_decoder.upsamples.\1.norm.\2"),
    (_PIXEL + r"dcn\.(\d+)\.up_sample\.weight", r"head.pixel_decoder.upsamples.\1.up.conv.weight"),
    (_PIXEL + r"dcn\.(\d+)\.up_bn\." + _BN, r"head.pixel_decoder.upsamples.\1.up.bn.\2"),
    (_PIXEL + r"out\.(conv\.weight|bn\.\w+)", r"head.pixel_decoder.output.\1"),
)
DECODER = (
    (_QUERY + r"(?:query_feat|static_query)\.weight", "head.decoder.query"),
    (_QUERY + r"query_embed\.weight", "head.decoder.query_code"),
    (_QUERY + r"level_embed\.weight", "head.decoder.level_code"),
    (_QUERY + r"input_proj\.(\d+)\." + _WB, r"head.decoder.projections.\1.\2"),
    (_QUERY + r"decoder_norm\." + _WB, r"head.decoder.norm.\1"),
    (_QUERY + r"class_embed\." + _WB, r"head.decoder.label.\1"),
    *((_QUERY + rf"mask_embed\.layers\.{number}\." + _WB, rf"head.decoder.mask.{2 * number}.\1")
      for number in range(3)),
    (_CROSS + "alpha", r"head.decoder.layers.\1.cross_attention.alpha"),
    (_CROSS + r"feature_proj\.bn\." + _BN, r"head.decoder.layers.\1.cross_attention.memory_norm.\2"),
    (_CROSS + r"feature_proj\.to_query_3x3\." + _WB, r"head.decoder.layers.\1.cross_attention.memory_conv.\2"),
    (_CROSS + r"feature_proj\.out\." + _WB, r"head.decoder.layers.\1.cross_attention.memory_proj.\2"),
    (_CROSS + r"query_proj\.0\." + _WB, r"head.decoder.layers.\1.cross_attention.query_norm.\2"),
    (_CROSS + r"query_proj\.1\." + _WB, r"head.decoder.layers.\1.cross_attention.query_proj.\2"),
    (_CROSS + r"proj\." + _WB, r"head.decoder.layers.\1.cross_attention.proj.\2"),
    (_CROSS + r"final\." + _WB, r"head.decoder.layers.\1.cross_attention.output_proj.\2"),
    (_SELF + r"self_attn\.in_proj_" + _WB, r"head.decoder.layers.\1.self_attention.in_proj.\2"),
    (_SELF + r"self_attn\.out_proj\." + _WB, r"head.decoder.layers.\1.self_attention.out_proj.\2"),
    (_SELF + r"norm\." + _WB, r"head.decoder.layers.\1.self_norm.\2"),
    (_FFN + r"linear1\." + _WB, r"head.decoder.layers.\1.ffn.0.\2"),
    (_FFN + r"linear2\." + _WB, r"head.decoder.layers.\1.ffn.3.\2"),
    (_FFN + r"norm\." + _WB, r"head.decoder.layers.\1.ffn_norm.\2"),
)
RENAMES = (*RESNET, *STDC, *PIXEL_DECODER, *DECODER)
DROPPED = (
    _STDC + r"x(2|4|8|16|32)\.0\..+",                # the same tensors as of `features`
    r"(fc|bn|linear)\..+",                           # what a classifier has behind its features
    r"criterion\.empty_weight",                      # here the config says it
)


def load_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the keys of an official state_dict to those of a `Segmentor` with a `PEMHead`.

    An STDC network trained as a classifier gives the backbone's keys alone.

    Raises:
        CheckpointError: a key belongs to another architecture; all such keys are listed.
    """
    return rename_keys(state, RENAMES, DROPPED)
