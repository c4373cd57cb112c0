"""Convolutions that are trained as a sum of several and deployed as one.

"RepVGG: Making VGG-style ConvNets Great Again" (Ding et al., CVPR 2021), section 3.3, for branches with kernels and
groups of any sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.batch_norm import absorb, affine_of

Branch = tuple[int, int]


class RepBranch(nn.Module):
    """A convolution without bias and its batch normalisation; an identity has the normalisation alone.

    Args:
        channels: width of the output.
        conv: the convolution; None for the identity.
        eps, momentum: of the normalisation.
    """

    def __init__(self, channels: int, conv: nn.Conv2d | None = None, *, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.conv = nn.Identity() if conv is None else conv
        self.bn = nn.BatchNorm2d(channels, eps=eps, momentum=momentum)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H', W')."""
        return self.bn(self.conv(x))

    def kernel(self) -> Tensor:
        """(C, C_in / groups, k, k); the identity's is that of a convolution of each channel with itself."""
        if isinstance(self.conv, nn.Conv2d):
            return self.conv.weight
        return self.bn.weight.new_ones(self.bn.num_features, 1, 1, 1)


class RepConv(nn.Module):
    """The sum of normalised convolutions of one map, and of the normalised map itself.

    `fold_batch_norm` turns it into one convolution with a bias, ``conv``, which in evaluation gives the same up to
    rounding: each kernel, times the scale of its normalisation, is put into the middle of the largest one. That has as
    many groups as are common to all branches: those of 3 and of 12 groups give 3, a dense one makes all dense.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        branches: side of the kernel, odd, and number of groups of each convolution.
        identity: add the normalised input, where widths agree and the stride is 1.
        stride: of all convolutions; they pad by half a kernel.
        eps, momentum: of the normalisations.

    Raises:
        ValueError: there is no branch, a kernel is even, or groups do not divide both widths.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        branches: Sequence[Sequence[int]],
        *,
        identity: bool = False,
        stride: int = 1,
        eps: float = 1e-5,
        momentum: float = 0.1,
    ) -> None:
        super().__init__()
        chosen = _checked_branches(in_channels, channels, branches)
        self.in_channels, self.channels, self.stride = in_channels, channels, stride
        self.kernel = max(kernel for kernel, _ in chosen)
        self.groups = math.gcd(*(groups for _, groups in chosen))
        self.branch = nn.ModuleList(
            RepBranch(
                channels,
                nn.Conv2d(
                    in_channels, channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
                ),
                eps=eps, momentum=momentum,
            )
            for kernel, groups in chosen
        )
        has_identity = identity and in_channels == channels and stride == 1
        self.identity = RepBranch(channels, eps=eps, momentum=momentum) if has_identity else None
        self.conv: nn.Conv2d | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C, H / stride, W / stride), rounded up."""
        if self.conv is not None:
            return self.conv(x)
        first, *others = self.branch
        out = first(x)
        for branch in others:
            out = out + branch(x)
        return out if self.identity is None else out + self.identity(x)

    @torch.no_grad()
    def fused(self) -> tuple[Tensor, Tensor]:
        """The kernel (C, C_in / groups, K, K) and the bias (C,) of the one convolution, float64.

        Raises:
            ValueError: the branches are folded already.
        """
        if self.conv is not None:
            raise ValueError("the branches of this RepConv are folded already: read its conv")
        branches = self._branches()
        like = branches[0].kernel()
        kernel = like.new_zeros(
            self.channels, self.in_channels // self.groups, self.kernel, self.kernel, dtype=torch.float64
        )
        bias = like.new_zeros(self.channels, dtype=torch.float64)
        for branch in branches:
            bias += self._add_to(kernel, branch.kernel().double(), branch.bn)
        return kernel, bias

    def _branches(self) -> list[RepBranch]:
        convolutions = cast("list[RepBranch]", list(self.branch))
        return convolutions if self.identity is None else [*convolutions, self.identity]

    def _add_to(self, kernel: Tensor, weight: Tensor, norm: _BatchNorm) -> Tensor:
        """Add a branch's scaled kernel (C, C_in / g, k, k) in its place of the whole one; gives its shift (C,)."""
        affine = affine_of(norm)
        assert affine is not None
        scale, shift = affine
        width, side = weight.shape[1], weight.shape[2]
        rows = torch.arange(self.channels, device=weight.device)
        own = rows // (self.channels * width // self.in_channels) * width                 # the first input of its group
        common = rows // (self.channels // self.groups) * (self.in_channels // self.groups)
        columns = (own - common)[:, None] + torch.arange(width, device=weight.device)     # (C, C_in / g)
        edge = (self.kernel - side) // 2
        middle = slice(edge, edge + side)
        kernel[rows[:, None], columns, middle, middle] += weight * scale[:, None, None, None]
        return shift

    def fold_batch_norm(self) -> None:
        """Become one convolution; for evaluation only."""
        if self.conv is not None:
            return
        kernel, bias = self.fused()
        like = self._branches()[0].kernel()
        conv = nn.utils.skip_init(
            nn.Conv2d, self.in_channels, self.channels, self.kernel, stride=self.stride, padding=self.kernel // 2,
            groups=self.groups, device=like.device, dtype=like.dtype,
        )
        with torch.no_grad():
            conv.weight.copy_(kernel)
            conv.bias.copy_(bias)
        self.conv, self.branch, self.identity = conv, nn.ModuleList(), None

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Fold, and give for x what scale * x + shift (C_in,) gave. Raises ValueError unless kernels are 1x1."""
        self.fold_batch_norm()
        assert self.conv is not None
        absorb(self.conv, scale, shift)


def _checked_branches(in_channels: int, channels: int, branches: Sequence[Sequence[int]]) -> list[Branch]:
    if not branches:
        raise ValueError("branches must name at least one convolution (kernel, groups), got none")
    for kernel, groups in branches:
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernels must be odd and >= 1, got branch {(kernel, groups)}")
        if groups < 1 or in_channels % groups or channels % groups:
            raise ValueError(
                f"groups must divide {in_channels} inputs and {channels} outputs, got branch {(kernel, groups)}"
            )
    return [(kernel, groups) for kernel, groups in branches]
