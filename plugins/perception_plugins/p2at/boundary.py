"""Where the classes of a picture meet: the target of the boundary head."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTH, SLOPE = (1.0, 4.0, 6.0, 4.0, 1.0), (-1.0, -2.0, 0.0, 2.0, 1.0)     # the Sobel kernel of aperture 5
MIN_STRENGTH = 50.0                                # of 255, which is the strongest edge of the picture
REACH = (2, 1, 2, 1)                               # cells left, right, above and below: a kernel of 4 by 4


def boundary_map(classes: Tensor) -> Tensor:
    """Pixels at the borders of classes: Sobel strength of the numbers of the classes, thresholded and dilated.

    The strength is scaled by the strongest edge of each picture; ignored pixels (255) have edges as a class has.

    Args:
        classes: (B, H, W) int64 in [0, 255].

    Returns:
        (B, H, W) float32, 1 at a boundary and 0 elsewhere. All 0 where a picture shows one class.
    """
    smooth, slope = (torch.tensor(taps, device=classes.device) for taps in (SMOOTH, SLOPE))
    kernels = torch.stack([smooth[:, None] * slope, slope[:, None] * smooth])[:, None]   # (2, 1, 5, 5): along x, y
    slopes = F.conv2d(_mirrored(classes[:, None].float(), 2), kernels).double()          # whole numbers, so exact
    strength = slopes.square().sum(dim=1, keepdim=True).sqrt()                           # (B, 1, H, W)
    lowest, highest = strength.amin(dim=(2, 3), keepdim=True), strength.amax(dim=(2, 3), keepdim=True)
    strong = (strength - lowest) * 255 > MIN_STRENGTH * (highest - lowest)
    return F.max_pool2d(F.pad(strong.float(), REACH), 4, stride=1)[:, 0]


def _mirrored(planes: Tensor, cells: int) -> Tensor:
    """(B, C, H, W) continued beyond the border without repeating it, however small the planes are."""
    for axis in (2, 3):
        size = planes.shape[axis]
        place = torch.arange(-cells, size + cells, device=planes.device)
        period = max(2 * (size - 1), 1)
        place = place.remainder(period)
        planes = planes.index_select(axis, torch.minimum(place, period - place) if size > 1 else place * 0)
    return planes
