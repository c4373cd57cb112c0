"""A pyramid of stages, each of which mixes tokens of a coarser map.

**Layout.** Within a stage the tokens lie in memory one after another, (B, H * W, C), which is the map laid out channels
last. So norms and linear layers read rows of C numbers, a mixer that wants the map takes it as a view, and the
convolution between two stages takes and gives that order: nothing is copied but the first map of a network that is not
channels last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.registry import MODELS

from ..backbone_arguments import check_images, checked_indices
from ..token_layout import keep_real, map_of, tokens_of
from .block import MetaFormerBlock, init_linear_layers, run_blocks
from .norm import token_norm
from .patch_embedding import PositionMap

STEM = {"type": "PatchEmbedding", "kernel": 7, "stride": 4, "padding": 2}
DOWNSAMPLE = {"type": "PatchEmbedding", "kernel": 3, "stride": 2, "padding": 1}
FEED_FORWARD = {"type": "FeedForward"}
Config = Mapping[str, Any]


class MetaFormerStage(nn.Module):
    """An embedding and blocks.

    Args:
        embed: (B, C_in, H', W') -> (B, C, H, W).
        blocks: of the tokens, called as a `MetaFormerBlock` is.
        position: added to the tokens before the first block.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.
    """

    def __init__(
        self, embed: nn.Module, blocks: Sequence[nn.Module], position: PositionMap | None = None, *,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.embed, self.position, self.blocks = embed, position, nn.ModuleList(blocks)
        self.checkpointing = checkpointing

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """One stage.

        Args:
            x: (B, C_in, H', W').
            mask: bool (B, h, w) of any size, False where nothing is real; no real place looks there, and the map
                is 0 there.

        Returns:
            (B, C, H, W), channels last.
        """
        x = self.embed(x)
        size = (x.shape[2], x.shape[3])
        real = None if mask is None else F.interpolate(mask[:, None].float(), size).flatten(1) > 0     # (B, H * W)
        tokens = tokens_of(x).contiguous()                                               # (B, H * W, C)
        tokens = tokens if self.position is None else self.position(tokens, size)
        tokens = run_blocks(self.blocks, tokens, size, real, checkpointing=self.checkpointing and self.training)
        return map_of(keep_real(tokens, real), size)


@MODELS.register_module(role="image_backbone")
class MetaFormer(nn.Module):
    """Stages of blocks with any mixers: maps of strides 4, 8, 16 and 32 with the default embeddings.

    Args:
        depths: blocks of each stage.
        widths: channels of each stage.
        token_mixer: config of the token mixers, one for all stages or one for each; they are given ``channels``.
        channel_mixer: of the channel mixers, likewise; None is a `FeedForward` of ratio 4.
        norm, norm_eps: of blocks and maps, see `token_norm`.
        stem: config of the first stage's embedding, which is given ``in_channels`` and ``channels`` and has ``stride``.
        downsample: of the other stages' embeddings, likewise.
        positions: for each stage, height and width of a learned position map for the size that it is trained in, or
            None for none; None has none at all.
        layer_scale: first value of the learned factors of the branches; 0 goes without.
        drop_path: probability of leaving a branch out, of the last block; it rises linearly from 0 at the first.
        out_indices: stages whose maps are given, in ascending order; there are no stages behind the last.
        out_norms: a norm for each map that is given; the next stage reads the map without it.
        skip_first_norm: leave the one of stage 0 out, for heads that begin at stride 8.
        checkpointing: in training, run blocks again for the gradient instead of keeping what they computed.

    Raises:
        ValueError: something is not given for each stage, ``out_indices`` are no ascending stages, or the norm is none.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        *,
        token_mixer: Config | Sequence[Config],
        channel_mixer: Config | Sequence[Config] | None = None,
        norm: str | Config = "group",
        norm_eps: float = 1e-5,
        stem: Config = STEM,
        downsample: Config = DOWNSAMPLE,
        positions: Sequence[Sequence[int] | None] | None = None,
        layer_scale: float = 1e-5,
        drop_path: float = 0.0,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norms: bool = False,
        skip_first_norm: bool = False,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        count = len(depths)
        token_mixers = _each_stage("token_mixer", token_mixer, count)
        channel_mixers = _each_stage("channel_mixer", FEED_FORWARD if channel_mixer is None else channel_mixer, count)
        places = [None] * count if positions is None else list(positions)
        for name, values in (("widths", widths), ("positions", places)):
            if len(values) != count:
                raise ValueError(f"{name} must be one for each of the {count} depths, got {tuple(values)}")
        self.norm, self.out_indices = norm, checked_indices(out_indices, count, "stages")
        rates = iter(torch.linspace(0, drop_path, sum(depths), device="cpu").tolist())
        self.stages = nn.ModuleList()
        strides: list[int] = []
        for stage in range(out_indices[-1] + 1):
            width, size = widths[stage], places[stage]
            embedding = {**downsample, "in_channels": widths[stage - 1]} if stage else {**stem, "in_channels": 3}
            embed = MODELS.build({**embedding, "channels": width})
            blocks = [
                MetaFormerBlock(
                    width, token_mixers[stage], channel_mixers[stage], norm=norm, norm_eps=norm_eps,
                    layer_scale=layer_scale, drop_path=next(rates),
                )
                for _ in range(depths[stage])
            ]
            position = None if size is None else PositionMap(width, (size[0], size[1]))
            self.stages.append(MetaFormerStage(embed, blocks, position, checkpointing=checkpointing))
            strides.append(embed.stride * (strides[-1] if strides else 1))
        self.channels = tuple(widths[stage] for stage in self.out_indices)
        self.strides = tuple(strides[stage] for stage in self.out_indices)
        normed = [stage for stage in self.out_indices if out_norms and not (skip_first_norm and stage == 0)]
        self.out_norms = nn.ModuleDict({str(stage): token_norm(norm, widths[stage], norm_eps) for stage in normed})
        self.dense_only = ("out_norms.",)            # what a checkpoint of a classifier lacks
        self.init_weights()

    def init_weights(self) -> None:
        """Linear layers truncated normal with biases of zero; convolutions as torch makes them."""
        init_linear_layers(self)

    def forward(self, images: Tensor, mask: Tensor | None = None) -> tuple[Tensor, ...]:
        """Pictures to maps.

        Args:
            images: (B, 3, H, W).
            mask: (B, H, W) bool, False where a picture is padding, which then is as if the picture ended there if its
                sides are multiples of the last stride; the maps mean nothing there.

        Returns:
            Maps (B, C_i, H / s_i, W / s_i); with the default embeddings (H + 1) / 4 rounded down, then halves rounded
            up.

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or smaller than the last stride; or there is a mask, and the
                norm takes its statistics from all places.
        """
        check_images(images, least=self.strides[-1])
        if mask is not None:
            if self.norm != "layer":
                raise ValueError(f'a mask needs norm="layer", whose statistics are those of one place, got {self.norm}')
            images = images.masked_fill(~mask[:, None], 0.0)
        x, maps = images, []
        for number, stage in enumerate(self.stages):
            x = stage(x, mask)
            if number in self.out_indices:
                maps.append(self._normed(number, x))
        return tuple(maps)

    def _normed(self, stage: int, x: Tensor) -> Tensor:
        name = str(stage)
        if name not in self.out_norms:
            return x
        return map_of(self.out_norms[name](tokens_of(x)), (x.shape[2], x.shape[3]))


def _each_stage(name: str, config: Config | Sequence[Config], count: int) -> list[Config]:
    """A config for each stage."""
    if isinstance(config, Mapping):
        return [config] * count
    if len(config) != count:
        raise ValueError(f"{name} must be one config, or one for each of the {count} stages, got {len(config)}")
    return list(config)
