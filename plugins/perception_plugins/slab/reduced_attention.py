"""Attention whose keys and values come from a coarser map.

As in PVT, "Pyramid Vision Transformer" (Wang et al., ICCV 2021), softmax or linear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb, fold_into_next
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.metaformer.norm import token_norm
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real, map_of, tokens_of
from perception.registry import MODELS

from .linear_attention import LinearAttentionCore, map_size
from .windows import key_bias


class ReducedProjections(nn.Module):
    """Queries of all tokens; keys and values of a map that a strided convolution and a norm made smaller.

    Args:
        channels: width C of the tokens.
        reduction: kernel and stride R of the convolution; 1 does without.
        qkv_bias: the projections have a bias.
        norm, norm_eps: of the smaller map, see `token_norm`.

    Raises:
        ValueError: the reduction is below 1.
    """

    def __init__(
        self, channels: int, reduction: int, *, qkv_bias: bool, norm: str | Mapping[str, Any], norm_eps: float
    ) -> None:
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be >= 1, got {reduction}")
        self.reduction = reduction
        self.q = nn.Linear(channels, channels, bias=qkv_bias)
        self.kv = nn.Linear(channels, 2 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        if reduction > 1:
            self.reduce = nn.Conv2d(channels, channels, reduction, stride=reduction)
            self.norm = token_norm(norm, channels, norm_eps)

    def key_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """H, W of the map of keys; what does not fill a window of the convolution is left out."""
        return size[0] // self.reduction, size[1] // self.reduction

    def project(
        self, x: Tensor, size: tuple[int, int] | None, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """Queries (B, N, C), keys and values (B, M, C), and which keys are real (B, M), from tokens (B, N, C).

        Raises:
            ValueError: there is a reduction, and no size, or one that does not fill a window of it.
        """
        source, real = x, mask
        if self.reduction > 1:
            size = checked_size(size, x, "an attention that reduces its keys")
            if min(size) < self.reduction:
                raise ValueError(
                    f"a map of {size[0]} x {size[1]} does not fill a window of {self.reduction} x {self.reduction}"
                )
            source = self.norm(tokens_of(self.reduce(map_of(keep_real(x, mask), size))))       # (B, M, C)
            if mask is not None:
                shares = F.avg_pool2d(mask.unflatten(1, size)[:, None].float(), self.reduction)
                real = shares.flatten(1) > 0
        k, v = self.kv(source).chunk(2, dim=2)
        return self.q(x), k, v, real

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over."""
        absorb(self.q, scale, shift)
        absorb(self.reduce if self.reduction > 1 else self.kv, scale, shift)

    def fold_batch_norm(self) -> None:
        """Give a norm of channels to the projection behind it."""
        if self.reduction > 1:
            fold_into_next(self, "norm", self.kv)


@MODELS.register_module(role="token_mixer")
class ReducedLinearAttention(ReducedProjections):
    """Simplified linear attention in its form for PVT.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        reduction: see `ReducedProjections`; beyond 1 the convolution of the values mixes ends of rows, so new networks
            had better go without.
        kernel: side of the convolution of the values.
        position: height and width of the map of keys that positions are learned for; None learns none.
        qkv_bias, norm, norm_eps: see `ReducedProjections`.

    Raises:
        ValueError: the width is not divisible, the reduction below 1, or the kernel even.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, reduction: int = 1, kernel: int = 5,
        position: tuple[int, int] | None = None, qkv_bias: bool = True, norm: str | Mapping[str, Any] = "layer",
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(channels, reduction, qkv_bias=qkv_bias, norm=norm, norm_eps=norm_eps)
        self.core = LinearAttentionCore(
            channels, count_heads(channels, heads, head_channels), kernel=kernel, position=position
        )

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they don't count and become 0.

        Raises:
            ValueError: there is no ``size`` and N is no square number, or as `ReducedProjections.project`.
        """
        size = map_size(size, x, "ReducedLinearAttention")
        q, k, v, real = self.project(x, size, mask)
        return keep_real(self.proj(self.core(q, k, v, size, real, key_size=self.key_size(size))), mask)


@MODELS.register_module(role="token_mixer")
class SlabReducedAttention(ReducedProjections):
    """Softmax attention of PVT, whose inner norm can be one that folds.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        reduction, qkv_bias, norm, norm_eps: see `ReducedProjections`.

    Raises:
        ValueError: the width is not divisible, or the reduction below 1.
    """

    TRAITS = MixerTraits(cost="N^2")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, reduction: int = 1,
        qkv_bias: bool = True, norm: str | Mapping[str, Any] = "layer", norm_eps: float = 1e-5,
    ) -> None:
        super().__init__(channels, reduction, qkv_bias=qkv_bias, norm=norm, norm_eps=norm_eps)
        self.heads = count_heads(channels, heads, head_channels)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are not looked at and become 0.

        Raises:
            ValueError: as `ReducedProjections.project`.
        """
        q, k, v, real = self.project(x, size, mask)
        q, k, v = (by_head(part, self.heads) for part in (q, k, v))                            # (B, heads, N, D) each
        bias = None if real is None else key_bias(real, q.dtype)[:, None]                      # (B, 1, 1, M)
        return keep_real(self.proj(together(F.scaled_dot_product_attention(q, k, v, attn_mask=bias))), mask)
