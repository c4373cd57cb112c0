"""The unit that the dense networks are made of."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class ConvUnit(nn.Module):
    """A convolution without bias, batch normalisation and a ReLU that can be left out; the skip comes after the ReLU.

    Args:
        conv: the convolution, plain or transposed.
        eps: of the normalisation.
        momentum: of its running statistics.
        residual: add the input to the output (after the activation); shapes must agree.
        activation: whether there is a ReLU.
    """

    def __init__(
        self,
        conv: nn.Conv2d | nn.ConvTranspose2d,
        *,
        eps: float = 1e-3,
        momentum: float = 0.01,
        residual: bool = False,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.conv = conv
        self.bn: nn.Module = nn.BatchNorm2d(conv.out_channels, eps=eps, momentum=momentum)
        self.residual, self.activation = residual, activation

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        out = self.bn(self.conv(x))
        out = out.relu() if self.activation else out
        return x + out if self.residual else out

    def fold_batch_norm(self) -> None:
        """Give the normalisation's scale and shift to the convolution; for evaluation only."""
        if isinstance(self.bn, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.bn, transpose=isinstance(self.conv, nn.ConvTranspose2d))
            self.bn = nn.Identity()


def conv3x3(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution without bias that keeps the size at stride 1."""
    return nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
