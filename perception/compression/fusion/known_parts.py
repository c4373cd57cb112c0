"""Declarations of the core's parts: points to pillars, bird's-eye-view convolutions, heads, and MetaFormers."""

from __future__ import annotations

from typing import Any

from torch import nn

from perception.models.bev_backbones.second import SECOND
from perception.models.classifier import BackboneClassifier, Classifier
from perception.models.conv_unit import ConvUnit
from perception.models.detector import Detector
from perception.models.heads.center_head import CenterHead
from perception.models.lidar_bev_encoder import LidarBEVEncoder
from perception.models.metaformer.block import MetaFormerBlock
from perception.models.metaformer.columnar import ColumnarFormer
from perception.models.metaformer.patch_embedding import PatchEmbedding
from perception.models.metaformer.staged import MetaFormer
from perception.models.mixers.attention import AttentionMixer
from perception.models.mixers.feed_forward import FeedForward
from perception.models.mixers.identity import IdentityMixer
from perception.models.mixers.spatial_linear import SpatialLinearMixer
from perception.models.necks.bev_network import BEVNetwork
from perception.models.necks.second_fpn import SECONDFPN
from perception.models.pillar_scatter import PillarScatter
from perception.models.voxel_encoders.dynamic_vfe import DynamicVFE
from perception.models.voxel_encoders.point_norm import PointLayer

from .declare import declare, declares, in_turn
from .plan import FIXED, Axis, Flow, FusionPlan, Side, join, rows_of_map, rows_of_tokens


@declares(Detector, LidarBEVEncoder, BEVNetwork, Classifier)
def _one_after_another(model: Any, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    order = ("voxel_encoder", "lidar_backbone", "bev_backbone", "neck", "head", "network")
    parts = dict(model.named_children())
    return in_turn({part: parts[part] for part in order if part in parts}, plan, name, reads)


@declares(nn.Sequential)
def _sequence(module: nn.Sequential, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    return in_turn(dict(module.named_children()), plan, name, reads)


@declares(nn.Identity, IdentityMixer, SpatialLinearMixer, PillarScatter)     # the same for every channel
def _unchanged(module: nn.Module, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    return reads


@declares(PointLayer)
def _point_layer(layer: PointLayer, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    gives = plan.add(name, layer.linear.out_features)
    plan.linear(join(name, "linear"), layer.linear, reads[0], gives)
    plan.vectors(join(name, "norm"), layer.norm, gives)
    plan.observe(join(name, "norm"), gives, rows_of_tokens)
    return [gives]


@declares(DynamicVFE)
def _dynamic_vfe(encoder: DynamicVFE, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    axis = FIXED
    for number, layer in enumerate(encoder.layers):
        (gives,) = declare(layer, plan, join(name, "layers", str(number)), [axis])
        axis = gives + gives                         # a point's own features, then those of its pillar
    return [gives]


@declares(ConvUnit)
def _conv_unit(unit: ConvUnit, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    gives = reads[0] if unit.residual else plan.add(name, unit.conv.out_channels)
    plan.linear(join(name, "conv"), unit.conv, reads[0], gives)
    plan.vectors(join(name, "bn"), unit.bn, gives)
    plan.observe(name if unit.residual else join(name, "bn"), gives, rows_of_map)
    return [gives]


@declares(SECOND)
def _second(backbone: SECOND, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    maps: Flow = []
    for number, stage in enumerate(backbone.stages):
        reads = declare(stage, plan, join(name, "stages", str(number)), reads)
        maps += reads
    return maps


@declares(SECONDFPN)
def _second_fpn(neck: SECONDFPN, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    reads = reads if len(reads) == len(neck.stages) else [FIXED] * len(neck.stages)
    joined = FIXED
    for number, (stage, axis) in enumerate(zip(neck.stages, reads, strict=True)):
        joined += declare(stage, plan, join(name, "stages", str(number)), [axis])[0]
    return [joined]


@declares(CenterHead)
def _center_head(head: CenterHead, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    shared = declare(head.shared, plan, join(name, "shared"), reads)
    for task, branches in enumerate(head.task_heads):
        for branch, module in branches.named_children():
            _branch(module, plan, join(name, "task_heads", str(task), branch), shared)
    return [FIXED]


def _branch(branch: Any, plan: FusionPlan, name: str, reads: Flow) -> None:
    """Units, then a convolution whose channels mean the same in every model."""
    *units, last = branch
    for number, unit in enumerate(units):
        reads = declare(unit, plan, join(name, str(number)), reads)
    plan.linear(join(name, str(len(units))), last, reads[0], FIXED)


@declares(PatchEmbedding)
def _patch_embedding(embed: PatchEmbedding, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    gives = plan.add(name, embed.proj.out_channels)
    plan.linear(join(name, "proj"), embed.proj, reads[0], gives)
    plan.vectors(join(name, "norm"), embed.norm, gives)
    plan.observe(name, gives, rows_of_map)
    return [gives]


@declares(MetaFormerBlock)
def _metaformer_block(block: Any, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    stream = reads[0]
    for number, mixer in enumerate(("token_mixer", "channel_mixer"), 1):
        plan.vectors(join(name, f"norm{number}"), getattr(block, f"norm{number}"), stream)
        into_stream(getattr(block, mixer), plan, join(name, mixer), stream)
        plan.vectors(join(name, f"scale{number}"), getattr(block, f"scale{number}"), stream)
    plan.observe(name, stream, rows_of_tokens)
    return [stream]


def into_stream(branch: nn.Module, plan: FusionPlan, name: str, stream: Axis) -> None:
    """A branch that reads a residual stream and is added to it."""
    (gives,) = declare(branch, plan, name, [stream])
    if gives != stream:
        plan.pin(gives)
        plan.pin(stream)


@declares(FeedForward)
def _feed_forward(branch: FeedForward, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    hidden = plan.add(name, branch.fc1.out_features)
    plan.linear(join(name, "fc1"), branch.fc1, reads[0], hidden)
    plan.linear(join(name, "fc2"), branch.fc2, hidden, reads[0])
    plan.observe(join(name, "fc1"), hidden, rows_of_tokens)
    return reads


@declares(AttentionMixer)
def _attention_mixer(mixer: AttentionMixer, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    layers = {"in_proj": mixer.in_proj, "out_proj": mixer.out_proj}
    packed = packed_attention(plan, name, layers, mixer.heads, reads[0])
    plan.observe(join(name, "in_proj"), packed, rows_of_tokens)
    return reads


def packed_attention(plan: FusionPlan, name: str, layers: dict[str, nn.Linear], heads: int, stream: Axis) -> Axis:
    """Attention with one layer for queries, keys and values, and one behind it.

    Args:
        plan: is added to.
        name: of the attention.
        layers: both by name; the outputs of the first are all queries, then all keys, then all values.
        heads: of each of the three, one behind another.
        stream: what is read, and what the result is added to.

    Returns:
        The axis of the outputs of the first layer.
    """
    (inner_name, inner), (outer_name, outer) = layers.items()
    width = inner.out_features // 3
    shared = plan.add(join(name, "qk"), width, heads=heads, tied=name)
    values = plan.add(join(name, "v"), width, heads=heads, tied=name)
    packed = shared + shared + values
    plan.linear(join(name, inner_name), inner, stream, packed)
    plan.linear(join(name, outer_name), outer, values, stream)
    return packed


@declares(MetaFormer)
def _metaformer(backbone: MetaFormer, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    maps: Flow = []
    for number, stage in enumerate(backbone.stages):
        place = join(name, "stages", str(number))
        reads = _embedded(stage, plan, place, reads)
        norm = join(name, "out_norms", str(number))
        if number in backbone.out_indices:
            maps += reads
        if str(number) in backbone.out_norms:
            plan.vectors(norm, backbone.out_norms[str(number)], reads[0])
    return maps


def _embedded(stage: Any, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    """An embedding, a table of positions if there is one, and blocks."""
    reads = declare(stage.embed, plan, join(name, "embed"), reads)
    if stage.position is not None:
        plan.sides[join(name, "position.table")] = (Side(FIXED), Side(reads[0]))
    return in_turn({f"blocks.{number}": block for number, block in enumerate(stage.blocks)}, plan, name, reads)


@declares(ColumnarFormer)
def _columnar_former(backbone: ColumnarFormer, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    reads = _embedded(backbone, plan, name, reads)
    if backbone.class_token is not None:
        plan.sides[join(name, "class_token")] = (Side(FIXED), Side(FIXED), Side(reads[0]))
    plan.vectors(join(name, "norm"), backbone.norm, reads[0])
    return reads * len(backbone.out_indices)


@declares(BackboneClassifier)
def _backbone_classifier(network: BackboneClassifier, plan: FusionPlan, name: str, reads: Flow) -> Flow:
    stream = declare(network.backbone, plan, join(name, "backbone"), reads)[-1]
    plan.vectors(join(name, "norm"), network.norm, stream)
    plan.linear(join(name, "head"), network.head, stream, FIXED)
    return [FIXED]
