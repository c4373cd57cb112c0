"""VMamba: four stages of selective scans along four ways.

"VMamba: Visual State Space Model" (Liu et al., NeurIPS 2024); the variants are those of the released code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from perception.models.backbone_arguments import check_images, checked_indices, variant_of
from perception.models.checkpointed import checkpointed
from perception.registry import MODELS

from .ss2d import SS2D
from .vmamba_layers import patch_embedding, reduction
from .vss_block import VSSBlock

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class Sizes:
    """A published size.

    Args:
        widths, depths: channels and blocks of the four stages.
        ratio, state, gated, conv_bias: see `SS2D`.
        mlp_ratio: see `VSSBlock`.
        stem: see `patch_embedding`.
        downsample: see `reduction`.
        drop_path: of the last block.

    Raises:
        ValueError: widths or depths are not given for four stages.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    ratio: float
    drop_path: float
    state: int = 1
    gated: bool = False
    conv_bias: bool = False
    mlp_ratio: float = 4.0
    stem: str = "convolutions"
    downsample: str = "convolution"

    def __post_init__(self) -> None:
        for name, value in (("widths", self.widths), ("depths", self.depths)):
            if len(value) != len(STRIDES):
                raise ValueError(f"{name} must be four, one a stage, got {value}")


def _widths(first: int) -> tuple[int, ...]:
    return tuple(first * 2**stage for stage in range(len(STRIDES)))


def _vanilla(first: int, depth: int, drop_path: float) -> Sizes:
    return Sizes(
        _widths(first), (2, 2, depth, 2), 2.0, drop_path, state=16, gated=True, conv_bias=True, mlp_ratio=0.0,
        stem="patches", downsample="merging",
    )


VARIANTS: dict[str, Sizes] = {
    "vanilla_tiny": _vanilla(96, 9, 0.2),
    "vanilla_small": _vanilla(96, 27, 0.3),
    "vanilla_base": _vanilla(128, 27, 0.6),
    "tiny_s2l5": Sizes(_widths(96), (2, 2, 5, 2), 2.0, 0.2),
    "small_s2l15": Sizes(_widths(96), (2, 2, 15, 2), 2.0, 0.3),
    "base_s2l15": Sizes(_widths(128), (2, 2, 15, 2), 2.0, 0.6),
    "tiny_s1l8": Sizes(_widths(96), (2, 2, 8, 2), 1.0, 0.2),
    "small_s1l20": Sizes(_widths(96), (2, 2, 20, 2), 1.0, 0.3),
    "base_s1l20": Sizes(_widths(128), (2, 2, 20, 2), 1.0, 0.5),
}


@MODELS.register_module(role="image_backbone")
class VMambaBackbone(nn.Module):
    """Maps of strides 4, 8, 16 and 32, of pictures of any size; time grows linearly with their pixels.

    Args:
        variant: a name of `VARIANTS`, such as "tiny_s1l8" or "vanilla_base".
        widths, depths, ratio, state, gated, conv_bias, mlp_ratio, stem, downsample, drop_path: instead of the
            variant's, see `Sizes`; a drop path rises linearly from 0 at the first block.
        out_indices: stages whose maps are given, in ascending order. There are no stages behind the last of them.
        out_norms: normalise the maps that are given, each by a norm of its own, as dense models do.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    ``dense_only`` names what a classifier's weights lack: the norms.

    Raises:
        ValueError: the variant, the stem or the downsampling is unknown, something is not given for four stages, or
            ``out_indices`` are no ascending stages.
    """

    def __init__(
        self,
        variant: str = "tiny_s1l8",
        *,
        widths: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        ratio: float | None = None,
        state: int | None = None,
        gated: bool | None = None,
        conv_bias: bool | None = None,
        mlp_ratio: float | None = None,
        stem: str | None = None,
        downsample: str | None = None,
        drop_path: float | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norms: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        sizes = _changed(
            variant_of(VARIANTS, variant), widths=None if widths is None else tuple(widths),
            depths=None if depths is None else tuple(depths), ratio=ratio, state=state, gated=gated,
            conv_bias=conv_bias, mlp_ratio=mlp_ratio, stem=stem, downsample=downsample, drop_path=drop_path,
        )
        self.out_indices, self.checkpointing = checked_indices(out_indices, len(STRIDES), "stages"), checkpointing
        used = sizes.widths[: self.out_indices[-1] + 1]
        rates = iter(torch.linspace(0, sizes.drop_path, sum(sizes.depths), device="cpu").tolist())
        self.stem = patch_embedding(sizes.stem, used[0])
        self.stages = nn.ModuleList(
            nn.Sequential(*(_block(width, sizes, next(rates)) for _ in range(depth)))
            for width, depth in zip(used, sizes.depths, strict=False)                      # the last may go unused
        )
        self.downsamples = nn.ModuleList(reduction(sizes.downsample, *ends) for ends in pairwise(used))
        self.channels = tuple(used[stage] for stage in self.out_indices)
        self.strides = tuple(STRIDES[stage] for stage in self.out_indices)
        self.out_norms = nn.ModuleDict(
            {str(stage): nn.LayerNorm(used[stage], eps=1e-5) for stage in self.out_indices} if out_norms else {}
        )
        self.dense_only = ("out_norms.",) if out_norms else ()
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers truncated normal with biases zero; convolutions and scans as they make themselves."""
        for module in self.modules():
            if isinstance(module, nn.Linear) and not module.weight.is_meta:     # which takes long to fill with nothing
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i), rounded up, or down by a stem of patches.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or have no pixel.
        """
        check_images(images, least=STRIDES[0])
        x, maps = self.stem(images.movedim(1, -1)), []                                     # (B, H, W, C)
        for stage, blocks in enumerate(self.stages):
            if stage:
                x = self.downsamples[stage - 1](x)
            x = self._run(blocks, x)
            if stage in self.out_indices:
                maps.append(self._normed(x, stage).movedim(-1, 1))
        return tuple(maps)

    def _run(self, blocks: nn.Module, x: Tensor) -> Tensor:
        if not (self.checkpointing and self.training):
            return blocks(x)
        for block in blocks.children():
            x = checkpointed(block, x)
        return x

    def _normed(self, x: Tensor, stage: int) -> Tensor:
        return self.out_norms[str(stage)](x) if self.out_norms else x


def _block(width: int, sizes: Sizes, drop_path: float) -> VSSBlock:
    op = SS2D(width, state=sizes.state, ratio=sizes.ratio, gated=sizes.gated, conv_bias=sizes.conv_bias)
    return VSSBlock(width, op, mlp_ratio=sizes.mlp_ratio, drop_path=drop_path)


def _changed(sizes: Sizes, **given: Any) -> Sizes:
    return replace(sizes, **{name: value for name, value in given.items() if value is not None})
