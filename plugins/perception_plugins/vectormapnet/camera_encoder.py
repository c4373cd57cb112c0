"""The camera branch: pictures to one feature map each, then onto the ground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.lifts.plane_ipm import PlaneIPM
from perception.models.necks.fpn import FPN
from perception.registry import MODELS

IMAGE_BACKBONE = {"type": "ResNet", "depth": 50, "style": "caffe", "deformable_stages": (2, 3), "norm_eval": True}


class CameraEncoder(nn.Module):
    """Image backbone, feature pyramid, the levels summed at the finest one, planes of the ground, a convolution.

    Args:
        channels: width of the result.
        region: x0, y0, x1, y1 [m], ego frame.
        grid: columns (along x) and rows (along y) of the result.
        heights: z of the planes that are lifted to [m], ego frame.
        image_backbone: config of an image backbone whose stages halve the map; None: the published one.
        image_channels: width of the pyramid.
        groups: of the group normalisations.
        pictures: the pictures themselves are lifted as well, which shows far ground as sharply as they do.
        channels_last: lay pictures and maps out channels last.
    """

    def __init__(
        self,
        channels: int = 128,
        *,
        region: Sequence[float] = (-30.0, -15.0, 30.0, 15.0),
        grid: Sequence[int] = (200, 100),
        heights: Sequence[float] = (-1.1, 0.0, 0.5, 1.1),
        image_backbone: Mapping[str, Any] | None = None,
        image_channels: int = 128,
        groups: int = 32,
        pictures: bool = False,
        channels_last: bool = True,
    ) -> None:
        super().__init__()
        self.pictures = pictures
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.image_backbone = MODELS.build(image_backbone or IMAGE_BACKBONE)
        self.image_neck = FPN(self.image_backbone.channels, image_channels, norm=True)
        self.upsample = UpsampleSum(image_channels, len(self.image_neck.channels), groups=groups)
        self.lift = PlaneIPM(region, grid, heights)
        per_plane = image_channels + 3 + 6 * pictures
        self.output = nn.Conv2d(per_plane * len(heights), channels, 3, padding=1)

    def forward(self, images: Tensor, image_from_ego: Tensor, camera_mask: Tensor | None = None) -> Tensor:
        """Pictures to a bird's-eye-view map.

        Args:
            images: (B, N, 3, H, W), normalised.
            image_from_ego: (B, N, 4, 4), see `PlaneIPM.project`.
            camera_mask: (B, N) bool, False for a camera that is missing; it has no influence at all.

        Returns:
            (B, channels, rows, columns).

        Raises:
            ValueError: H or W is not divisible by the coarsest stride.
        """
        stride = max(self.image_backbone.strides)
        if images.shape[3] % stride or images.shape[4] % stride:
            raise ValueError(f"images must have sides divisible by {stride}, got {tuple(images.shape[3:])}")
        features = self._of_present(images, camera_mask)
        places = (image_from_ego, images.shape[3:], camera_mask)
        lifted = self.lift(features, *places)
        lifted = torch.cat([lifted, self.lift(images, *places)], dim=1) if self.pictures else lifted
        return self.output(lifted.contiguous(memory_format=self.memory_format))

    def _of_present(self, images: Tensor, camera_mask: Tensor | None) -> Tensor:
        """(B, N, C, h, w) features; those of missing cameras are not computed, else they would count in batch norms."""
        B, N = images.shape[:2]
        if camera_mask is None or bool(camera_mask.all()):
            return self.picture_features(images.flatten(0, 1)).unflatten(0, (B, N))
        present = self.picture_features(images[camera_mask])                        # (M, C, h, w)
        features = present.new_zeros(B * N, *present.shape[1:]).contiguous(memory_format=self.memory_format)
        return features.index_copy(0, camera_mask.flatten().nonzero()[:, 0], present).unflatten(0, (B, N))

    def picture_features(self, images: Tensor) -> Tensor:
        """(M, 3, H, W) -> (M, C, H / s, W / s) at the finest stride s of the backbone."""
        images = images.contiguous(memory_format=self.memory_format)
        return self.upsample(self.image_neck(self.image_backbone(images)))


class UpsampleSum(nn.Module):
    """Brings each level to the size of the finest by convolutions and doublings, and adds them up.

    The last doubling of all levels is done on their sum, which is the same.

    Args:
        channels: width of the levels.
        levels: how many there are, each half as large as the one before.
        groups: of the group normalisations.
    """

    def __init__(self, channels: int, levels: int, *, groups: int = 32) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.ModuleList(GroupNormUnit(channels, groups) for _ in range(level)) for level in range(1, levels)
        )

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels (M, C, h / 2**k, w / 2**k) -> (M, C, h, w)."""
        finest, *coarse = levels
        if not coarse:
            return finest
        halves = [self._to_half(level, x) for level, x in enumerate(coarse)]
        return finest + _doubled(torch.stack(halves).sum(dim=0))

    def _to_half(self, level: int, x: Tensor) -> Tensor:
        """A level at half the size of the finest, before its last doubling."""
        first, *others = cast(nn.ModuleList, self.levels[level])
        x = first(x)
        for unit in others:
            x = unit(_doubled(x))
        return x


class GroupNormUnit(nn.Module):
    """A 3x3 convolution, group normalisation and ReLU, all of one width.

    Args:
        channels: that width.
        groups: of the normalisation.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(M, C, h, w) -> (M, C, h, w)."""
        return self.norm(self.conv(x)).relu()


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
