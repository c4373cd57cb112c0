"""The neck: the bird's-eye-view map at a quarter of its size."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.image_backbones.resnet import BasicBlock, conv1x1, fold_pair
from perception.registry import MODELS


@MODELS.register_module(role="neck")
class VectorMapNetNeck(nn.Module):
    """The beginning of a residual network, and a 1x1 convolution back to the width that the heads read.

    Args:
        in_channels: width of the encoder's map.
        channels: width of the result.
        hidden_channels: width in between.
    """

    def __init__(self, in_channels: int = 128, channels: int = 128, *, hidden_channels: int = 64) -> None:
        super().__init__()
        self.channels = channels
        self.conv: nn.Module = nn.Conv2d(in_channels, hidden_channels, 7, stride=2, padding=3, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(hidden_channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.blocks = nn.Sequential(*(BasicBlock(hidden_channels, hidden_channels) for _ in range(2)))
        self.output = conv1x1(hidden_channels, channels)

    def forward(self, bev: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, channels, H / 4, W / 4), rounded up."""
        return self.output(self.blocks(self.maxpool(self.bn(self.conv(bev)).relu())))

    def fold_batch_norm(self) -> None:
        """Give the scale and shift of the first normalisation to its convolution; the blocks fold their own."""
        fold_pair(self, "conv", "bn")
