"""RMT: four stages of Manhattan self-attention, decomposed where maps are large."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from perception.models.backbone_arguments import check_images, checked_indices, variant_of
from perception.models.conv_unit import ConvUnit
from perception.registry import MODELS

from .block import RMTBlock
from .position import DecayPosition

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class Sizes:
    """A published size; all but the last are one a stage.

    Args:
        channels: widths.
        depths: blocks.
        heads: of the attention.
        decay_ranges: see `DecayPosition`, its ``span``.
        expansions: hidden over outer width of the feed-forward layers.
        decomposed: attention is decomposed.
        layer_scales: branches of blocks have a scale.
        decay_starts: see `DecayPosition`.
        drop_path: of the last block.

    Raises:
        ValueError: something is not given for four stages.
    """

    channels: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    decay_ranges: tuple[float, ...]
    expansions: tuple[float, ...] = (4, 4, 3, 3)
    decomposed: tuple[bool, ...] = (True, True, True, False)
    layer_scales: tuple[bool, ...] = (False, False, False, False)
    decay_starts: tuple[float, ...] = (2, 2, 2, 2)
    drop_path: float = 0.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, tuple) and len(value) != len(STRIDES):
                raise ValueError(f"{entry.name} must be four, one a stage, got {value}")


VARIANTS = {
    "t": Sizes(
        (64, 128, 256, 512), (2, 2, 8, 2), (4, 4, 8, 16), (4, 4, 6, 6), expansions=(3, 3, 3, 3),
        decomposed=(True, True, False, False), drop_path=0.1,
    ),
    "s": Sizes((64, 128, 256, 512), (3, 4, 18, 4), (4, 4, 8, 16), (4, 4, 6, 6), drop_path=0.15),
    "b": Sizes(
        (80, 160, 320, 512), (4, 8, 25, 8), (5, 5, 10, 16), (5, 5, 6, 6), layer_scales=(False, False, True, True),
        drop_path=0.4,
    ),
    "l": Sizes(
        (112, 224, 448, 640), (4, 8, 25, 8), (7, 7, 14, 20), (6, 6, 6, 6), layer_scales=(False, False, True, True),
        drop_path=0.5,
    ),
}


class RMTStage(nn.Module):
    """Blocks that share the tables of their map's size.

    Args:
        position: makes the tables.
        blocks: the blocks.
        checkpointing: recompute the blocks in the backward pass instead of keeping what they computed.
    """

    def __init__(self, position: DecayPosition, blocks: Iterable[RMTBlock], *, checkpointing: bool = False) -> None:
        super().__init__()
        self.position = position
        self.blocks = nn.ModuleList(blocks)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        tables = self.position((x.shape[1], x.shape[2]))
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, tables, use_reentrant=False)
            else:
                x = block(x, tables)
        return x


@MODELS.register_module(role="image_backbone")
class RMT(nn.Module):
    """Retentive network for vision: maps of strides 4, 8, 16 and 32, of pictures of any size.

    "RMT: Retentive Networks Meet Vision Transformers" (Fan et al., CVPR 2024). Tokens keep their channels last inside.

    Args:
        variant: "t", "s", "b" or "l" sets everything that is given for each stage, and the drop path.
        channels, depths, heads, decay_starts, decay_ranges, expansions, layer_scales: of the stages instead of the
            variant's, see `Sizes`.
        decomposed: stages whose attention is decomposed, instead of the variant's. Whole attention needs memory that is
            quadratic in the tokens: in stage 3 of "t", 2 GiB for a picture of 1024 x 2048 pixels.
        drop_path: probability of leaving a branch out, of the last block; it grows linearly from 0 at the first. None
            takes the variant's.
        layer_scale_init: first value of the branches' scales, in stages that have them.
        out_indices: stages whose maps are given, in ascending order.
        out_norms: normalise the maps that are given. There are norms for all four stages, as in the authors' dense
            models; those of maps that are not given do not learn.
        short_stem: two convolutions before the first stage in place of four.
        in_channels: of the pictures.
        checkpointing: see `RMTStage`.

    ``dense_only`` names what a classifier's weights lack: the norms.

    Raises:
        ValueError: the variant is unknown, something is not given for four stages, ``out_indices`` are no ascending
            stages, or a stage cannot be built (see `DecayPosition`).
    """

    def __init__(
        self,
        variant: str = "t",
        *,
        channels: Sequence[int] | None = None,
        depths: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        decay_starts: Sequence[float] | None = None,
        decay_ranges: Sequence[float] | None = None,
        expansions: Sequence[float] | None = None,
        decomposed: Sequence[bool] | None = None,
        layer_scales: Sequence[bool] | None = None,
        drop_path: float | None = None,
        layer_scale_init: float = 1e-6,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norms: bool = True,
        short_stem: bool = False,
        in_channels: int = 3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        sizes = _changed(
            variant_of(VARIANTS, variant), channels=channels, depths=depths, heads=heads, decay_starts=decay_starts,
            decay_ranges=decay_ranges, expansions=expansions, decomposed=decomposed, layer_scales=layer_scales,
        )
        self.out_indices, self.in_channels = checked_indices(out_indices, len(STRIDES), "stages"), in_channels
        self.channels = tuple(sizes.channels[stage] for stage in self.out_indices)
        self.strides = tuple(STRIDES[stage] for stage in self.out_indices)
        last = sizes.drop_path if drop_path is None else drop_path
        rates = iter(torch.linspace(0, last, sum(sizes.depths), device="cpu").tolist())
        self.stem = conv_stem(in_channels, sizes.channels[0], short=short_stem)
        self.stages = nn.ModuleList(
            RMTStage(
                DecayPosition(
                    width, sizes.heads[stage], sizes.decay_starts[stage], sizes.decay_ranges[stage],
                    decomposed=sizes.decomposed[stage],
                ),
                [
                    RMTBlock(
                        width, sizes.heads[stage], int(width * sizes.expansions[stage]), drop_path=next(rates),
                        layer_scale=layer_scale_init if sizes.layer_scales[stage] else None,
                    )
                    for _ in range(sizes.depths[stage])
                ],
                checkpointing=checkpointing,
            )
            for stage, width in enumerate(sizes.channels)
        )
        self.reductions = nn.ModuleList(conv_norm(*widths, stride=2) for widths in pairwise(sizes.channels))
        self.norms = nn.ModuleList(nn.LayerNorm(width) if out_norms else nn.Identity() for width in sizes.channels)
        self.dense_only = ("norms.",) if out_norms else ()
        for stage, norm in enumerate(self.norms):
            norm.requires_grad_(stage in self.out_indices)
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers truncated normal with biases zero; convolutions and norms as torch has them."""
        init_linear_layers(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, in_channels, H, W) -> maps (B, C_i, H / s_i, W / s_i), rounded up; in memory their channels come last.

        Raises:
            ValueError: the pictures have another number of channels, or no pixel.
        """
        return self.encode(self.embed(images))

    def embed(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> tokens (B, H / 4, W / 4, C_0) for the first stage. Raises as `forward` does."""
        check_images(images, channels=self.in_channels)
        return self.stem(images).movedim(1, -1).contiguous()

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Tokens that `embed` gave -> maps, as `forward` gives them."""
        maps = []
        for index, (stage, norm) in enumerate(zip(self.stages, self.norms, strict=True)):
            if index > self.out_indices[-1]:
                break
            if index:
                x = self.reductions[index - 1](x.movedim(-1, 1)).movedim(1, -1)            # (B, H / 2, W / 2, C')
            x = stage(x)
            if index in self.out_indices:
                maps.append(norm(x).movedim(-1, 1))                                        # (B, C, H, W)
        return tuple(maps)


def conv_norm(in_channels: int, channels: int, *, stride: int) -> ConvUnit:
    """A 3x3 convolution with bias and a batch normalisation; sizes are divided by the stride and rounded up."""
    conv = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1)
    return ConvUnit(conv, eps=1e-5, momentum=0.1, activation=False)


def conv_stem(in_channels: int, channels: int, *, short: bool = False) -> nn.Sequential:
    """(B, in_channels, H, W) -> (B, channels, H / 4, W / 4), rounded up, by four convolutions, or by two."""
    half = channels // 2
    if short:
        return nn.Sequential(
            conv_norm(in_channels, half, stride=2), nn.GELU(), conv_norm(half, channels, stride=2)
        )
    return nn.Sequential(
        conv_norm(in_channels, half, stride=2), nn.GELU(), conv_norm(half, half, stride=1), nn.GELU(),
        conv_norm(half, channels, stride=2), nn.GELU(), conv_norm(channels, channels, stride=1),
    )


def init_linear_layers(module: nn.Module) -> None:
    """Every linear layer in ``module``: weights from a truncated normal of standard deviation 0.02, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)


def _changed(sizes: Sizes, **given: Any) -> Sizes:
    changes: dict[str, Any] = {name: tuple(value) for name, value in given.items() if value is not None}
    return replace(sizes, **changes)
