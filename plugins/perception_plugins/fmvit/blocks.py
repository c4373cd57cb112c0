"""The two blocks of FMViT-style networks, and what they are made of; see the package for what they are not.

High frequencies are mixed by re-parameterised convolutions, low ones by attention to an averaged map. Every convolution
and every normalisation folds: a deployed block has convolutions with biases alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import fold_into_next
from perception.models.conv_unit import ConvUnit
from perception.models.rep_conv import RepConv

Branches = Sequence[Sequence[int]]
GLOBAL_AND_LOCAL = ((1, 1), (1, 2))                  # a dense 1x1 convolution and one in two groups


def pointwise(in_channels: int, channels: int, eps: float) -> ConvUnit:
    """A 1x1 convolution and batch normalisation."""
    return ConvUnit(nn.Conv2d(in_channels, channels, 1, bias=False), eps=eps, momentum=0.1, activation=False)


class GroupedMlp(nn.Module):
    """A two-layer perceptron of each place whose layers are trained in groups too; deployed it is an ordinary one.

    Args:
        channels: width C.
        ratio: hidden over outer width.
        branches: kernel, which is 1, and groups of each convolution of a layer.
        eps: of the normalisations.

    Raises:
        ValueError: a kernel is larger than 1, or groups do not divide the widths.
    """

    def __init__(
        self, channels: int, *, ratio: float = 3, branches: Branches = GLOBAL_AND_LOCAL, eps: float = 1e-5
    ) -> None:
        super().__init__()
        _check_pointwise("branches of an MLP", branches)
        hidden = int(channels * ratio)
        self.norm: nn.Module = nn.BatchNorm2d(channels, eps=eps)
        self.fc1 = RepConv(channels, hidden, branches, eps=eps)
        self.fc2 = RepConv(hidden, channels, branches, eps=eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.fc2(self.fc1(self.norm(x)).relu())

    def fold_batch_norm(self) -> None:
        """Give the first normalisation to the layer behind it; for evaluation only."""
        fold_into_next(self, "norm", self.fc1)


class LocalMixer(nn.Module):
    """Mixes high frequencies: 3x3 convolutions in groups and of single channels, then all channels of a place.

    Args:
        channels: width C.
        group_channels: channels of a group, of which C is a multiple.
        eps: of the normalisations.

    Raises:
        ValueError: ``channels`` is no multiple of ``group_channels``.
    """

    def __init__(self, channels: int, *, group_channels: int = 32, eps: float = 1e-5) -> None:
        super().__init__()
        if channels % group_channels:
            raise ValueError(f"channels ({channels}) must be a multiple of group_channels ({group_channels})")
        groups = channels // group_channels
        self.conv = RepConv(channels, channels, ((3, groups), (1, groups), (3, channels)), identity=True, eps=eps)
        self.proj = pointwise(channels, channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return self.proj(self.conv(x).relu())


class PooledAttention(nn.Module):
    """Mixes low frequencies: attention of every place to the means of windows.

    Args:
        channels: width C.
        head_channels: width of a head, of which C is a multiple.
        reduction: side of a window and distance to the next; at the border the mean is of what there is. 1 does
            without.
        branches: kernel, which is 1, and groups of each convolution of the four projections.
        eps: of the normalisations.

    Raises:
        ValueError: ``channels`` is no multiple of ``head_channels``, ``reduction`` is below 1, a kernel is larger than
            1, or groups do not divide the width.
    """

    def __init__(
        self, channels: int, *, head_channels: int = 32, reduction: int = 1, branches: Branches = GLOBAL_AND_LOCAL,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if channels % head_channels:
            raise ValueError(f"channels ({channels}) must be a multiple of head_channels ({head_channels})")
        if reduction < 1:
            raise ValueError(f"reduction must be >= 1, got {reduction}")
        _check_pointwise("branches of attention", branches)
        self.heads, self.reduction = channels // head_channels, reduction
        self.pool_bn: nn.Module = nn.BatchNorm2d(channels, eps=eps) if reduction > 1 else nn.Identity()
        self.q, self.k, self.v, self.proj = (RepConv(channels, channels, branches, eps=eps) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        seen = x
        if self.reduction > 1:
            seen = self.pool_bn(F.avg_pool2d(x, self.reduction, ceil_mode=True, count_include_pad=False))
        query, key, value = (self._by_head(part) for part in (self.q(x), self.k(seen), self.v(seen)))
        mixed = F.scaled_dot_product_attention(query, key, value)                          # (B, heads, N, D)
        return self.proj(mixed.transpose(2, 3).flatten(1, 2).unflatten(2, x.shape[2:]))

    def _by_head(self, x: Tensor) -> Tensor:
        return x.flatten(2).unflatten(1, (self.heads, -1)).transpose(2, 3)                 # (B, heads, N, D)

    def fold_batch_norm(self) -> None:
        """Give the normalisation of the means to keys and values; for evaluation only."""
        fold_into_next(self, "pool_bn", self.k, self.v)

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Fold, and give for x what scale * x + shift (C,) gave: of a window's mean it is the mean of what it gives."""
        self.fold_batch_norm()
        for layer in (self.q, self.k, self.v):
            layer.absorb_affine(scale, shift)


class ConvFusionBlock(nn.Module):
    """CFB: a `LocalMixer` and a `GroupedMlp`, each beside a shortcut.

    Args:
        channels: width C.
        conv_head_channels: of the mixer.
        mlp_ratio, mlp_branches: of the perceptron.
        drop_path: probability that a sample goes without a branch in training.
        eps: of the normalisations.
    """

    def __init__(
        self, channels: int, *, conv_head_channels: int = 32, mlp_ratio: float = 3,
        mlp_branches: Branches = GLOBAL_AND_LOCAL, drop_path: float = 0.0, eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.mixer = LocalMixer(channels, group_channels=conv_head_channels, eps=eps)
        self.mlp = GroupedMlp(channels, ratio=mlp_ratio, branches=mlp_branches, eps=eps)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x + self.drop_path(self.mixer(x))
        return x + self.drop_path(self.mlp(x))


class FrequencyMixingBlock(nn.Module):
    """FMB: part of the channels goes through attention, the rest through a `LocalMixer`; then a `GroupedMlp`.

    Args:
        channels: width C.
        reduction, head_channels, attention_branches: of the `PooledAttention`.
        low_ratio: share of the channels that it mixes, rounded down.
        conv_head_channels, mlp_ratio, mlp_branches, drop_path, eps: see `ConvFusionBlock`.

    Raises:
        ValueError: one of the two parts has no channels.
    """

    def __init__(
        self, channels: int, *, reduction: int = 1, head_channels: int = 32,
        attention_branches: Branches = GLOBAL_AND_LOCAL, low_ratio: float = 0.5, conv_head_channels: int = 32,
        mlp_ratio: float = 3, mlp_branches: Branches = GLOBAL_AND_LOCAL, drop_path: float = 0.0, eps: float = 1e-5,
    ) -> None:
        super().__init__()
        low = int(channels * low_ratio)
        if not 0 < low < channels:
            raise ValueError(f"low_ratio must leave channels on both sides, got {low_ratio}: {low} of {channels}")
        self.proj_low = pointwise(channels, low, eps)
        self.norm_low: nn.Module = nn.BatchNorm2d(low, eps=eps)
        self.attn = PooledAttention(
            low, head_channels=head_channels, reduction=reduction, branches=attention_branches, eps=eps
        )
        self.proj_high = pointwise(channels, channels - low, eps)
        self.mixer = LocalMixer(channels - low, group_channels=conv_head_channels, eps=eps)
        self.fuse = pointwise(channels, channels, eps)
        self.mlp = GroupedMlp(channels, ratio=mlp_ratio, branches=mlp_branches, eps=eps)
        self.drop_path = DropPath(drop_path) if drop_path > 0 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x + self.drop_path(self.fuse(torch.cat(self.mixed(x), dim=1)))
        return x + self.drop_path(self.mlp(x))

    def mixed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> low frequencies (B, C_l, H, W) and high ones (B, C - C_l, H, W), each mixed in itself."""
        low, high = self.proj_low(x), self.proj_high(x)
        return low + self.drop_path(self.attn(self.norm_low(low))), high + self.drop_path(self.mixer(high))

    def fold_batch_norm(self) -> None:
        """Give the normalisation before the attention to its projections; for evaluation only."""
        fold_into_next(self, "norm_low", self.attn)


def _check_pointwise(name: str, branches: Branches) -> None:
    if any(kernel != 1 for kernel, _ in branches):
        raise ValueError(f"{name} must have kernels of 1, got {tuple(map(tuple, branches))}")
