"""What the two hosts of EcoFormer's attention share: stages of blocks, each with an attention by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.backbone_arguments import check_images, checked_indices
from perception.models.image_backbones.mit import init_linear_and_convolution
from perception.models.metaformer.block import MetaFormerBlock

ATTENTIONS = {                                       # mixer by the authors' name
    "ecoformer": "HashAttention", "msa": "AttentionMixer", "msa_share_qk": "SharedAttention",
    "sra": "ReducedAttentionMixer",
}
PUBLISHED = ("ecoformer", "ecoformer", "ecoformer", "msa")


class HostBackbone(nn.Module):
    """Stages one after another, of which some give their maps.

    Args:
        stages: (B, C_in, H, W) -> (B, C, h, w) each.
        channels: their widths.
        strides: of their maps, in pixels.
        out_indices: of the stages whose maps are given; the last of them is the last stage.
        least_size: pixels that a picture has at least along each side.
    """

    def __init__(
        self, stages: Sequence[nn.Module], channels: Sequence[int], strides: Sequence[int], out_indices: Sequence[int],
        least_size: int,
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.out_indices, self.least_size = tuple(out_indices), least_size
        self.channels = tuple(channels[stage] for stage in out_indices)
        self.strides = tuple(strides[stage] for stage in out_indices)

    def init_weights(self) -> None:
        """See `init_linear_and_convolution`."""
        init_linear_and_convolution(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i).

        Raises:
            ValueError: the pictures are not (B, 3, H, W), or too small.
        """
        check_images(images, least=self.least_size)
        maps, x = [], images
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in self.out_indices:
                maps.append(self.given(number, x))
        return tuple(maps)

    def given(self, stage: int, x: Tensor) -> Tensor:
        """What is given of the map of a stage."""
        return x


class BlockPlan:
    """Builds the blocks of the stages in order.

    Args:
        depths: blocks of each stage.
        attention: names of `ATTENTIONS`, one for all stages or one for each.
        hashing: further arguments of each `HashAttention`.
        qkv_bias: queries, keys and values have a bias.
        norm_eps: of the blocks' norms.
        drop_path: of the last block; it rises linearly from 0 at the first.

    Raises:
        ValueError: there is no attention of a name, or not one for each stage.
    """

    def __init__(
        self, depths: Sequence[int], attention: str | Sequence[str], *, hashing: Mapping[str, Any] | None,
        qkv_bias: bool, norm_eps: float, drop_path: float,
    ) -> None:
        names = [attention] * len(depths) if isinstance(attention, str) else list(attention)
        if len(names) != len(depths) or not set(names) <= set(ATTENTIONS):
            raise ValueError(
                f"attention must be one of {', '.join(ATTENTIONS)} for each of the {len(depths)} stages, got {names}"
            )
        self.depths, self.names, self.hashing = depths, names, dict(hashing or {})
        self.qkv_bias, self.norm_eps = qkv_bias, norm_eps
        rates = torch.linspace(0, drop_path, sum(depths), device="cpu")
        self.rates = [part.tolist() for part in rates.split(list(depths))]

    def blocks(
        self, stage: int, channels: int, heads: int, channel_mixer: Mapping[str, Any], *, reduction: int = 1
    ) -> list[MetaFormerBlock]:
        """The blocks of a stage."""
        name = self.names[stage]
        mixer: dict[str, Any] = {"type": ATTENTIONS[name], "heads": heads, "qkv_bias": self.qkv_bias}
        if name == "ecoformer":
            mixer |= self.hashing
        elif name == "sra":
            mixer["reduction"] = reduction
        return [
            MetaFormerBlock(channels, mixer, channel_mixer, norm_eps=self.norm_eps, drop_path=rate)
            for rate in self.rates[stage]
        ]


def check_stages(out_indices: Sequence[int], **settings: Sequence[Any]) -> None:
    """Raise ValueError unless all settings are as many as the first, and ``out_indices`` ascending places of it."""
    (first, depths), *others = settings.items()
    for name, values in others:
        if len(values) != len(depths):
            raise ValueError(f"{name} must be one for each of the {len(depths)} {first}, got {tuple(values)}")
    checked_indices(out_indices, len(depths), "stages")
