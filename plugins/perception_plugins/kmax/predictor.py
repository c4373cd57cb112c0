"""Classes of clusters, and the affinity of every pixel to every cluster."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .conv_norm import ConvNorm, batch_norm, classifier
from .pixel_decoder import upsample

VOID_PRIOR = 0.9                                     # share of clusters that are expected to be nothing


@dataclass(frozen=True, eq=False)
class ClusterPredictions:
    """What N clusters are and which pixels they take.

    Args:
        logits: (B, N, K + 1) of classes; the last is void.
        masks: (B, N, h, w) logits of each pixel over the N clusters.
        pixels: (B, D, h, w) features, unit vectors.
        auxiliary: predictions of the layers before the last, of the same sizes; in training alone.
        semantic: (B, K or K + 1, h', w') logits of the auxiliary semantic branch; in training alone.
    """

    logits: Tensor
    masks: Tensor
    pixels: Tensor
    auxiliary: tuple[ClusterPredictions, ...] = ()
    semantic: Tensor | None = None

    def resized(self, size: torch.Size | tuple[int, ...]) -> ClusterPredictions:
        """With masks and pixels of another size (..., h, w)."""
        return ClusterPredictions(self.logits, upsample(self.masks, size), upsample(self.pixels, size))


class ClusterPredictor(nn.Module):
    """Class logits of clusters, and products of their mask kernels with normalised pixel features.

    Args:
        pixel_channels: width of the pixel map.
        query_channels: width of the clusters' embeddings.
        num_classes: real classes K.
        channels: width behind the first pixel layer.
        mask_channels: width D of kernels and pixel features.
        mask_scale: first standard deviation of the mask logits; the published tenth takes hundreds of steps to grow.
    """

    def __init__(
        self, pixel_channels: int, query_channels: int, num_classes: int, *, channels: int = 256,
        mask_channels: int = 128, mask_scale: float = 0.1,
    ) -> None:
        super().__init__()
        self.pixel0 = ConvNorm(pixel_channels, pixel_channels, 5, groups=pixel_channels)
        self.pixel1 = ConvNorm(pixel_channels, channels)
        self.pixel2 = ConvNorm(channels, mask_channels, bias=True, activation=False, std=0.01)
        self.kernel = ConvNorm(query_channels, mask_channels, dims=1, activation=False)
        self.classify = classifier(query_channels, num_classes + 1, std=0.01, dims=1)
        self.mask_norm = batch_norm(1)
        nn.init.constant_(self.mask_norm.weight, mask_scale)
        self.void_prior = math.log(num_classes * VOID_PRIOR / (1 - VOID_PRIOR))

    def forward(self, class_embedding: Tensor, mask_embedding: Tensor, pixels: Tensor) -> ClusterPredictions:
        """(B, E, N) embeddings for classes and for masks, and a map (B, C, h, w), to predictions."""
        features = F.normalize(self.pixel2(self.pixel1(self.pixel0(pixels))), dim=1, eps=1e-12)  # (B, D, h, w)
        logits = self.classify(class_embedding).transpose(1, 2)                            # (B, N, K + 1)
        logits = torch.cat([logits[..., :-1], logits[..., -1:] + self.void_prior], dim=2)
        products = torch.bmm(self.kernel(mask_embedding).transpose(1, 2), features.flatten(2))   # (B, N, h * w)
        masks = self.mask_norm(products[:, None])[:, 0].unflatten(2, pixels.shape[2:])
        return ClusterPredictions(logits, masks, features)
