"""ComplexFormer's language models, as their two official forms are coded."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.registry import MODELS

from .attention import ComplexAttention
from .phase import FreqDtype

Form = Literal["prenorm", "postnorm"]
GAIN_EPS = 1e-5
BRANCH = 0.2                                         # factor of both branches of a "prenorm" block


class GainRMSNorm(nn.Module):
    """Root mean square norm whose small number is added to the gain, as the source has it, not under the root.

    A token of zeros therefore becomes NaN.

    Args:
        channels: width C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C); the mean is float32 at least."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        return (wide * (wide.square().mean(dim=-1, keepdim=True).rsqrt() * self.weight + GAIN_EPS)).to(x.dtype)


class GatedFeedForward(nn.Module):
    """A linear layer of the product of a linear layer and the SiLU of another.

    Args:
        channels: width C.
        hidden: width F of the product.
        bf16_product: round both factors and the product to bfloat16, as the source does.
    """

    def __init__(self, channels: int, hidden: int, *, bf16_product: bool = True) -> None:
        super().__init__()
        self.up, self.gate = nn.Linear(channels, hidden), nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)
        self.bf16_product = bf16_product

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        up, gate = self.up(x), F.silu(self.gate(x))
        if self.bf16_product:
            return self.down((up.bfloat16() * gate.bfloat16()).to(up.dtype))
        return self.down(up * gate)


class ComplexBlock(nn.Module):
    """Attention and a feed-forward net behind one norm that they share.

    Args:
        channels: width C.
        heads: attention heads.
        hidden: width of the feed-forward net.
        form: "prenorm" adds both branches, each times ``branch``; "postnorm" normalises the sum of tokens and
            attention and gives the feed-forward net of it, with no shortcut around that.
        branch: factor of the branches of "prenorm".
        freq_dtype: see `ComplexAttention`.
        bf16_product: see `GatedFeedForward`.
    """

    def __init__(
        self, channels: int, heads: int, hidden: int, *, form: Form, branch: float, freq_dtype: FreqDtype,
        bf16_product: bool,
    ) -> None:
        super().__init__()
        self.norm = GainRMSNorm(channels)
        self.attention = ComplexAttention(channels, heads, freq_dtype=freq_dtype)
        self.ffn = GatedFeedForward(channels, hidden, bf16_product=bf16_product)
        self.form, self.branch = form, branch

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); ``mask`` as in `ComplexAttention`."""
        if self.form == "postnorm":
            return self.ffn(self.norm(x + self.attention(self.norm(x), mask)))
        x = x + self.branch * self.attention(self.norm(x), mask)
        return x + self.branch * self.ffn(self.norm(x))


@MODELS.register_module()
class ComplexFormerLM(nn.Module):
    """Embedding, blocks, logits; no token is hidden from another unless a mask does so.

    Args:
        vocab: rows V of the embedding.
        width: channels.
        heads: attention heads.
        hidden: width of the feed-forward nets.
        depth: number of blocks.
        form: of the blocks, see `ComplexBlock`; "prenorm" has a norm behind the last.
        branch: see `ComplexBlock`.
        freq_dtype: see `ComplexAttention`.
        bf16_product: see `GatedFeedForward`.

    Raises:
        ValueError: the form is unknown, or as `ComplexAttention`.
    """

    def __init__(
        self, vocab: int = 30522, width: int = 512, *, heads: int = 8, hidden: int = 1024, depth: int = 8,
        form: Form = "postnorm", branch: float = BRANCH, freq_dtype: FreqDtype = "bfloat16", bf16_product: bool = True,
    ) -> None:
        super().__init__()
        if form not in get_args(Form):
            raise ValueError(f"form must be one of {', '.join(get_args(Form))}, got {form!r}")
        self.embed = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(
            ComplexBlock(
                width, heads, hidden, form=form, branch=branch, freq_dtype=freq_dtype, bf16_product=bf16_product
            )
            for _ in range(depth)
        )
        self.norm = GainRMSNorm(width) if form == "prenorm" else nn.Identity()
        self.head = nn.Linear(width, vocab)

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N) int64 -> logits (B, N, V); ``mask`` as in `ComplexAttention`."""
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))
