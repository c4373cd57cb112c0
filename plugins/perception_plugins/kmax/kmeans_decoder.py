"""Learned cluster centres that go through k-means layers over finer and finer maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .conv_norm import ConvNorm, truncated_normal
from .kmeans_layer import KMeansLayer
from .predictor import ClusterPredictions, ClusterPredictor


class KMeansDecoder(nn.Module):
    """Layers over the three coarsest maps of a pixel decoder, and a prediction on the finest.

    Args:
        in_channels: widths of the maps that the layers read, coarsest first, and of the one that is predicted on.
        num_classes: real classes K.
        num_queries: clusters N.
        layers: number of layers over each map but the last.
        channels: width E of the clusters.
        base_channels: see `KMeansLayer`.
        heads: of the self-attention.
        hidden: of the feed-forward nets.
        mask_channels: width of mask kernels.
        mask_scale: see `ClusterPredictor`.
        drop_path: probability of leaving a sample's update out in training.

    Raises:
        ValueError: there is not one number of layers for each map but the last.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        num_queries: int = 128,
        layers: Sequence[int] = (2, 2, 2),
        channels: int = 256,
        base_channels: int = 128,
        heads: int = 8,
        hidden: int = 2048,
        mask_channels: int = 128,
        mask_scale: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if len(layers) != len(in_channels) - 1:
            raise ValueError(f"layers must be one number for each of {len(in_channels) - 1} maps, got {tuple(layers)}")
        self.centers = nn.Parameter(torch.empty(channels, num_queries))
        truncated_normal(self.centers, 1.0)
        self.level_of_layer = tuple(level for level, count in enumerate(layers) for _ in range(count))
        self.layers = nn.ModuleList(
            KMeansLayer(
                in_channels[level], num_classes, channels=channels, base_channels=base_channels, heads=heads,
                hidden=hidden, mask_channels=mask_channels, mask_scale=mask_scale, drop_path=drop_path,
            )
            for level in self.level_of_layer
        )
        self.class_embedding = ConvNorm(channels, channels, dims=1)
        self.mask_embedding = ConvNorm(channels, channels, dims=1)
        self.predictor = ClusterPredictor(
            in_channels[-1], channels, num_classes, channels=channels, mask_channels=mask_channels,
            mask_scale=mask_scale,
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[ClusterPredictions, tuple[ClusterPredictions, ...]]:
        """Maps (B, C_i, h_i, w_i) -> the final predictions, and those of every layer in the size of its map."""
        clusters = self.centers.expand(len(maps[0]), -1, -1)                               # (B, E, N)
        found = []
        for level, layer in zip(self.level_of_layer, self.layers, strict=True):
            clusters, predictions = layer(clusters, maps[level])
            found.append(predictions)
        final = self.predictor(self.class_embedding(clusters), self.mask_embedding(clusters), maps[-1])
        return final, tuple(found)
