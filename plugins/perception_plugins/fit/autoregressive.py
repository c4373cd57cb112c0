"""FIT as a model of sequences: every token is told by those before it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import NORM_EPS, init_glorot
from .position import Kind, latent_positions, token_positions
from .trunk import FITTrunk


class FITAutoregressive(nn.Module):
    """Logits of each token from the ids up to it; the ids that are given are to be those of the tokens before.

    Args:
        layers: see `parse_layers`.
        vocab: V.
        groups, tokens, latents: t, and n and m of a group.
        channels, latent_channels: widths C and D.
        heads, latent_heads: attention heads.
        position, latent_position: see `FITEncoder`.
        shared_embedding: logits are products with the rows of the embedding.
        options: ``mlp_ratio`` and ``drop_path`` of a `FITTrunk`.

    Raises:
        ValueError: as `FITTrunk` and the positions.
    """

    def __init__(
        self, layers: str, *, vocab: int, groups: int, tokens: int, latents: int, channels: int, latent_channels: int,
        heads: int, latent_heads: int, position: Kind = "learned", latent_position: Kind = "learned",
        shared_embedding: bool = True, **options: Any,
    ) -> None:
        super().__init__()
        self.shape = (groups, latents)
        self.embed = nn.Embedding(vocab, channels)
        self.out_embed = None if shared_embedding else nn.Embedding(vocab, channels)
        self.position = token_positions(position, tokens, channels)
        self.latent_position = latent_positions(latent_position, groups, latents, latent_channels)
        self.trunk = FITTrunk(layers, channels, latent_channels, heads, latent_heads, causal=True, **options)
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.bias = nn.Parameter(torch.zeros(vocab))
        init_glorot(self)
        for table in (self.embed, self.out_embed):
            if table is not None:
                nn.init.trunc_normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, t, n) int64 -> (B, t, n, V); see `shifted_right` for the ids of training."""
        latents = self.latent_position().unflatten(0, self.shape).expand(len(ids), -1, -1, -1)
        tokens, _ = self.trunk(self.embed(ids) + self.position(), latents)
        table = self.embed if self.out_embed is None else self.out_embed
        return F.linear(self.norm(tokens), table.weight, self.bias)


def shifted_right(ids: Tensor) -> Tensor:
    """Ids (B, t, n), each in the place of the next in the whole sequence, behind a 0."""
    flat = ids.flatten(1)
    return torch.cat([torch.zeros_like(flat[:, :1]), flat[:, :-1]], dim=1).view_as(ids)


def snake_order(grid: tuple[int, int]) -> Tensor:
    """Places of a grid of rows and columns, row by row, every other row backwards: (rows * columns,) int64."""
    places = torch.arange(grid[0] * grid[1]).view(grid)
    places[1::2] = places[1::2].flip(1)
    return places.flatten()
