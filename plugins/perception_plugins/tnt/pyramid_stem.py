"""Where PyramidTNT's words and sentences come from: its stem, and the merges between its stages.

"PyramidTNT: Improved Transformer-in-Transformer Baselines with Pyramid Architecture" (Han et al., 2022), section 3.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.conv_unit import ConvUnit
from perception.models.token_layout import map_of, tokens_of

from .cells import join_words, split_cells

SIDE = 4                                             # words along a side of a sentence
STRIDE = 8                                           # of the sentences of the first stage [pixels]


def _unit(in_channels: int, channels: int, stride: int = 1) -> ConvUnit:
    return ConvUnit(nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1), eps=1e-5, momentum=0.1)


class PyramidStem(nn.Module):
    """Convolutions that give words of stride 2 and sentences of stride 8.

    Args:
        in_channels: channels of a picture.
        channels: width D of the sentences.
        word_channels: width c of the words.
    """

    def __init__(self, in_channels: int, channels: int, word_channels: int) -> None:
        super().__init__()
        narrow = 2 * word_channels
        self.common = _unit(in_channels, narrow, stride=2)
        self.words = _unit(narrow, word_channels)
        self.sentences = nn.Sequential(
            _unit(narrow, 2 * narrow, stride=2), _unit(2 * narrow, 4 * narrow, stride=2), _unit(4 * narrow, channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W), multiples of 8 -> words (B * N, 16, c) and sentences (B, N, D), N = H / 8 * W / 8."""
        plane = self.common(images)                                                        # (B, 2 c, H / 2, W / 2)
        return tokens_of(split_cells(self.words(plane), SIDE)), tokens_of(self.sentences(plane))


class WordMerge(nn.Module):
    """Joins the words of two by two sentences into one map, which a strided convolution brings to a sentence's size.

    Args:
        channels: width c of the words.
        out_channels: width of those of the next stage.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)

    def forward(self, words: Tensor, size: tuple[int, int]) -> Tensor:
        """(B * h * w, 16, c) -> (B * h' * w', 16, c'), half of h and w, rounded up: zeros stand in for absent words."""
        plane = join_words(self.norm(words), size, SIDE)                                   # (B, c, 4 h, 4 w)
        plane = F.pad(plane, (0, size[1] % 2 * SIDE, 0, size[0] % 2 * SIDE))
        return tokens_of(self.conv(split_cells(plane, 2 * SIDE)))


class SentenceMerge(nn.Module):
    """Halves the map of the sentences by a strided convolution.

    Args:
        channels: width D of the sentences.
        out_channels: width of those of the next stage.
    """

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)

    def forward(self, sentences: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, h * w, D) -> (B, h' * w', D'), half of h and w, rounded up."""
        return tokens_of(self.conv(map_of(self.norm(sentences), size)))


class Merge(nn.Module):
    """From the words and sentences of one stage to those of the next, each from its own kind.

    Args:
        channels: widths D of the sentences of both stages.
        word_channels: widths c of their words.
    """

    def __init__(self, channels: tuple[int, int], word_channels: tuple[int, int]) -> None:
        super().__init__()
        self.words = WordMerge(*word_channels)
        self.sentences = SentenceMerge(*channels)

    def forward(self, words: Tensor, sentences: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Words (B * N, 16, c) and sentences (B, N, D) of a map of ``size`` -> those of half the size, rounded up."""
        return self.words(words, size), self.sentences(sentences, size)
