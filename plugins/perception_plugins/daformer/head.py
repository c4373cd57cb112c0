"""DAFormer's head: all levels are embedded, brought to stride 4, fused with context, and classified.

"DAFormer: Improving Network Architectures and Training Strategies for Domain-Adaptive Semantic Segmentation"
(Hoyer et al., CVPR 2022), section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.conv_unit import ConvUnit
from perception.models.losses.weighted_cross_entropy import pixel_accuracy, weighted_cross_entropy
from perception.registry import MODELS
from perception.structures import PixelLabels

from .fusion import ContextEmbed, LinearEmbed

LAST_EMBEDS = {"linear": LinearEmbed, "context": ContextEmbed}


@MODELS.register_module(role="seg_head")
class DAFormerHead(nn.Module):
    """The context-aware fusion head.

    Args:
        in_channels: widths of the maps, finest first.
        num_classes: K.
        channels: width of the fused map.
        embed_channels: width that each level is brought to.
        fusion: config of what fuses the levels, a `ContextASPP`, `ConvFusion` or `InterlacedAttention`; its widths are
            filled in.
        last_embed: "linear" embeds the coarsest level as the others, "context" with an ASPP of its own.
        dropout: probability that a channel of the fused map is dropped in training.

    Raises:
        ValueError: there is no map, or ``last_embed`` is another.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        channels: int = 256,
        embed_channels: int = 256,
        fusion: Mapping[str, Any] | None = None,
        last_embed: str = "linear",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if not in_channels or last_embed not in LAST_EMBEDS:
            raise ValueError(
                f'in_channels must not be empty and last_embed "linear" or "context", got {tuple(in_channels)} and '
                f"{last_embed!r}"
            )
        self.embeds = nn.ModuleList(LinearEmbed(width, embed_channels) for width in in_channels[:-1])
        self.embeds.append(LAST_EMBEDS[last_embed](in_channels[-1], embed_channels))
        widths = {"in_channels": len(in_channels) * embed_channels, "channels": channels}
        self.fusion = MODELS.build(fusion or {"type": "ContextASPP"}, default_args=widths)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(channels, num_classes, 1)
        self.init_weights()

    def init_weights(self) -> None:
        """Convolutions with a norm by their fan out, the classifier small; what else there is as torch has it."""
        for module in self.modules():
            if isinstance(module, ConvUnit):
                nn.init.kaiming_normal_(module.conv.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier.weight, std=0.01)
        if self.classifier.bias is not None:
            nn.init.zeros_(self.classifier.bias)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i), finest first -> logits (B, K, H_1, W_1)."""
        return self.classifier(self.dropout(self.fusion(self.embed(maps))))

    def embed(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i) -> the embedded levels of the finest one's size, one after the other.

        Raises:
            ValueError: there are more or fewer maps than widths.
        """
        if len(maps) != len(self.embeds):
            raise ValueError(f"maps must be {len(self.embeds)}, got {len(maps)}")
        size = maps[0].shape[2:]
        return torch.cat([embed(x, size) for embed, x in zip(self.embeds, maps, strict=True)], dim=1)

    def loss(self, raw: Tensor, labels: Sequence[PixelLabels]) -> dict[str, Tensor]:
        """The mean cross entropy over all pixels, and the percentage of them that is right, under the published names.

        Args:
            raw: logits (B, K, h, w).
            labels: B labels of one size.
        """
        classes = torch.stack([entry.classes for entry in labels])                         # (B, H, W)
        return {
            "decode.loss_seg": weighted_cross_entropy(raw, classes), "decode.acc_seg": pixel_accuracy(raw, classes),
        }
