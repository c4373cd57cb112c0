"""TNT: words within sentences, a transformer at both levels, all at one stride.

"Transformer in Transformer" (Han et al., NeurIPS 2021).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from timm.layers import to_2tuple, trunc_normal_
from torch import Tensor, nn

from perception.models.backbone_arguments import check_images, check_multiple, checked_indices, variant_of
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .attention import TNTAttention
from .cells import split_cells
from .layers import SentenceProjection, TNTBlock, TransformerLayer, run_block
from .positions import resized_positions


class TNTSize(NamedTuple):
    """What tells the variants apart; see `TNT`."""

    channels: int
    word_channels: int
    depth: int
    heads: int
    word_heads: int


VARIANTS = {
    "ti": TNTSize(192, 12, 12, 3, 2),                # in the paper only: the authors published no weights of it
    "s": TNTSize(384, 24, 12, 6, 4),
    "b": TNTSize(640, 40, 12, 10, 4),
}


class WordEmbed(nn.Module):
    """Cuts pictures into square patches, and each patch into words by a strided 7x7 convolution.

    Args:
        in_channels: channels of a picture.
        channels: width c of the words.
        patch_size: side of a patch [pixels].
        stride: of the convolution [pixels].
        whole: convolve the picture as a whole, so that the words near a patch's border see over it; otherwise each
            patch is convolved by itself, with zeros around it. A patch must then be a multiple of the stride.

    Raises:
        ValueError: ``whole``, and the stride does not divide the patch.
    """

    def __init__(
        self, in_channels: int, channels: int, patch_size: int, stride: int, *, whole: bool = False
    ) -> None:
        super().__init__()
        if whole and patch_size % stride:
            raise ValueError(f"patch_size ({patch_size}) must be divisible by inner_stride ({stride})")
        self.patch_size, self.whole = patch_size, whole
        self.side = -(-patch_size // stride)         # words along a side of a patch
        self.proj = nn.Conv2d(in_channels, channels, 7, stride=stride, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B * N, n, c), the n words of each of the N patches of a picture, both row by row."""
        if self.whole:
            return tokens_of(split_cells(self.proj(images), self.side))
        return tokens_of(self.proj(split_cells(images, self.patch_size)))


@MODELS.register_module(role="image_backbone")
class TNT(nn.Module):
    """Transformer in Transformer: maps of the sentences after chosen blocks, none of them normalised.

    Each patch is a sentence of words; every block updates the words of each sentence, adds them to it, and updates the
    sentences, among which there is a class token that the maps leave out. `SimplePyramid` makes maps of several
    strides of them. The published models take pictures normalised with mean and deviation 127.5.

    Args:
        variant: "ti", "s" or "b" sets the widths, the depth and the heads.
        img_size: height and width [pixels] that the table of positions is of; other pictures get it resized.
        patch_size: side of a patch [pixels]; the stride of the maps.
        inner_stride: pixels between the words of a patch.
        channels: width D of the sentences, instead of the variant's.
        word_channels: width c of the words, instead of the variant's.
        depth: blocks, instead of the variant's.
        heads: of the attention among sentences, instead of the variant's.
        word_heads: of the attention among words, instead of the variant's.
        expansion: hidden over outer width of the perceptrons.
        qkv_bias: the projections to queries, keys and values have a bias.
        se: gate the perceptrons of the sentences, see `SqueezeExcitation`.
        legacy: the older model of which timm has weights: words see over the borders of patches, and each is
            normalised by itself before it is added to its sentence.
        dropout: after the positions and in the perceptrons.
        drop_path: of the last block; it rises linearly from 0 at the first.
        out_indices: blocks whose maps are given, in ascending order; None gives the last one's.
        in_channels: channels of a picture.
        checkpointing: in training, compute each block again for the gradient in place of storing what it computed.

    Raises:
        ValueError: the variant is unknown, ``img_size`` no multiple of ``patch_size``, a width not divisible by its
            heads, or ``out_indices`` no ascending blocks.
    """

    def __init__(
        self,
        variant: str = "s",
        *,
        img_size: int | Sequence[int] = 224,
        patch_size: int = 16,
        inner_stride: int = 4,
        channels: int | None = None,
        word_channels: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        word_heads: int | None = None,
        expansion: float = 4.0,
        qkv_bias: bool = False,
        se: bool = False,
        legacy: bool = False,
        dropout: float = 0.0,
        drop_path: float = 0.1,
        out_indices: Sequence[int] | None = None,
        in_channels: int = 3,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        given = {
            "channels": channels, "word_channels": word_channels, "depth": depth, "heads": heads,
            "word_heads": word_heads,
        }
        published = variant_of(VARIANTS, variant)
        D, c, depth, heads, word_heads = published._replace(**{k: v for k, v in given.items() if v is not None})
        rows, columns = to_2tuple(img_size)
        check_multiple("img_size", (rows, columns), patch_size)
        self.out_indices = checked_indices((depth - 1,) if out_indices is None else out_indices, depth, "blocks")
        self.channels = (D,) * len(self.out_indices)
        self.strides = (patch_size,) * len(self.out_indices)
        self.in_channels, self.patch_size, self.checkpointing = in_channels, patch_size, checkpointing
        self.grid = (rows // patch_size, columns // patch_size)

        self.word_embed = WordEmbed(in_channels, c, patch_size, inner_stride, whole=legacy)
        words = self.word_embed.side**2
        self.project = SentenceProjection(words, c, D, bias=True)
        self.class_token = nn.Parameter(torch.zeros(1, 1, D))
        self.word_position = nn.Parameter(torch.zeros(1, words, c))
        self.sentence_position = nn.Parameter(torch.zeros(1, 1 + self.grid[0] * self.grid[1], D))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList()
        for rate in torch.linspace(0, drop_path, depth, device="cpu").tolist():
            layer = partial(TransformerLayer, expansion=expansion, dropout=dropout, drop_path=rate)
            word_mixer = TNTAttention(c, heads=word_heads, qkv_bias=qkv_bias)
            mixer = TNTAttention(D, heads=heads, qkv_bias=qkv_bias)
            self.blocks.append(TNTBlock(
                words=layer(c, word_mixer, partial(nn.LayerNorm, c)),
                project=SentenceProjection(words, c, D, bias=legacy, joint=not legacy),
                sentences=layer(D, mixer, partial(nn.LayerNorm, D), se=se),
            ))
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers and tables truncated normal, biases zero; the convolution keeps torch's initialisation."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for table in (self.class_token, self.word_position, self.sentence_position):
            trunc_normal_(table, std=0.02)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> a map (B, D, H / patch_size, W / patch_size) for each of ``out_indices``.

        Raises:
            ValueError: the pictures have other channels, or sides that are no multiples of ``patch_size``.
        """
        maps = []
        for number, (_, sentences) in enumerate(self.levels(images, self.out_indices[-1] + 1)):
            if number in self.out_indices:
                maps.append(map_of(sentences[:, 1:], self._size(images)))
        return tuple(maps)

    def tokens(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 1 + N, D), the class token and the sentences after the last block; errors as forward."""
        for _, sentences in self.levels(images, len(self.blocks)):
            last = sentences
        return last

    def levels(self, images: Tensor, depth: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Words (B * N, n, c) and sentences (B, 1 + N, D) after each of the first ``depth`` blocks."""
        words, sentences = self.embed(images)
        for block in self.blocks[:depth]:
            words, sentences = run_block(block, self.checkpointing, words, sentences)
            yield words, sentences

    def embed(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Words (B * N, n, c) and sentences (B, 1 + N, D) before the first block; errors as forward."""
        check_images(images, channels=self.in_channels, multiple=self.patch_size)
        B = images.shape[0]
        words = self.word_embed(images) + self.word_position
        sentences = self.project(words).unflatten(0, (B, -1))                              # (B, N, D)
        sentences = torch.cat([self.class_token.expand(B, -1, -1).to(sentences.dtype), sentences], dim=1)
        return words, self.dropout(sentences + self._positions(self._size(images)))

    def _positions(self, size: tuple[int, int]) -> Tensor:
        """(1, 1 + N, D) of the class token and of the sentences of a grid."""
        if size == self.grid:
            return self.sentence_position
        resized = resized_positions(self.sentence_position[:, 1:], self.grid, size)
        return torch.cat([self.sentence_position[:, :1], resized], dim=1)

    def _size(self, images: Tensor) -> tuple[int, int]:
        return images.shape[2] // self.patch_size, images.shape[3] // self.patch_size
