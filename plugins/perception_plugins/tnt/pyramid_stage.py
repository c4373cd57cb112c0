"""One stage of PyramidTNT: its blocks, and the merge that comes before them.

"PyramidTNT: Improved Transformer-in-Transformer Baselines with Pyramid Architecture" (Han et al., 2022), section 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from .attention import PyramidTNTAttention
from .layers import JointNorm, SentenceProjection, TNTBlock, TransformerLayer, run_block
from .positions import Grid, resized_pairs
from .pyramid_stem import SIDE, Merge

WORDS = SIDE**2                                      # of a sentence
MANY_BLOCKS = 6                                      # a stage of more has words in its second block too


class PyramidTNTStage(nn.Module):
    """Blocks over one grid of sentences, which share a learned table of how much one sentence looks at another.

    Only the first block has words, and the second if there are more than six.

    Args:
        channels: width D of the sentences.
        word_channels: width c of their words.
        grid: rows and columns of the sentences that the table is of.
        merge: makes this stage's words and sentences of those of the stage before; None in the first stage.
        drop_paths: of each block.
        heads: of the attention among sentences.
        word_heads: of the attention among words.
        reduction: of the keys of the attention among sentences.
        expansion, dropout: see `TransformerLayer`.
        se: the same for the sentences.
        qkv_bias: see `PyramidTNTAttention`.
        checkpointing: see `run_block`.
    """

    def __init__(
        self,
        channels: int,
        word_channels: int,
        grid: Grid,
        merge: Merge | None = None,
        *,
        drop_paths: Sequence[float],
        heads: int,
        word_heads: int,
        reduction: int = 1,
        expansion: float = 4.0,
        dropout: float = 0.0,
        se: bool = False,
        qkv_bias: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.grid, self.reduction, self.checkpointing = grid, reduction, checkpointing
        self.merge = merge
        self.blocks = nn.ModuleList()
        for number, rate in enumerate(drop_paths):
            layer = partial(TransformerLayer, expansion=expansion, dropout=dropout, drop_path=rate)
            mixer = PyramidTNTAttention(channels, heads=heads, reduction=reduction, qkv_bias=qkv_bias)
            sentences = layer(channels, mixer, partial(nn.LayerNorm, channels), se=se)
            words = project = None
            if number == 0 or (number == 1 and len(drop_paths) > MANY_BLOCKS):
                word_mixer = PyramidTNTAttention(word_channels, heads=word_heads, qkv_bias=qkv_bias)
                words = layer(word_channels, word_mixer, partial(JointNorm, WORDS, word_channels))
                project = SentenceProjection(WORDS, word_channels, channels)
            self.blocks.append(TNTBlock(sentences, words, project))
        self.pair_bias = nn.Parameter(torch.zeros(1, heads, math.prod(grid), math.prod(self._keys(grid))))

    def forward(self, words: Tensor, sentences: Tensor, size: Grid) -> tuple[Tensor, Tensor, Grid]:
        """What the stage before gave -> words (B * N, 16, c), sentences (B, N, D) and their grid, N = rows * columns.

        The grid is halved by the merge, if there is one, and rounded up.
        """
        if self.merge is not None:
            words, sentences = self.merge(words, sentences, size)
            size = (-(-size[0] // 2), -(-size[1] // 2))
        bias: Tensor = self.pair_bias
        if size != self.grid:
            bias = resized_pairs(bias, (self.grid, self._keys(self.grid)), (size, self._keys(size)))
        for block in self.blocks:
            words, sentences = run_block(block, self.checkpointing, words, sentences, size, bias)
        return words, sentences, size

    def _keys(self, grid: Grid) -> Grid:
        return grid[0] // self.reduction, grid[1] // self.reduction
