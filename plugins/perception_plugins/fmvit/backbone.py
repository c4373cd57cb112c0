"""The FMViT-style backbone; see the package for what it is not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import fold_batch_norms
from perception.models.backbone_arguments import check_images, checked_indices, variant_of
from perception.models.checkpointed import checkpointed
from perception.models.rep_conv import RepConv
from perception.registry import MODELS

from .blocks import GLOBAL_AND_LOCAL, Branches, ConvFusionBlock, FrequencyMixingBlock, pointwise

STRIDES = (4, 8, 16, 32)
STEM_BRANCHES = ((3, 1), (1, 1))


@dataclass(frozen=True)
class Variant:
    """One of the project's sizes: widths and blocks of the stages, and channels of a head of attention and of a group.

    Attention heads are counted a stage, since stage 1 of the tiny one has 48 channels for them; stage 0 has none.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head_channels: tuple[int, ...]
    conv_head_channels: int


VARIANTS = {
    "tiny": Variant((48, 96, 192, 384), (2, 2, 6, 2), (16, 16, 32, 32), 16),
    "small": Variant((64, 128, 256, 512), (3, 4, 10, 3), (32, 32, 32, 32), 32),
    "base": Variant((96, 192, 384, 768), (3, 4, 10, 3), (32, 32, 32, 32), 32),
}


@MODELS.register_module(role="image_backbone")
class FMViT(nn.Module):
    """Four stages of `ConvFusionBlock`s, the last three of which end with a `FrequencyMixingBlock`.

    It is in the style of FMViT, whose code is not public, and no reproduction of it. Maps have strides 4, 8, 16 and 32.
    `switch_to_deploy` leaves convolutions with biases, ReLUs and one attention a stage.

    Args:
        variant: "tiny", "small" or "base", which are this project's sizes.
        widths, depths: channels and blocks of each stage, instead of the variant's.
        reductions: of each stage's attention; that of stage 0, which has none, is not heeded.
        head_channels: channels of a head of attention, for all stages or for each, instead of the variant's.
        conv_head_channels: channels of a group of the 3x3 convolutions, instead of the variant's.
        low_ratio: share of the channels that attention mixes in the last block of a stage.
        mlp_ratio: hidden over outer width of the perceptrons.
        mlp_branches, attention_branches: kernel, which is 1, and groups of the convolutions that one is trained as.
        out_indices: stages whose maps are given, in ascending order; there are no stages behind the last.
        drop_path: probability of leaving a branch out, of the last block; it rises linearly from 0 at the first.
        norm_eps: of the normalisations.
        norm_eval: normalise by the running statistics in training too, as batches of one small picture need it.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: the variant is unknown, something is not given for each stage, ``out_indices`` are no ascending
            stages, or widths are no multiples of heads and groups.
    """

    def __init__(
        self,
        variant: str = "tiny",
        *,
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        reductions: Sequence[int] = (8, 4, 2, 1),
        head_channels: int | Sequence[int] | None = None,
        conv_head_channels: int | None = None,
        low_ratio: float = 0.5,
        mlp_ratio: float = 3,
        mlp_branches: Branches = GLOBAL_AND_LOCAL,
        attention_branches: Branches = GLOBAL_AND_LOCAL,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        drop_path: float = 0.0,
        norm_eps: float = 1e-5,
        norm_eval: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        usual = variant_of(VARIANTS, variant)
        widths, depths = _four("widths", widths, usual.widths), _four("depths", depths, usual.depths)
        reductions = _four("reductions", reductions, reductions)
        heads = (head_channels,) * 4 if isinstance(head_channels, int) else head_channels
        heads = _four("head_channels", heads, usual.head_channels)
        self.out_indices = checked_indices(out_indices, len(STRIDES), "stages")
        self.norm_eval, self.checkpointing = norm_eval, checkpointing
        self.channels = tuple(widths[stage] for stage in out_indices)
        self.strides = tuple(STRIDES[stage] for stage in out_indices)
        self.stem = nn.ModuleList(
            RepConv(width, widths[0], STEM_BRANCHES, stride=2, eps=norm_eps) for width in (3, widths[0])
        )
        self.down, self.stages = nn.ModuleDict(), nn.ModuleList()
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        common: dict[str, Any] = {
            "conv_head_channels": usual.conv_head_channels if conv_head_channels is None else conv_head_channels,
            "mlp_ratio": mlp_ratio, "mlp_branches": mlp_branches, "eps": norm_eps,
        }
        for stage in range(out_indices[-1] + 1):
            width = widths[stage]
            if stage:
                self.down[str(stage)] = pointwise(widths[stage - 1], width, norm_eps)
            mixing: dict[str, Any] = {
                "reduction": reductions[stage], "head_channels": heads[stage], "low_ratio": low_ratio,
                "attention_branches": attention_branches,
            }
            last = depths[stage] - 1 if stage else depths[stage]
            self.stages.append(nn.ModuleList(
                ConvFusionBlock(width, drop_path=next(rates), **common) if block < last
                else FrequencyMixingBlock(width, drop_path=next(rates), **mixing, **common)
                for block in range(depths[stage])
            ))
        self.init_weights()

    def init_weights(self) -> None:
        """Convolutions truncated normal, norms as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, _BatchNorm):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)

    def train(self, mode: bool = True) -> FMViT:
        """As torch's; with ``norm_eval`` the norms stay in evaluation mode."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i), rounded up.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or a side is below 32 pixels.
        """
        check_images(images, least=STRIDES[-1])
        x, maps = images, []
        for layer in self.stem:
            x = layer(x).relu()
        for number, blocks in enumerate(cast("list[nn.ModuleList]", list(self.stages))):
            if number:
                x = self.down[str(number)](F.avg_pool2d(x, 2, ceil_mode=True, count_include_pad=False))
            for block in blocks:
                x = checkpointed(block, x) if self.checkpointing and self.training else block(x)
            if number in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def switch_to_deploy(self) -> None:
        """Make every sum of convolutions one, and fold every normalisation; a second time changes nothing.

        Only ``conv.weight`` and ``conv.bias`` of convolutions are left in the state, which a network loads after it was
        switched itself. Within a model, `fold_batch_norms` does the same.

        Raises:
            ValueError: the network is in training mode.
        """
        fold_batch_norms(self)


def _four(name: str, values: Sequence[int] | None, usual: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(usual if values is None else values)
    if len(chosen) != 4 or min(chosen) < 1:
        raise ValueError(f"{name} must be four numbers >= 1, one a stage, got {chosen}")
    return chosen
