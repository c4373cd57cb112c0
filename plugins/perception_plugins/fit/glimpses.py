"""Pictures as groups of patches."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.backbone_arguments import check_multiple


def glimpse_tokens(
    images: Tensor, sub_image: Sequence[int], patch: int, *, minis: int = 0, order: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Cut pictures into parts, and these into patches.

    Args:
        images: (B, H, W, 3), channels last.
        sub_image: height and width of a part.
        patch: side of a patch.
        minis: so many copies of the whole picture, shrunk to the size of a part, come first.
        order: (B, t) int64, the number of the part that each group is to be; None leaves them row by row.

    Returns:
        Tokens (B, t, n, patch * patch * 3), of the pixels of a patch row by row, and for each group the number of its
        part as a one-hot code (B, t, 1, t).

    Raises:
        ValueError: parts do not divide the pictures, or patches the parts.
    """
    height, width = sub_image
    check_multiple("the sides of a part", (height, width), patch)
    rows, columns = images.shape[1] // height, images.shape[2] // width
    if (rows * height, columns * width) != tuple(images.shape[1:3]) or rows * columns == 0:
        raise ValueError(f"parts of {height} x {width} must divide pictures, got {images.shape[1]} x {images.shape[2]}")
    parts = images.unflatten(2, (columns, width)).unflatten(1, (rows, height))             # (B, R, h, K, w, 3)
    parts = parts.transpose(2, 3).flatten(1, 2)                                            # (B, R * K, h, w, 3)
    if minis:
        small = F.interpolate(images.movedim(3, 1), (height, width), mode="bilinear", align_corners=False)
        parts = torch.cat([small.movedim(1, 3)[:, None].expand(-1, minis, -1, -1, -1), parts], dim=1)
    patches = parts.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).transpose(3, 4)    # (B, t, r, k, p, p, 3)
    tokens = patches.flatten(4).flatten(2, 3)                                              # (B, t, n, p * p * 3)
    groups = tokens.shape[1]
    if order is None:
        order = torch.arange(groups, device=images.device).expand(len(images), -1)
    else:
        tokens = tokens.gather(1, order[:, :, None, None].expand_as(tokens))
    return tokens, F.one_hot(order, groups)[:, :, None].to(images.dtype)
