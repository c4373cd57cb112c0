"""FIT's encoder of tokens that come in groups."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .layer import NORM_EPS, init_glorot
from .position import Kind, latent_positions, token_positions
from .trunk import FITTrunk


def stem(in_channels: int, channels: int) -> nn.Sequential:
    """A linear layer and a norm; positions are added behind it."""
    return nn.Sequential(nn.Linear(in_channels, channels), nn.LayerNorm(channels, eps=NORM_EPS))


class FITEncoder(nn.Module):
    """Groups of tokens, whose latents carry news between them.

    "FIT: Far-reaching Interleaved Transformers" (2023).

    Args:
        layers: see `parse_layers`. If it ends with global layers, tokens lack what these find: use the latents then.
        in_channels: of the tokens that come in.
        groups: t.
        tokens: n, of a group.
        latents: m, of a group.
        channels, latent_channels: widths C and D.
        heads, latent_heads: attention heads.
        position: of the tokens in their group, the same for all groups, see `token_positions`.
        latent_position: what latents begin with, see `latent_positions`.
        extra_channels: width of further tokens of a group, such as the code of a camera; None has none.
        options: ``mlp_ratio``, ``causal_groups`` and ``drop_path`` of a `FITTrunk`.

    Raises:
        ValueError: as `FITTrunk` and the positions.
    """

    def __init__(
        self, layers: str, *, in_channels: int, groups: int, tokens: int, latents: int, channels: int,
        latent_channels: int, heads: int, latent_heads: int, position: Kind = "learned",
        latent_position: Kind = "learned", extra_channels: int | None = None, **options: Any,
    ) -> None:
        super().__init__()
        self.shape = (groups, latents)
        self.stem = stem(in_channels, channels)
        self.extra_stem = None if extra_channels is None else stem(extra_channels, channels)
        self.position = token_positions(position, tokens, channels)
        self.latent_position = latent_positions(latent_position, groups, latents, latent_channels)
        self.trunk = FITTrunk(layers, channels, latent_channels, heads, latent_heads, **options)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.latent_norm = nn.LayerNorm(latent_channels, eps=NORM_EPS)
        init_glorot(self)

    def forward(self, x: Tensor, extra: Tensor | None = None, real: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Encode.

        Args:
            x: (B, t, n, C_in).
            extra: (B, t, k, C_extra) further tokens, which come to stand before the others.
            real: (B, t, k + n) bool, False where there is no token: no other looks at it.

        Returns:
            Tokens (B, t, k + n, C) and latents (B, t, m, D).

        Raises:
            ValueError: there are further tokens and no width of them was told.
        """
        tokens = self.stem(x) + self.position()
        if extra is not None:
            if self.extra_stem is None:
                raise ValueError(f"further tokens need extra_channels, got {tuple(extra.shape)} without")
            tokens = torch.cat([self.extra_stem(extra), tokens], dim=2)
        latents = self.latent_position().unflatten(0, self.shape).expand(len(x), -1, -1, -1)
        tokens, latents = self.trunk(tokens, latents, real)
        return self.norm(tokens), self.latent_norm(latents)
