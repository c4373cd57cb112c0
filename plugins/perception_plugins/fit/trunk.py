"""Blocks of FIT: layers inside groups of tokens, and layers among the latents of all groups.

With t groups of n tokens and m latents each, attention costs t n^2 + (t m)^2 in place of (t n)^2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from perception.models.attention.causal import earlier_keys
from perception.models.mixers.attention import seen_keys

from .layer import FITLayer, FITLayers, Reading
from .layer_string import parse_layers


class Seen(NamedTuple):
    """Who sees whom in each of a block's attentions, bool; None is all.

    Args:
        local: broadcasts to (B * t, heads, n, n).
        real: (B * t, n), the tokens that latents read.
        latent: broadcasts to (B, heads, t * m, t * m).
    """

    local: Tensor | None
    real: Tensor | None
    latent: Tensor | None


class FITBlock(nn.Module):
    """Local layers, and if there are global ones: latents read their group, mix, and are read by the tokens.

    Args:
        channels, latent_channels: widths C and D of tokens and latents.
        heads, latent_heads: attention heads of local and of global layers.
        local, total: how many local and global layers.
        writes: tokens read the latents.
        mlp_ratio: see `FITLayer`.
        reading_mlp, reading_norm: a feed-forward net behind the readings, and a norm of what they read.
        self_attention: of the local layers.
        conditioned: latents read further tokens of width D before the global layers.
        shifted: tokens read the latents of the group before theirs, and those of the first group read zeros.
        drop_path: see `FITLayer`.
    """

    def __init__(
        self, channels: int, latent_channels: int, heads: int, latent_heads: int, *, local: int, total: int,
        writes: bool, mlp_ratio: float, reading_mlp: bool, reading_norm: bool, self_attention: bool, conditioned: bool,
        shifted: bool, drop_path: float,
    ) -> None:
        super().__init__()
        C, D, self.shifted = channels, latent_channels, shifted
        self.local = FITLayers(
            FITLayer(C, heads, mlp_ratio=mlp_ratio, self_attention=self_attention, drop_path=drop_path)
            for _ in range(local)
        )
        self.read, self.condition, self.latent, self.write = None, None, None, None
        if total == 0:
            return
        shared, ratio = min(heads, latent_heads), mlp_ratio if reading_mlp else None
        width = min(C, D) // shared
        self.read = Reading(D, C, shared, width, mlp_ratio=ratio, memory_norm=reading_norm)
        if conditioned:
            self.condition = Reading(D, D, latent_heads, D // latent_heads)
        self.latent = FITLayers(
            FITLayer(D, latent_heads, mlp_ratio=mlp_ratio, drop_path=drop_path) for _ in range(total)
        )
        if writes:
            self.write = Reading(C, D, shared, width, mlp_ratio=ratio, memory_norm=reading_norm)

    def forward(
        self, x: Tensor, latents: Tensor, seen: Seen, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """One block.

        Args:
            x: (B * t, n, C) tokens by group.
            latents: (B, t, m, D).
            seen: who sees whom.
            condition: (B, s, D) further tokens.

        Returns:
            Tokens and latents of the same shapes.
        """
        x = self.local(x, seen.local)
        if self.read is None or self.latent is None:
            return x, latents
        groups, count = latents.shape[1:3]
        total = self.read(latents.flatten(0, 1), x, seen.real)                             # (B * t, m, D)
        total = total.unflatten(0, (-1, groups)).flatten(1, 2)                             # (B, t * m, D)
        if self.condition is not None:
            total = self.condition(total, condition)
        latents = self.latent(total, seen.latent).unflatten(1, (groups, count))            # (B, t, m, D)
        if self.write is not None:
            memory = latents
            if self.shifted:
                memory = torch.cat([torch.zeros_like(latents[:, :1]), latents[:, :-1]], dim=1)
            x = self.write(x, memory.flatten(0, 1))
        return x, latents


class FITTrunk(nn.Module):
    """The blocks of a layer string.

    Args:
        layers: see `parse_layers`.
        channels, latent_channels: widths C and D of tokens and latents.
        heads, latent_heads: attention heads.
        mlp_ratio: hidden over outer width of the feed-forward nets.
        causal_groups: latents see none of a later group.
        causal: so does a token, which sees no later one of its group and only latents of the group before it.
        reading_mlp, reading_norm, self_attention, conditioned: see `FITBlock`.
        drop_path: of local and global layers.

    Raises:
        ValueError: the string is none, or heads do not divide the widths.
    """

    def __init__(
        self, layers: str, channels: int, latent_channels: int, heads: int, latent_heads: int, *,
        mlp_ratio: float = 4.0, causal_groups: bool = False, causal: bool = False, reading_mlp: bool = False,
        reading_norm: bool = True, self_attention: bool = True, conditioned: bool = False, drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        numbers = parse_layers(layers)
        self.causal, self.causal_groups = causal, causal_groups or causal
        self.blocks = nn.ModuleList(
            FITBlock(
                channels, latent_channels, heads, latent_heads, local=local, total=total,
                writes=index < len(numbers) - 1, mlp_ratio=mlp_ratio, reading_mlp=reading_mlp,
                reading_norm=reading_norm, self_attention=self_attention, conditioned=conditioned, shifted=causal,
                drop_path=drop_path,
            )
            for index, (local, total) in enumerate(numbers)
        )

    @property
    def ends_with_tokens(self) -> bool:
        """Whether the last block has no global layers, so that tokens know all that latents do."""
        return self.blocks[-1].read is None

    def forward(
        self, x: Tensor, latents: Tensor, real: Tensor | None = None, condition: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Run the blocks.

        Args:
            x: (B, t, n, C).
            latents: (B, t, m, D).
            real: (B, t, n) bool, False where there is no token: none sees it, nor the latents of a group without any.
            condition: (B, s, D), if the trunk is conditioned.

        Returns:
            Tokens and latents of the same shapes.
        """
        groups, seen = x.shape[1], self._seen(x, latents, real)
        x = x.flatten(0, 1)                                                                # (B * t, n, C)
        for block in self.blocks:
            x, latents = block(x, latents, seen, condition)
        return x.unflatten(0, (-1, groups)), latents

    def _seen(self, x: Tensor, latents: Tensor, real: Tensor | None) -> Seen:
        tokens = None if real is None else real.flatten(0, 1)                              # (B * t, n)
        local = None if tokens is None else seen_keys(tokens)
        if self.causal:
            local = earlier_keys(x.shape[2], x.shape[2], tokens, device=x.device)
        groups, count = latents.shape[1:3]
        filled = None if real is None else real.any(dim=2).repeat_interleave(count, dim=1)  # (B, t * m)
        total = None if filled is None else seen_keys(filled)
        if self.causal_groups:
            of = torch.arange(groups, device=x.device).repeat_interleave(count)            # (t * m,)
            total = (of <= of[:, None])[None, None]
            if filled is not None:
                total = total & (filled[:, None, None] | (of == of[:, None]))
        return Seen(local, tokens, total)
