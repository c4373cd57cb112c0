"""FIT on maps: the groups are tiles of a map of any size."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.attention.sine_position import sine_position

from .layer import NORM_EPS, init_glorot
from .position import PositionTable
from .trunk import FITTrunk


class TiledFIT(nn.Module):
    """A `FITTrunk` on the tiles of a map, and a norm.

    Ours: maps of any size. A tile that reaches beyond the map is filled with tokens that none sees, and a tile without
    a real token says nothing. Tokens know their place in the tile by a learned table; latents begin with a learned
    table, the same for all tiles, and a fixed code of their tile's row and column.

    Args:
        channels, latent_channels: widths C and D of tokens and latents; D is divisible by 4.
        tile: side of a tile.
        latents: m, of a tile.
        heads, latent_heads: attention heads.
        layers: see `parse_layers`; ends with local layers, else tokens lack what the last global ones find.
        pictures: so many maps of a batch, one after another, exchange news, each with a learned code.
        options: further arguments of a `FITTrunk`.

    Raises:
        ValueError: a number is out of range, or as `FITTrunk`.
    """

    def __init__(
        self, channels: int, *, tile: int, latents: int, latent_channels: int, heads: int, latent_heads: int,
        layers: str, pictures: int = 1, **options: Any,
    ) -> None:
        super().__init__()
        if min(tile, latents, pictures) < 1:
            raise ValueError(f"tile, latents and pictures must be >= 1, got {tile}, {latents} and {pictures}")
        if latent_channels % 4:
            raise ValueError(f"latent_channels must be divisible by 4, got {latent_channels}")
        self.tile, self.pictures = tile, pictures
        self.position = PositionTable("learned", (tile, tile), channels)
        self.latents = nn.Parameter(torch.empty(latents, latent_channels))
        self.code = nn.Parameter(torch.empty(pictures, 1, 1, latent_channels)) if pictures > 1 else None
        self.trunk = FITTrunk(layers, channels, latent_channels, heads, latent_heads, **options)
        if not self.trunk.ends_with_tokens:
            raise ValueError(f'layers must end with local layers, as "(1)1(1)" does, got {layers!r}')
        self.norm = nn.LayerNorm(channels, eps=NORM_EPS)
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers Glorot-uniform, biases 0, tables truncated normal."""
        init_glorot(self)
        for table in (self.position.table, self.latents, self.code):
            if table is not None:
                nn.init.trunc_normal_(table, std=0.02)

    def forward(self, x: Tensor, real: Tensor | None = None, *, in_line: bool = False) -> Tensor:
        """Run the layers.

        Args:
            x: (B, H, W, C).
            real: (B, H, W) bool, False where there is no token: no other sees it.
            in_line: a tile is a run of ``tile ** 2`` tokens of a row, not a square.

        Returns:
            (B, H, W, C); what stands where there is no token means nothing.

        Raises:
            ValueError: the maps of a batch do not make whole sets of ``pictures``.
        """
        batch, height, width = x.shape[:3]
        if batch % self.pictures:
            raise ValueError(f"a batch must be sets of {self.pictures} pictures, got {batch} pictures")
        window = (1, self.tile**2) if in_line else (self.tile, self.tile)
        x, real = filled_up(x, real, window)
        grid = (x.shape[1] // window[0], x.shape[2] // window[1])
        tokens = cut(x, grid, window) + self.position()                                    # (B, t, n, C)
        seen = None if real is None else cut(real[..., None], grid, window)[..., 0]
        sets = (batch // self.pictures, -1)
        tokens = tokens.unflatten(0, sets).flatten(1, 2)                                   # (B / P, P * t, n, C)
        seen = None if seen is None else seen.unflatten(0, sets).flatten(1, 2)
        tokens, _ = self.trunk(tokens, self._first_latents(grid, len(tokens)), seen)
        tokens = self.norm(tokens).unflatten(1, (self.pictures, -1)).flatten(0, 1)
        return joined(tokens, grid, window)[:, :height, :width]

    def _first_latents(self, grid: tuple[int, int], sets: int) -> Tensor:
        code = sine_position(grid, self.latents.shape[1], normalize=False, device=self.latents.device)
        latents = code.flatten(1).T[:, None].to(self.latents.dtype) + self.latents         # (t, m, D)
        latents = latents[None] if self.code is None else latents + self.code              # (P, t, m, D)
        return latents.flatten(0, 1).expand(sets, -1, -1, -1)


def filled_up(x: Tensor, real: Tensor | None, window: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """A map (B, H, W, C) with zeros up to multiples of a window, and where it is real, None if that is everywhere."""
    spare = [-length % step for length, step in zip(x.shape[1:3], window, strict=True)]
    if not any(spare):
        return x, real
    if real is None:
        real = torch.ones(x.shape[:3], dtype=torch.bool, device=x.device)
    around = (0, spare[1], 0, spare[0])
    return F.pad(x, (0, 0, *around)), F.pad(real, around)


def cut(x: Tensor, grid: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """(B, R * h, K * w, C) -> tiles (B, R * K, h * w, C), row by row, as are the places in each."""
    parts = x.unflatten(2, (grid[1], window[1])).unflatten(1, (grid[0], window[0]))        # (B, R, h, K, w, C)
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def joined(tiles: Tensor, grid: tuple[int, int], window: tuple[int, int]) -> Tensor:
    """The inverse of `cut`: (B, R * K, h * w, C) -> (B, R * h, K * w, C)."""
    parts = tiles.unflatten(2, window).unflatten(1, grid)                                  # (B, R, K, h, w, C)
    return parts.transpose(2, 3).flatten(3, 4).flatten(1, 2)
