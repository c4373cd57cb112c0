"""What the blocks of TNT and of PyramidTNT consist of.

"Transformer in Transformer" (Han et al., NeurIPS 2021), section 2, equations 5 to 10.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.layers import DropPath, Mlp
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class JointNorm(nn.LayerNorm):
    """Layer normalisation over all words of a sentence together.

    Args:
        words: words n of a sentence.
        channels: width c of a word.
    """

    def __init__(self, words: int, channels: int) -> None:
        super().__init__(words * channels)

    def forward(self, words: Tensor) -> Tensor:
        """(M, n, c) -> (M, n, c)."""
        return super().forward(words.flatten(1)).view(words.shape)


class SentenceProjection(nn.Module):
    """Writes the words of each sentence into one token: norm, linear layer, norm.

    Args:
        words: words n of a sentence.
        word_channels: width c of a word.
        channels: width D of the token.
        bias: of the linear layer.
        joint: the first norm is over all words of a sentence, and a second one follows; otherwise the first is over
            each word, and there is no second.
    """

    def __init__(
        self, words: int, word_channels: int, channels: int, *, bias: bool = False, joint: bool = True
    ) -> None:
        super().__init__()
        self.norm1 = JointNorm(words, word_channels) if joint else nn.LayerNorm(word_channels)
        self.proj = nn.Linear(words * word_channels, channels, bias=bias)
        self.norm2 = nn.LayerNorm(channels) if joint else nn.Identity()

    def forward(self, words: Tensor) -> Tensor:
        """(M, n, c) -> (M, D)."""
        return self.norm2(self.proj(self.norm1(words).flatten(1)))


class SqueezeExcitation(nn.Module):
    """Scales the channels of tokens by a signed gate, computed from their mean.

    Args:
        channels: width D of the tokens; the gate is computed through a quarter of it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.reduce = nn.Linear(channels, channels // 4)
        self.expand = nn.Linear(channels // 4, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) -> (B, N, D)."""
        mean = self.norm(tokens.mean(dim=1, keepdim=True))                                 # (B, 1, D)
        return tokens * self.expand(self.reduce(mean).relu()).tanh()


class TransformerLayer(nn.Module):
    """Attention and a two-layer perceptron, each behind a norm and beside a shortcut.

    Args:
        channels: width C of the tokens.
        attention: mixes tokens as `TNTAttention` does.
        norm: makes a norm.
        expansion: hidden over outer width of the perceptron.
        dropout: in the perceptron.
        se: add a `SqueezeExcitation` of the perceptron's output to it.
        drop_path: probability that a sample goes without a branch in training.
    """

    def __init__(
        self, channels: int, attention: nn.Module, norm: Callable[[], nn.Module], *, expansion: float = 4.0,
        dropout: float = 0.0, se: bool = False, drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm1 = norm()
        self.attn = attention
        self.norm2 = norm()
        self.mlp = Mlp(channels, int(channels * expansion), drop=dropout)
        self.se = SqueezeExcitation(channels) if se else None
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None, bias: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); ``size`` and ``bias`` are the attention's."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens), size, None, bias))
        update = self.mlp(self.norm2(tokens))
        if self.se is not None:
            update = update + self.se(update)
        return tokens + self.drop_path(update)


class TNTBlock(nn.Module):
    """Words first, which are then written into their sentences; then sentences.

    Args:
        sentences: layer of the sentences.
        words: layer of the words of each sentence; None leaves them as they are, and out of the sentences.
        project: gives what the words of each sentence add to it; there if ``words`` are.
    """

    def __init__(
        self, sentences: TransformerLayer, words: TransformerLayer | None = None,
        project: SentenceProjection | None = None,
    ) -> None:
        super().__init__()
        self.words = words
        self.project = project
        self.sentences = sentences

    def forward(
        self, words: Tensor, sentences: Tensor, size: tuple[int, int] | None = None, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Both levels, updated.

        Args:
            words: (B * N, n, c), those of each sentence.
            sentences: (B, N, D), maybe after tokens that have no words.
            size, bias: of the sentences' attention.
        """
        if self.words is not None and self.project is not None:
            words = self.words(words)
            update = self.project(words).unflatten(0, (sentences.shape[0], -1))            # (B, N, D)
            sentences = sentences + F.pad(update, (0, 0, sentences.shape[1] - update.shape[1], 0))
        return words, self.sentences(sentences, size, bias)


def run_block(block: nn.Module, checkpointing: bool, *args: Any) -> Any:
    """What a block gives; in training, ``checkpointing`` computes it again for the gradient in place of storing it."""
    if checkpointing and block.training:
        return checkpoint(block, *args, use_reentrant=False)
    return block(*args)
