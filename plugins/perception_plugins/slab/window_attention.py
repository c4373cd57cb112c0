"""Attention within windows, as in Swin ("Swin Transformer", Liu et al., ICCV 2021), softmax or linear."""

from __future__ import annotations

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.models.attention.heads import by_head, count_heads, together
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real
from perception.registry import MODELS

from .linear_attention import LinearAttentionCore
from .windows import cut_windows, join_windows, key_bias, pad_to_windows, relative_places, shift_regions

OTHER_REGION = -100.0                                # added to the logits of tokens that were no neighbours


class WindowMixer(nn.Module):
    """Cuts a map into windows, which may be shifted; subclasses mix the tokens of each.

    A map is filled up to whole windows at the right and at the bottom with tokens of 0, which are looked at as in the
    authors' code. They are added behind the projection, as what it makes of 0, so that a scale and a shift of the
    tokens can be folded into it.

    Args:
        channels: width C of the tokens.
        window: side of a window.
        shift: rows and columns that windows are shifted by.
        shift_small: shift maps too whose shorter side is no longer than a window.
        qkv_bias: the projections to queries, keys and values have a bias.

    Raises:
        ValueError: the window is below 1, or the shift not smaller than it.
    """

    blank: Tensor | None

    def __init__(self, channels: int, *, window: int, shift: int, shift_small: bool, qkv_bias: bool) -> None:
        super().__init__()
        if not 0 <= shift < window:
            raise ValueError(f"shift must lie in [0, window), got {shift} for a window of {window}")
        self.window, self.shift, self.shift_small = window, shift, shift_small
        self.qkv = nn.Linear(channels, 3 * channels, bias=qkv_bias)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("blank", None)          # what a token of 0 was projected to before the projection changed

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) tokens of a map of H, W -> (B, N, C); where ``mask`` (B, N) is False they don't count and become 0.

        Raises:
            ValueError: there is no ``size``, or it is that of other than N tokens.
        """
        size = checked_size(size, x, type(self).__name__)
        shift = self.shift if self.shift_small or min(size) > self.window else 0
        side = (self.window, self.window)
        qkv = pad_to_windows(self.qkv(x).unflatten(1, size), side, self._blank())              # (B, H', W', 3 C)
        padded = (qkv.shape[1], qkv.shape[2])
        windows = cut_windows(qkv.roll((-shift, -shift), (1, 2)) if shift else qkv, side)      # (B, L, S, 3 C)
        real = None if mask is None else self._real_keys(mask.unflatten(1, size), shift)
        regions = shift_regions(padded, self.window, shift, x.device) if shift else None
        q, k, v = windows.chunk(3, dim=3)
        mixed = join_windows(self.mix(q, k, v, real, regions), side, padded)                   # (B, H', W', C)
        mixed = mixed.roll((shift, shift), (1, 2)) if shift else mixed
        return keep_real(self.proj(mixed[:, : size[0], : size[1]].flatten(1, 2)), mask)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, regions: Tensor | None) -> Tensor:
        """Attend within windows.

        Args:
            q, k, v: (B, L, S, C) of L windows of S tokens.
            real: (B, L, S) bool, False where there is no key.
            regions: (L, S) of shifted windows, see `shift_regions`.

        Returns:
            (B, L, S, C).
        """
        raise NotImplementedError

    @torch.no_grad()
    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over; those that fill a map up stay as they were."""
        blank = self._blank()
        self.blank = torch.zeros_like(self.qkv.weight[:, 0]) if blank is None else blank.detach().clone()
        absorb(self.qkv, scale, shift)

    def _blank(self) -> Tensor | None:
        return self.qkv.bias if self.blank is None else self.blank

    def _real_keys(self, mask: Tensor, shift: int) -> Tensor:
        """(B, H, W) -> (B, L, S); the filling counts as real."""
        real = pad_to_windows(mask[..., None], (self.window, self.window), mask.new_ones(1))
        return cut_windows(real.roll((-shift, -shift), (1, 2)), (self.window, self.window))[..., 0]


@MODELS.register_module(role="token_mixer")
class WindowLinearAttention(WindowMixer):
    """Simplified linear attention within windows; regions of shifted windows look at each other.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        kernel: side of the convolution of the values.
        window, shift, shift_small, qkv_bias: see `WindowMixer`. Positions within a window are learned.

    Raises:
        ValueError: the width is not divisible, the kernel even, or as `WindowMixer`.
    """

    TRAITS = MixerTraits(cost="N")

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, window: int = 7, kernel: int = 5,
        shift: int = 0, shift_small: bool = False, qkv_bias: bool = True,
    ) -> None:
        super().__init__(channels, window=window, shift=shift, shift_small=shift_small, qkv_bias=qkv_bias)
        self.core = LinearAttentionCore(
            channels, count_heads(channels, heads, head_channels), kernel=kernel, position=(window, window)
        )

    def mix(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, regions: Tensor | None) -> Tensor:
        """See `WindowMixer.mix`."""
        flat = (x.flatten(0, 1) for x in (q, k, v))                                            # (B * L, S, C) each
        mask = None if real is None else real.flatten(0, 1)
        return self.core(*flat, (self.window, self.window), mask).unflatten(0, q.shape[:2])


@MODELS.register_module(role="token_mixer")
class SlabWindowAttention(WindowMixer):
    """Softmax attention within windows with a learned bias for each relative place.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``.
        head_channels: width of a head if ``heads`` is None.
        window, shift, shift_small, qkv_bias: see `WindowMixer`.

    Raises:
        ValueError: the width is not divisible, or as `WindowMixer`.
    """

    TRAITS = MixerTraits(cost="N")

    relative: Tensor

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, window: int = 7, shift: int = 0,
        shift_small: bool = False, qkv_bias: bool = True,
    ) -> None:
        super().__init__(channels, window=window, shift=shift, shift_small=shift_small, qkv_bias=qkv_bias)
        self.heads = count_heads(channels, heads, head_channels)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, self.heads))
        trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("relative", relative_places(window), persistent=False)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, real: Tensor | None, regions: Tensor | None) -> Tensor:
        """See `WindowMixer.mix`."""
        q, k, v = (by_head(x, self.heads) for x in (q, k, v))                                 # (B, L, heads, S, D) each
        bias = self.bias_table[self.relative].permute(2, 0, 1)                                 # (heads, S, S)
        if regions is not None:
            is_other = regions[:, None, :, None] != regions[:, None, None, :]                  # (L, 1, S, S)
            bias = bias + torch.zeros_like(is_other, dtype=bias.dtype).masked_fill(is_other, OTHER_REGION)
        if real is not None:
            bias = bias + key_bias(real, bias.dtype)[:, :, None]                               # (B, L, heads, S, S)
        return together(F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)))
