"""The parts of P2AT's decoder: blocks of its stream, the fusion of levels, the global context and the classifier.

"P2AT: Pyramid Pooling Axial Transformer for Real-time Semantic Segmentation" (arXiv 2310.15025), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .layers import EPS, MOMENTUM, ConvPReLU, conv1x1, conv_norm, resized

GAMMA = 1e-6                                       # a fresh block is almost the identity


class DecoderBlock(nn.Module):
    """A depthwise convolution and an MLP on each pixel, added to the input with a scale of each channel.

    Args:
        channels: width.
        kernel_size: of the depthwise convolution; odd.
        expansion: width of the MLP over ``channels``.
    """

    def __init__(self, channels: int, kernel_size: int, *, expansion: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)
        self.bn: nn.Module = nn.BatchNorm2d(channels, eps=EPS, momentum=MOMENTUM)
        self.up = nn.Linear(channels, expansion * channels)
        self.down = nn.Linear(expansion * channels, channels)
        self.gamma: nn.Parameter | None = nn.Parameter(torch.full((channels,), GAMMA))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        pixels = self.bn(self.conv(x)).permute(0, 2, 3, 1)                   # (B, H, W, C)
        change = self.down(F.hardswish(self.up(pixels)))
        change = change if self.gamma is None else change * self.gamma
        return x + change.permute(0, 3, 1, 2)

    @torch.no_grad()
    def fold_batch_norm(self) -> None:
        """Give the norm to the convolution before it, and the scale to the layer before that; for evaluation only."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv, self.bn = fuse_conv_bn_eval(self.conv, self.bn), nn.Identity()
        if self.gamma is not None:
            self.down.weight.mul_(self.gamma[:, None])
            self.down.bias.mul_(self.gamma)
            self.gamma = None


class DetailPath(nn.Module):
    """The finer map: what the whole picture and what each pixel says of it (LFR).

    Args:
        in_channels: width of the input.
        channels: width of the output.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.embed = ConvPReLU(in_channels, channels)
        self.whole = conv1x1(channels, channels)
        self.each = conv1x1(channels, channels)
        self.fuse = conv1x1(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        embedded = self.embed(x)
        whole = self.whole(embedded.mean(dim=(2, 3), keepdim=True))          # (B, C_out, 1, 1)
        return self.fuse(whole + self.each(embedded).sigmoid())


class StreamPath(nn.Module):
    """The decoder's stream, each pixel of which shares one unit of weight among its channels (SFU).

    Args:
        in_channels: width of the input.
        channels: width of the output.
    """

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.embed = ConvPReLU(in_channels, channels)
        self.share = conv1x1(in_channels, channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H, W)."""
        return self.embed(x) * self.share(x).softmax(dim=1)


class BidirectionalFusion(nn.Module):
    """Two neighbouring levels of the encoder and the decoder's stream as one map (BiF).

    Args:
        detail_channels: width of the finer level.
        semantic_channels: width of the coarser level.
        stream_channels: width of the stream.
        channels: width of the output.
    """

    def __init__(self, detail_channels: int, semantic_channels: int, stream_channels: int, channels: int) -> None:
        super().__init__()
        self.detail = DetailPath(detail_channels, channels)
        self.stream = StreamPath(stream_channels, channels)
        self.semantic = conv_norm(semantic_channels, channels)
        self.fuse = conv_norm(3 * channels, channels)

    def forward(self, detail: Tensor, semantic: Tensor, stream: Tensor) -> Tensor:
        """Maps (B, C_d, H, W), (B, C_s, h, w) and (B, C_u, h', w') -> (B, C, H, W)."""
        d = self.detail(detail)                                              # (B, C, H, W) each
        s = resized(self.semantic(semantic), like=d)
        u = resized(self.stream(stream), like=d)
        return self.fuse(torch.cat([d, u, s], dim=1)) + s * u + (s * d).sigmoid()


class GlobalContext(nn.Module):
    """Adds what the average of the map says to each of its pixels (GCE).

    Args:
        channels: width.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.scale, self.shift = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.conv2 = ConvPReLU(channels, channels, 7)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W).

        Raises:
            ValueError: a norm of a single value for each channel, as a single picture has in training.
        """
        if len(x) == 1 and type(self.conv2.bn) is nn.BatchNorm2d and self.conv2.bn.training:
            raise ValueError(
                "the global context is normalised over the pictures of a batch: train on at least 2 a process, got 1"
            )
        context = self.conv1(x.mean(dim=(2, 3), keepdim=True))               # (B, C, 1, 1)
        return x + self.conv2(context * self.scale[:, None, None] + self.shift[:, None, None])


class PixelClassifier(nn.Module):
    """Norm, ReLU, 3x3 convolution, norm, ReLU, and a score for each class.

    Args:
        in_channels: width of the input.
        channels: width between.
        num_classes: K.
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels, eps=EPS, momentum=MOMENTUM)
        self.embed = conv_norm(in_channels, channels, 3)
        self.classify = conv1x1(channels, num_classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H, W) logits."""
        return self.classify(self.embed(self.bn1(x).relu()).relu())
