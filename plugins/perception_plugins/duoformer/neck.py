"""Attention within each region of a pyramid, across its scales, then among the regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from perception.models.backbone_arguments import variant_of
from perception.models.metaformer.block import MetaFormerBlock, init_linear_layers, run_blocks
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

from .patch_block import PatchBlock
from .regions import map_of_regions, region_tokens
from .scale_token import SCALE_TOKENS, TOKEN_STD

COARSEST = 3                                         # the level whose map has one pixel a region
BY_COLUMN = 2                                        # the level whose pixels the authors list column by column
NORM_EPS = 1e-6
VARIANTS = {"default": (12, 768, 12), "light": (6, 384, 6)}  # blocks of each kind, width, heads


@MODELS.register_module(role="neck")
class DuoFormerNeck(nn.Module):
    """Scale attention and patch attention on four maps, each twice as large as the next.

    "DuoFormer: Leveraging Hierarchical Visual Representations by Local and Global Attention" (MIDL 2025). A region is
    what one pixel of the coarsest map shows. Its tokens are all the pixels of the used maps in it, and one more, which
    gathers them: blocks of a transformer mix the tokens of each region, then attention mixes the gathering tokens of
    all regions and a class token. It was published for pictures of 224 x 224 and the classes of histological slides;
    its use in driving is an experiment.

    Args:
        in_channels: widths of the four maps, from the finest.
        variant: "default" or "light", which sets what follows.
        depth: scale blocks, and as many patch blocks, instead of the variant's.
        width: D, instead of the variant's.
        heads: of all attention, instead of the variant's.
        scales: maps that give tokens, 2 to 4, from the coarsest.
        scale_token: the gathering token at first: "random", learned; "channel", computed from all four maps.
        grid: rows and columns of regions that the regions' position is learned for; other grids have it resized.
        mlp_ratio: hidden over outer width in the scale blocks.
        qk_norm: normalise queries and keys of the patch blocks.
        patch_residual: give the patch blocks a shortcut, without which training from scratch is hard.
        attention_dropout: share of attention weights that are dropped in training.
        drop_path: probability of leaving a branch out, of the last scale block; it rises linearly from 0 at the first.
        out_indices: levels 0 to 3 whose tokens behind the scale blocks are given as a map, in ascending order; None
            takes those that give tokens but the coarsest.
        region_map: give the regions behind the patch blocks as a map of the coarsest level's size, the last. Without it
            there are no patch blocks.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: an argument lies outside what it can be, or nothing would be given.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        variant: str = "default",
        depth: int | None = None,
        width: int | None = None,
        heads: int | None = None,
        scales: int = 2,
        scale_token: str = "random",
        grid: Sequence[int] = (7, 7),
        mlp_ratio: float = 4.0,
        qk_norm: bool = False,
        patch_residual: bool = False,
        attention_dropout: float = 0.0,
        drop_path: float = 0.0,
        out_indices: Sequence[int] | None = None,
        region_map: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        usual = variant_of(VARIANTS, variant)
        depth, width, heads = (
            published if own is None else own for own, published in zip((depth, width, heads), usual, strict=True)
        )
        _check_choices(in_channels, depth, scales, scale_token, grid)
        self.levels = tuple(range(COARSEST, COARSEST - scales, -1))                    # in the order of their tokens
        self.out_indices = tuple(sorted(self.levels)[:-1] if out_indices is None else out_indices)
        if sorted({*self.out_indices} & {*self.levels}) != list(self.out_indices):
            raise ValueError(
                f"out_indices must be ascending levels {self.levels[-1]} to {COARSEST}, got {self.out_indices}"
            )
        if not self.out_indices and not region_map:
            raise ValueError("out_indices names no level: without region_map there would be no map")
        self.grid, self.region_map, self.checkpointing = (grid[0], grid[1]), region_map, checkpointing
        self.in_channels, self.width = tuple(in_channels), width
        self.channels = (width,) * (len(self.out_indices) + region_map)
        self.projections = nn.ModuleDict({str(level): nn.Conv2d(in_channels[level], width, 1) for level in self.levels})
        self.scale_token = SCALE_TOKENS[scale_token](in_channels, width)
        self.scale_position = nn.Parameter(torch.empty(1, 1, _first_of(self.levels[-1] - 1), width))
        self.scale_blocks = nn.ModuleList(
            MetaFormerBlock(
                width, {"type": "AttentionMixer", "heads": heads, "qkv_bias": True, "dropout": attention_dropout},
                {"type": "FeedForward", "ratio": mlp_ratio}, norm="layer", norm_eps=NORM_EPS, drop_path=rate,
            )
            for rate in torch.linspace(0, drop_path, depth, device="cpu").tolist()
        )
        if region_map:
            self.class_token = nn.Parameter(torch.empty(1, 1, width))
            self.position = nn.Parameter(torch.empty(1, 1 + grid[0] * grid[1], width))
            self.patch_blocks = nn.ModuleList(
                PatchBlock(width, heads=heads, dropout=attention_dropout, qk_norm=qk_norm, residual=patch_residual)
                for _ in range(depth)
            )
        self.init_weights()

    def init_weights(self) -> None:
        """Tokens, positions and linear layers truncated normal, projections by their fan in; biases about zero."""
        init_linear_layers(self)
        for name, parameter in self.projections.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter)
            else:
                nn.init.normal_(parameter, std=1e-6)
        trunc_normal_(self.scale_position, std=TOKEN_STD)
        if self.region_map:
            trunc_normal_(self.class_token, std=0.02)
            trunc_normal_(self.position, std=0.02)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Mix a pyramid.

        Args:
            maps: four, (B, C_k, R_h * 2**(3 - k), R_w * 2**(3 - k)) from k = 0; only those are read that give tokens,
                or all for a scale token of "channel".

        Returns:
            A map (B, D, ...) of the size of each level of ``out_indices``, and with ``region_map`` one of (R_h, R_w).

        Raises:
            ValueError: there are not four maps, or those that are read have other widths or sizes.
        """
        tokens, grid = self.tokens(maps)
        tokens = self.mix_scales(tokens)
        found = [self._map_of_level(tokens, level, grid) for level in self.out_indices]
        if self.region_map:
            found.append(map_of(self.mix_regions(tokens[:, :, 0], grid)[:, 1:], grid))
        return tuple(found)

    def tokens(self, maps: Sequence[Tensor]) -> tuple[Tensor, tuple[int, int]]:
        """The tokens (B, R, S, D) of each region, the gathering one first, and the grid (R_h, R_w).

        Raises:
            ValueError: as `forward`.
        """
        grid = self._grid_of(maps)
        parts = [self.scale_token(maps)]
        for level in self.levels:
            projected = self.projections[str(level)](maps[level])
            parts.append(region_tokens(projected, _side_of(level), by_column=level == BY_COLUMN))
        return torch.cat(parts, dim=2), grid

    def mix_scales(self, tokens: Tensor) -> Tensor:
        """(B, R, S, D) -> (B, R, S, D): the tokens of each region have seen one another."""
        B, R = tokens.shape[:2]
        rows = (tokens + self.scale_position).flatten(0, 1)                                # (B * R, S, D)
        rows = run_blocks(self.scale_blocks, rows, None, checkpointing=self.checkpointing and self.training)
        return rows.unflatten(0, (B, R))

    def mix_regions(self, regions: Tensor, grid: tuple[int, int]) -> Tensor:
        """Gathering tokens (B, R, D) of a grid -> (B, 1 + R, D), the class token first."""
        tokens = torch.cat([self.class_token.expand(len(regions), -1, -1), regions], dim=1) + self._position_on(grid)
        for block in self.patch_blocks:
            if self.checkpointing and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return tokens

    def _position_on(self, grid: tuple[int, int]) -> Tensor:
        if grid == self.grid:
            return self.position
        table = F.interpolate(map_of(self.position[:, 1:], self.grid), grid, mode="bicubic", align_corners=False)
        return torch.cat([self.position[:, :1], tokens_of(table)], dim=1)

    def _map_of_level(self, tokens: Tensor, level: int, grid: tuple[int, int]) -> Tensor:
        own = tokens[:, :, _first_of(level) : _first_of(level - 1)]
        return map_of_regions(own, grid, by_column=level == BY_COLUMN)

    def _grid_of(self, maps: Sequence[Tensor]) -> tuple[int, int]:
        if len(maps) != COARSEST + 1:
            raise ValueError(f"maps must be four, from the finest, got {len(maps)}")
        rows, columns = maps[COARSEST].shape[2:]
        read = range(COARSEST + 1) if self.scale_token.needs_all_maps else sorted(self.levels)
        expected = {
            level: (self.in_channels[level], rows * _side_of(level), columns * _side_of(level)) for level in read
        }
        shapes = {level: tuple(maps[level].shape[1:]) for level in read}
        if shapes != expected or min(rows, columns) < 1:
            raise ValueError(
                f"maps must have the shapes {expected} by level, (C, H, W), each twice as large as the next, as those "
                f"of a picture whose sides are multiples of the last stride; got {shapes}"
            )
        return rows, columns


def _side_of(level: int) -> int:
    """Pixels along the side of a region."""
    return 2 ** (COARSEST - level)


def _first_of(level: int) -> int:
    """Number of a region's first token of a level: before it lie the gathering one and those of coarser levels."""
    return 1 + (4 ** (COARSEST - level) - 1) // 3


def _check_choices(
    in_channels: Sequence[int], depth: int, scales: int, scale_token: str, grid: Sequence[int]
) -> None:
    if len(in_channels) != COARSEST + 1:
        raise ValueError(f"in_channels must be the widths of four maps, got {tuple(in_channels)}")
    if depth < 1:
        raise ValueError(f"depth must be >= 1, got {depth}")
    if scales not in (2, 3, 4):
        raise ValueError(f"scales must be 2, 3 or 4, got {scales}")
    if scale_token not in SCALE_TOKENS:
        raise ValueError(f"scale_token must be one of {', '.join(SCALE_TOKENS)}, got {scale_token!r}")
    if len(grid) != 2 or min(grid) < 1:
        raise ValueError(f"grid must be two numbers >= 1, rows and columns, got {tuple(grid)}")
