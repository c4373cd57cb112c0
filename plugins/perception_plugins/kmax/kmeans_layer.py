"""A transformer layer whose cross-attention is a step of k-means: each pixel gives itself to one cluster alone.

"k-means Mask Transformer" (Yu et al., ECCV 2022), sections 3.2 and 3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from perception_ops import segment_reduce

from .conv_norm import ConvNorm, batch_norm
from .predictor import ClusterPredictions, ClusterPredictor


def assigned_clusters(masks: Tensor) -> Tensor:
    """(B, N, h, w) logits -> (B, h * w) int64 cluster that each pixel has the highest one for; ties: the first."""
    return masks.flatten(2).max(dim=1).indices       # on a CPU in half of the time of argmax


def sum_members(values: Tensor, clusters: Tensor, num_clusters: int) -> Tensor:
    """Sum of the values of each cluster's pixels; the order of a sum on a GPU is not fixed.

    Args:
        values: (B, C, P) of P pixels.
        clusters: (B, P) int64 in [0, N).
        num_clusters: N.

    Returns:
        (B, C, N) float32; 0 where a cluster has no pixel.
    """
    B, C = values.shape[:2]
    values = values.float()
    if values.stride(1) == 1 < C:                    # pixels are rows, as channels-last maps give them
        first = torch.arange(B, device=values.device)[:, None] * num_clusters
        rows = values.transpose(1, 2).flatten(0, 1)                                        # (B * P, C)
        return segment_reduce(rows, (clusters + first).flatten(), B * num_clusters, "sum").unflatten(0, (B, -1)).mT
    sums = values.new_zeros(B, C, num_clusters)
    return sums.scatter_add(2, clusters[:, None].expand(-1, C, -1), values)


def kmeans_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """A step of k-means alone, without the convolutions and norms around it.

    Args:
        queries: (B, D, N) of N clusters.
        keys: (B, D, P) of P pixels.
        values: (B, C, P).

    Returns:
        (B, C, N) float32 sums; gradients reach the values alone.
    """
    masks = queries.mT @ keys                                                              # (B, N, P)
    return sum_members(values, assigned_clusters(masks[..., None]), queries.shape[2])


class ClusterAttention(nn.Module):
    """Self-attention among clusters; its logits are normalised by batch, not scaled.

    Args:
        key_channels: width of queries and keys of all heads together.
        value_channels: width of the values.
        heads: attention heads.
    """

    def __init__(self, key_channels: int, value_channels: int, heads: int) -> None:
        super().__init__()
        self.heads, self.widths = heads, (key_channels, key_channels, value_channels)
        self.norm_similarity = batch_norm(heads)
        self.norm_retrieved = batch_norm(value_channels, dims=1)

    def forward(self, qkv: Tensor) -> Tensor:
        """(B, 2 key + value channels, N) -> (B, value channels, N)."""
        q, k, v = (part.unflatten(1, (self.heads, -1)) for part in qkv.split(self.widths, dim=1))
        logits = self.norm_similarity(q.transpose(2, 3) @ k)                               # (B, heads, N, N)
        weights = logits.softmax(dim=3, dtype=torch.float32).to(v.dtype)
        return F.gelu(self.norm_retrieved((v @ weights.transpose(2, 3)).flatten(1, 2)))


class KMeansLayer(nn.Module):
    """Clusters predict their masks, take the sum of their pixels, attend to each other, and pass a feed-forward net.

    Args:
        pixel_channels: width of the pixel map.
        num_classes: real classes K.
        channels: width E of the clusters and behind the predictor's first layer.
        base_channels: half the width of the common space; queries and keys are as wide, values twice.
        heads: of the self-attention.
        hidden: of the feed-forward net.
        mask_channels: width of mask kernels.
        mask_scale: see `ClusterPredictor`.
        drop_path: probability of leaving a sample's update out in training.

    Raises:
        ValueError: ``base_channels`` is no multiple of ``heads``.
    """

    def __init__(
        self,
        pixel_channels: int,
        num_classes: int,
        *,
        channels: int = 256,
        base_channels: int = 128,
        heads: int = 8,
        hidden: int = 2048,
        mask_channels: int = 128,
        mask_scale: float = 0.1,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        if base_channels % heads:
            raise ValueError(f"base_channels ({base_channels}) must be divisible by heads ({heads})")
        space = 2 * base_channels
        std = space**-0.5
        self.pixel_space = ConvNorm(pixel_channels, space)
        self.query_space = ConvNorm(channels, space, dims=1)
        self.pixel_value = ConvNorm(space, space, activation=False, std=std)
        self.predictor = ClusterPredictor(
            space, space, num_classes, channels=channels, mask_channels=mask_channels, mask_scale=mask_scale
        )
        self.norm_members = batch_norm(space, dims=1)
        self.kmeans_update = ConvNorm(space, channels, dims=1, activation=False, norm_weight=0.0)
        self.qkv = ConvNorm(space, 2 * space, dims=1, activation=False, std=std)
        self.attention = ClusterAttention(base_channels, space, heads)
        self.attention_update = ConvNorm(space, channels, dims=1, activation=False, norm_weight=0.0)
        self.hidden = ConvNorm(channels, hidden, dims=1)
        self.hidden_update = ConvNorm(hidden, channels, dims=1, activation=False, norm_weight=0.0)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(self, clusters: Tensor, pixels: Tensor) -> tuple[Tensor, ClusterPredictions]:
        """(B, E, N) and a map (B, C, h, w) -> (B, E, N) and what the clusters predicted before their update."""
        pixels = self.pixel_space(F.gelu(pixels))                                          # (B, 2 base, h, w)
        queries = self.query_space(clusters)                                               # (B, 2 base, N)
        found = self.predictor(queries, queries, pixels)
        values = self.pixel_value(pixels).flatten(2)                                       # (B, 2 base, h * w)
        members = sum_members(values, assigned_clusters(found.masks), clusters.shape[2])
        clusters = clusters + self.drop_path(self.kmeans_update(self.norm_members(members)))
        attended = self.attention(self.qkv(queries))
        clusters = F.gelu(clusters + self.drop_path(self.attention_update(attended)))
        return F.gelu(clusters + self.drop_path(self.hidden_update(self.hidden(clusters)))), found
