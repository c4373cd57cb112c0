"""PyramidTNT: words within sentences in four stages of strides 8 to 64.

"PyramidTNT: Improved Transformer-in-Transformer Baselines with Pyramid Architecture" (Han et al., 2022).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from timm.layers import to_2tuple, trunc_normal_
from torch import Tensor, nn

from perception.models.backbone_arguments import check_images, check_multiple, checked_indices, variant_of
from perception.models.token_layout import map_of
from perception.registry import MODELS

from .positions import Grid, resized_positions
from .pyramid_stage import WORDS, PyramidTNTStage
from .pyramid_stem import STRIDE, Merge, PyramidStem

logger = logging.getLogger(__name__)
GROWTH = (1, 2, 4, 4)                                # of widths and heads from stage to stage


class PyramidTNTSize(NamedTuple):
    """What tells the variants apart, a number a stage; see `PyramidTNT`."""

    depths: Sequence[int]
    channels: Sequence[int]
    word_channels: Sequence[int]
    heads: Sequence[int]
    word_heads: Sequence[int]


def _grown(depths: tuple[int, ...], *first: int) -> PyramidTNTSize:
    return PyramidTNTSize(depths, *(tuple(number * factor for factor in GROWTH) for number in first))


VARIANTS = {                                         # blocks, and widths and heads of the first stage
    "ti": _grown((2, 6, 3, 2), 80, 5, 2, 1),
    "s": _grown((2, 8, 4, 2), 128, 8, 4, 2),
    "m": _grown((2, 8, 6, 2), 192, 12, 4, 2),
    "b": _grown((2, 10, 6, 2), 256, 16, 4, 2),
}


@MODELS.register_module(role="image_backbone")
class PyramidTNT(nn.Module):
    """Transformer in Transformer in four stages: the map of the sentences after each, not normalised.

    There is no class token. The published models take pictures normalised with mean and deviation 127.5.

    Args:
        variant: "ti", "s", "m" or "b" sets depths, widths and heads.
        img_size: height and width [pixels] that the tables of positions are of. Other pictures get them resized, the
            attention's pairs among them, which no one has trained for: a warning tells so, once.
        depths: blocks of the stages, instead of the variant's.
        channels: widths D of the sentences of the stages, instead of the variant's.
        word_channels: widths c of their words, instead of the variant's.
        heads: of the attention among sentences, instead of the variant's.
        word_heads: of the attention among words, instead of the variant's.
        reductions: of the keys of each stage's sentences.
        expansion: hidden over outer width of the perceptrons.
        qkv_bias: the projections to queries, keys and values have a bias.
        se: gate the perceptrons of the sentences, see `SqueezeExcitation`.
        dropout: of the table of the sentences' positions and in the perceptrons.
        drop_path: of the last block; it rises linearly from 0 at the first.
        out_indices: stages whose maps are given, in ascending order.
        in_channels: channels of a picture.
        checkpointing: in training, compute each block again for the gradient in place of storing what it computed.

    Attributes:
        divisor: what height and width of a picture must be multiples of, so that windows of keys fill the maps.

    Raises:
        ValueError: the variant is unknown, something is not given for each stage, a width is not divisible by its
            heads, ``img_size`` is no multiple of ``divisor``, or ``out_indices`` are no ascending stages.
    """

    def __init__(
        self,
        variant: str = "s",
        *,
        img_size: int | Sequence[int] = 256,
        depths: Sequence[int] | None = None,
        channels: Sequence[int] | None = None,
        word_channels: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
        word_heads: Sequence[int] | None = None,
        reductions: Sequence[int] = (4, 2, 1, 1),
        expansion: float = 4.0,
        qkv_bias: bool = False,
        se: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.1,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        in_channels: int = 3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        given = {
            "depths": depths, "channels": channels, "word_channels": word_channels, "heads": heads,
            "word_heads": word_heads,
        }
        size = variant_of(VARIANTS, variant)._replace(**{k: v for k, v in given.items() if v is not None})
        for name, values in {**size._asdict(), "reductions": reductions}.items():
            if len(values) != len(GROWTH):
                raise ValueError(f"{name} must be {len(GROWTH)}, one a stage, got {tuple(values)}")
        self.out_indices = checked_indices(out_indices, len(GROWTH), "stages")
        self.channels = tuple(size.channels[stage] for stage in self.out_indices)
        self.strides = tuple(STRIDE * 2**stage for stage in self.out_indices)
        self.divisor = STRIDE * math.lcm(*(2**stage * r if r > 1 else 1 for stage, r in enumerate(reductions)))
        check_multiple("img_size", to_2tuple(img_size), self.divisor)
        self.grid = _grid(*to_2tuple(img_size))
        self.in_channels, self._has_warned = in_channels, False

        self.stem = PyramidStem(in_channels, size.channels[0], size.word_channels[0])
        self.word_position = nn.Parameter(torch.zeros(1, WORDS, size.word_channels[0]))
        self.sentence_position = nn.Parameter(torch.zeros(1, math.prod(self.grid), size.channels[0]))
        self.dropout = nn.Dropout(dropout)
        rates = torch.linspace(0, drop_path, sum(size.depths), device="cpu").split(list(size.depths))
        self.stages = nn.ModuleList()
        for stage, (_, D, c, stage_heads, stage_word_heads) in enumerate(zip(*size, strict=True)):
            before = stage - 1
            merge = Merge((size.channels[before], D), (size.word_channels[before], c)) if stage else None
            grid = (-(-self.grid[0] // 2**stage), -(-self.grid[1] // 2**stage))
            self.stages.append(PyramidTNTStage(
                D, c, grid, merge, drop_paths=rates[stage].tolist(), heads=stage_heads, word_heads=stage_word_heads,
                reduction=reductions[stage], expansion=expansion, dropout=dropout, se=se, qkv_bias=qkv_bias,
                checkpointing=checkpointing,
            ))
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers and positions truncated normal, convolutions by their fan out, biases zero, pairs normal."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, PyramidTNTStage):
                nn.init.normal_(module.pair_bias)
            if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for table in (self.word_position, self.sentence_position):
            trunc_normal_(table, std=0.02)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, D_i, H / s_i, W / s_i) of the stages of ``out_indices``, rounded up.

        Raises:
            ValueError: the pictures have other channels, or sides that are no multiples of ``divisor``.
        """
        maps = []
        for stage, (_, sentences, size) in enumerate(self.levels(images, self.out_indices[-1] + 1)):
            if stage in self.out_indices:
                maps.append(map_of(sentences, size))
        return tuple(maps)

    def levels(self, images: Tensor, depth: int) -> Iterator[tuple[Tensor, Tensor, Grid]]:
        """Words (B * N, 16, c), sentences (B, N, D) and their grid after each of the first ``depth`` stages."""
        words, sentences, size = self.embed(images)
        for stage in self.stages[:depth]:
            words, sentences, size = stage(words, sentences, size)
            yield words, sentences, size

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor, Grid]:
        """Words, sentences and their grid before the first stage; errors as forward."""
        check_images(images, channels=self.in_channels, multiple=self.divisor)
        size = _grid(images.shape[2], images.shape[3])
        if size != self.grid:
            self._warn(size)
        words, sentences = self.stem(images)
        positions = resized_positions(self.sentence_position, self.grid, size)
        return words + self.word_position, sentences + self.dropout(positions), size

    def _warn(self, size: Grid) -> None:
        """Tell once that tables are resized; never while a graph is traced."""
        if not self._has_warned and not torch.compiler.is_compiling():
            logger.warning(
                "PyramidTNT: pictures of %d x %d sentences get tables of %d x %d resized, the attention's pairs too: "
                "set img_size to the pictures' size and train", *size, *self.grid,
            )
            self._has_warned = True


def _grid(height: int, width: int) -> Grid:
    """Rows and columns of the sentences of the first stage."""
    return height // STRIDE, width // STRIDE
