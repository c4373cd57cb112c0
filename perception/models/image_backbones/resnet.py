"""Residual networks over pictures, with deformable convolutions as an option.

"Deep Residual Learning for Image Recognition" (He et al., CVPR 2016), table 1. Parameters have torchvision's names.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from perception.models.conv_unit import conv3x3
from perception.registry import MODELS

from .deform_conv import ModulatedDeformConv2d

STYLES = ("pytorch", "caffe")


def conv1x1(in_channels: int, channels: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)


class _ResidualBlock(nn.Module):
    """Convolutions ``conv1``, ``conv2`` ... with their norms ``bn1``, ``bn2`` ..., and a shortcut.

    Args:
        convs: the convolutions in order.
        in_channels: width of the input; another one than that of the output, or a stride, gives the shortcut a
            projection.
        stride: of the whole block.
    """

    def __init__(self, convs: Sequence[nn.Conv2d | ModulatedDeformConv2d], in_channels: int, stride: int) -> None:
        super().__init__()
        self.num_convs = len(convs)
        for number, conv in enumerate(convs, 1):
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(conv.weight.shape[0]))
        channels = convs[-1].weight.shape[0]
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(conv1x1(in_channels, channels, stride), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C_in, H, W) -> (B, C_out, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        for number in range(1, self.num_convs):
            x = getattr(self, f"bn{number}")(getattr(self, f"conv{number}")(x)).relu_()
        last = self.num_convs
        return getattr(self, f"bn{last}")(getattr(self, f"conv{last}")(x)).add_(shortcut).relu_()

    def fold_batch_norm(self) -> None:
        """Give the normalisations' scales and shifts to the convolutions; for evaluation only."""
        for number in range(1, self.num_convs + 1):
            fold_pair(self, f"conv{number}", f"bn{number}")
        if isinstance(self.downsample, nn.Sequential):
            fold_pair(self.downsample, "0", "1")


class BasicBlock(_ResidualBlock):
    """Two 3x3 convolutions.

    Args:
        in_channels: width of the input.
        channels: width of the output.
        stride: of the first convolution.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        convs = (conv3x3(in_channels, channels, stride), conv3x3(channels, channels))
        super().__init__(convs, in_channels, stride)


class Bottleneck(_ResidualBlock):
    """1x1 down, 3x3, 1x1 up to four times the width.

    Args:
        in_channels: width of the input.
        channels: width of the 3x3 convolution.
        stride: of the 3x3 convolution, or of the first one in style "caffe".
        style: "pytorch" or "caffe".
        deformable: the 3x3 convolution is a modulated deformable one.
        expansion: width of the output, in those of the 3x3 convolution.
    """

    expansion = 4

    def __init__(
        self, in_channels: int, channels: int, stride: int = 1, *, style: str = "pytorch", deformable: bool = False,
        expansion: int = expansion,
    ) -> None:
        first, second = (stride, 1) if style == "caffe" else (1, stride)
        middle = ModulatedDeformConv2d if deformable else conv3x3
        convs = (
            conv1x1(in_channels, channels, first), middle(channels, channels, second),
            conv1x1(channels, channels * expansion),
        )
        super().__init__(convs, in_channels, stride)


LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
    152: (Bottleneck, (3, 8, 36, 3)),
}


@MODELS.register_module(role="image_backbone")
class ResNet(nn.Module):
    """A residual network that gives the last map of chosen stages.

    Args:
        depth: 18, 34, 50, 101 or 152; two 3x3 convolutions a block below 50, bottlenecks from there on.
        style: where a stage's stride sits in a bottleneck: "pytorch", its 3x3 convolution; "caffe", its first 1x1.
        deformable_stages: stages (0 to 3) whose 3x3 convolutions are modulated deformable ones; bottlenecks only.
        out_indices: stages (0 to 3) whose maps are given, in ascending order; there are no stages behind the last.
        stem_channels: width of the stem.
        base_channels: width of the 3x3 convolutions of stage 0; it doubles with each stage.
        widths: of the 3x3 convolutions of the four stages, in place of ``base_channels``.
        counts: blocks of the four stages, in place of those that ``depth`` says.
        expansion: width of a bottleneck's output in those of its 3x3 convolution; None takes the published 4.
        stem_map: give the map behind the stem's pooling too, as the first.
        norm_eps: epsilon of the norms.
        norm_momentum: share of a batch in their new statistics.
        frozen_stages: -1 trains all; 0 freezes the stem, k the stem and the first k stages: neither gradients nor
            new statistics.
        norm_eval: normalise by the running statistics in training too.
        norm_grad: train the norms' scales and shifts.

    Raises:
        ValueError: an argument lies outside what it can be.
    """

    def __init__(
        self,
        depth: int = 50,
        *,
        style: str = "pytorch",
        deformable_stages: Sequence[int] = (),
        out_indices: Sequence[int] = (0, 1, 2, 3),
        stem_channels: int = 64,
        base_channels: int = 64,
        widths: Sequence[int] | None = None,
        counts: Sequence[int] | None = None,
        expansion: int | None = None,
        stem_map: bool = False,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        norm_grad: bool = True,
    ) -> None:
        super().__init__()
        _check_choices(depth, style, deformable_stages, out_indices, frozen_stages)
        block, usual_counts = LAYOUTS[depth]
        counts = _four("counts", counts, usual_counts)
        widths = _four("widths", widths, [base_channels * 2**stage for stage in range(4)])
        if expansion is not None and block is not Bottleneck:
            raise ValueError(f"expansion needs bottlenecks (depth 50 or more), got depth {depth}")
        factor = block.expansion if expansion is None else expansion
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.stem_map = stem_map
        self.conv1: nn.Module = nn.Conv2d(3, stem_channels, 7, stride=2, padding=3, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(stem_channels)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        in_channels = stem_channels
        for stage, (width, count) in enumerate(zip(widths[: max(out_indices) + 1], counts, strict=False)):
            options: dict[str, Any] = {}
            if block is Bottleneck:
                options = {"style": style, "deformable": stage in deformable_stages, "expansion": factor}
            blocks = []
            for position in range(count):
                blocks.append(block(in_channels, width, 2 if stage and not position else 1, **options))
                in_channels = width * factor
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        maps = [(widths[stage] * factor, 4 * 2**stage) for stage in self.out_indices]
        self.channels, self.strides = zip(*([(stem_channels, 4)] if stem_map else []), *maps, strict=True)
        for norm in self._norms():
            norm.eps, norm.momentum = norm_eps, norm_momentum
        self.init_weights()
        self._freeze(norm_grad)

    def init_weights(self) -> None:
        """Convolutions as in the paper that follows on this one (He et al., ICCV 2015), norms as the identity."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, ModulatedDeformConv2d):
                module.init_weights()

    def _freeze(self, norm_grad: bool) -> None:
        for part in self._frozen_parts():
            part.requires_grad_(False)
        if not norm_grad:
            for norm in self._norms():
                norm.requires_grad_(False)

    def _frozen_parts(self) -> list[nn.Module]:
        stem = [self.conv1, self.bn1] if self.frozen_stages >= 0 else []
        last = min(self.frozen_stages, max(self.out_indices) + 1)
        return stem + [getattr(self, f"layer{stage}") for stage in range(1, last + 1)]

    def _norms(self) -> list[_BatchNorm]:
        return [module for module in self.modules() if isinstance(module, _BatchNorm)]

    def train(self, mode: bool = True) -> ResNet:
        """As torch's; what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in [*self._frozen_parts(), *(self._norms() if self.norm_eval else [])]:
            module.eval()
        return self

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, H, W) -> maps (B, C_i, H / s_i, W / s_i), rounded up."""
        x = self.maxpool(self.bn1(self.conv1(images)).relu_())
        maps = [x] if self.stem_map else []
        for stage in range(max(self.out_indices) + 1):
            x = getattr(self, f"layer{stage + 1}")(x)
            if stage in self.out_indices:
                maps.append(x)
        return tuple(maps)

    def fold_batch_norm(self) -> None:
        """Give the stem's scale and shift to its convolution; the blocks fold their own."""
        fold_pair(self, "conv1", "bn1")


def fold_pair(parent: nn.Module, conv: str, norm: str) -> None:
    """Give the scale and shift of one member of a module to the convolution before it, if that is still to be done."""
    bn = getattr(parent, norm)
    if isinstance(bn, nn.BatchNorm2d):
        setattr(parent, conv, fuse_conv_bn_eval(getattr(parent, conv), bn))
        setattr(parent, norm, nn.Identity())


def _four(name: str, values: Sequence[int] | None, usual: Sequence[int]) -> tuple[int, ...]:
    chosen = tuple(usual if values is None else values)
    if len(chosen) != 4 or min(chosen) < 1:
        raise ValueError(f"{name} must be four numbers >= 1, got {chosen}")
    return chosen


def _check_choices(
    depth: int, style: str, deformable_stages: Sequence[int], out_indices: Sequence[int], frozen_stages: int
) -> None:
    if depth not in LAYOUTS:
        raise ValueError(f"depth must be one of {', '.join(map(str, LAYOUTS))}, got {depth}")
    if style not in STYLES:
        raise ValueError(f'style must be "pytorch" or "caffe", got {style!r}')
    for name, stages in (("deformable_stages", deformable_stages), ("out_indices", out_indices)):
        if any(stage not in range(4) for stage in stages) or list(stages) != sorted(set(stages)):
            raise ValueError(f"{name} must be ascending stages 0 to 3, got {tuple(stages)}")
    if not out_indices:
        raise ValueError("out_indices must name at least one stage")
    if deformable_stages and LAYOUTS[depth][0] is not Bottleneck:
        raise ValueError(f"deformable_stages needs bottlenecks (depth 50 or more), got depth {depth}")
    if frozen_stages not in range(-1, 5):
        raise ValueError(f"frozen_stages must lie in -1 to 4, got {frozen_stages}")
