"""A column of equal blocks behind one patch embedding, as in the plain vision transformer.

"An Image is Worth 16x16 Words" (Dosovitskiy et al., ICLR 2021), section 3.1; `staged` tells how tokens lie in memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from perception.registry import MODELS

from ..backbone_arguments import check_images, checked_indices
from ..token_layout import map_of, tokens_of
from .block import MetaFormerBlock, init_linear_layers, run_blocks
from .norm import token_norm
from .patch_embedding import PositionMap
from .staged import FEED_FORWARD, Config

PATCHES = {"type": "PatchEmbedding", "kernel": 16, "stride": 16, "padding": 0}


@MODELS.register_module(role="image_backbone")
class ColumnarFormer(nn.Module):
    """Blocks of one width: maps of one stride, behind the last block or behind several.

    Args:
        depth: number of blocks.
        width: channels.
        token_mixer: config of the token mixers; they are given ``channels``.
        channel_mixer: of the channel mixers, likewise; None is a `FeedForward` of ratio 4.
        norm, norm_eps: of the blocks and of what is given, see `token_norm`.
        stem: config of the embedding, which is given ``channels`` and, unless it tells others, the ``in_channels`` of
            pictures, 3; it has ``stride``.
        position: height and width of the map of tokens that a position map is learned for; None has none.
        class_token: a learned token before the others, for a classifier; its place is part of it. With it the tokens
            form no map, so mixers that need one refuse them.
        layer_scale: first value of the learned factors of the branches; 0 goes without.
        drop_path: probability of leaving a branch out, of the last block; it rises linearly from 0 at the first.
        out_indices: blocks behind which maps are given, in ascending order; None is the last. There are no blocks
            behind the last of them.
        out_norm: a norm, one for all that is given.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: ``out_indices`` are no ascending blocks, or the norm is none.
    """

    def __init__(
        self,
        depth: int = 12,
        width: int = 384,
        *,
        token_mixer: Config,
        channel_mixer: Config | None = None,
        norm: str | Config = "layer",
        norm_eps: float = 1e-6,
        stem: Config = PATCHES,
        position: Sequence[int] | None = (14, 14),
        class_token: bool = False,
        layer_scale: float = 0.0,
        drop_path: float = 0.0,
        out_indices: Sequence[int] | None = None,
        out_norm: bool = True,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        out_indices = checked_indices((depth - 1,) if out_indices is None else out_indices, depth, "blocks")
        self.out_indices, self.checkpointing = out_indices, checkpointing
        stem = {"in_channels": 3, "channels": width, **stem}
        self.in_channels, self.embed = stem["in_channels"], MODELS.build(stem)
        self.position: nn.Module | None = None
        if position is not None:
            self.position = PositionMap(width, (position[0], position[1]))
        self.class_token = nn.Parameter(torch.zeros(1, 1, width)) if class_token else None
        mixer = FEED_FORWARD if channel_mixer is None else channel_mixer
        rates = torch.linspace(0, drop_path, depth, device="cpu").tolist()[: out_indices[-1] + 1]
        self.blocks = nn.ModuleList(
            MetaFormerBlock(
                width, token_mixer, mixer, norm=norm, norm_eps=norm_eps, layer_scale=layer_scale, drop_path=rate
            )
            for rate in rates
        )
        self.norm = token_norm(norm if out_norm else None, width, norm_eps)
        self.channels, self.strides = (width,) * len(out_indices), (self.embed.stride,) * len(out_indices)
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers and the class token truncated normal, biases of zero; the embedding as torch makes it."""
        init_linear_layers(self)
        if self.class_token is not None:
            nn.init.trunc_normal_(self.class_token, std=0.02)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C, H / s, W / s), rounded down with patches that do not overlap.

        Raises:
            ValueError: the pictures have other channels, or are smaller than the stride.
        """
        found, size = self.tokens(images)
        first = 0 if self.class_token is None else 1
        return tuple(map_of(tokens[:, first:], size) for tokens in found)

    def tokens(self, images: Tensor) -> tuple[list[Tensor], tuple[int, int]]:
        """The tokens of each map (B, N, C), the class token first if there is one, and the map's height and width.

        Raises:
            ValueError: as `forward`.
        """
        check_images(images, channels=self.in_channels, least=self.strides[0])
        x = self.embed(images)
        size = (x.shape[2], x.shape[3])
        tokens = tokens_of(x).contiguous()                                               # (B, H * W, C)
        tokens = tokens if self.position is None else self.position(tokens, size)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        shape = size if self.class_token is None else None
        found, done = [], 0
        for index in self.out_indices:
            blocks = self.blocks[done : index + 1]
            tokens = run_blocks(blocks, tokens, shape, checkpointing=self.checkpointing and self.training)
            found.append(self.norm(tokens))
            done = index + 1
        return found, size
