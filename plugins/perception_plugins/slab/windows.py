"""Windows of equal size of a map, and what attention within them may see."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HIDDEN = -1e4                                        # added to a logit: exp(-1e4) is 0, and none at all gives no NaN


def pad_to_windows(x: Tensor, window: tuple[int, int], blank: Tensor | None = None) -> Tensor:
    """(B, H, W, C) with columns at the right and rows at the bottom up to whole windows: ``blank`` (C,), or zeros."""
    height, width = x.shape[1], x.shape[2]
    bottom, right = -height % window[0], -width % window[1]
    if not bottom and not right:
        return x
    if blank is None:
        return F.pad(x, (0, 0, 0, right, 0, bottom))
    blank = blank.to(x.dtype)
    if right:
        x = torch.cat([x, blank.expand(len(x), height, right, -1)], dim=2)
    if bottom:
        x = torch.cat([x, blank.expand(len(x), bottom, width + right, -1)], dim=1)
    return x


def cut_windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """(B, H, W, C) -> (B, L, h * w, C): L windows of h, w, row by row, and so are the tokens of each."""
    cut = x.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))                        # (B, L_h, h, L_w, w, C)
    return cut.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def join_windows(x: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The inverse of `cut_windows`: (B, L, h * w, C) -> (B, H, W, C)."""
    rows = x.unflatten(2, window).unflatten(1, (size[0] // window[0], -1))                     # (B, L_h, L_w, h, w, C)
    return rows.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def shift_regions(size: tuple[int, int], window: int, shift: int, device: torch.device) -> Tensor:
    """Which tokens of a window were neighbours before the map was rolled by ``-shift``: those of one number.

    Args:
        size: H, W of the map, multiples of ``window``.
        window: its side.
        shift: rows and columns that the map was rolled by, below ``window``.
        device: of the result.

    Returns:
        (L, window * window) int64, of the windows of the rolled map.
    """
    rows, columns = (_bands(side, window, shift, device) for side in size)
    regions = 3 * rows[:, None] + columns                                                      # (H, W)
    return cut_windows(regions[None, :, :, None], (window, window))[0, :, :, 0]


def _bands(side: int, window: int, shift: int, device: torch.device) -> Tensor:
    place = torch.arange(side, device=device)
    return (place >= side - window).long() + (place >= side - shift).long()


def relative_places(window: int) -> Tensor:
    """Row of the table of ((2 w - 1)^2) relative places for each pair of tokens of a window, (w * w, w * w) int64."""
    place = torch.arange(window)
    apart = place[:, None] - place + window - 1                                                # (w, w)
    rows, columns = apart.repeat_interleave(window, 0).repeat_interleave(window, 1), apart.repeat(window, window)
    return rows * (2 * window - 1) + columns


def key_bias(real: Tensor, dtype: torch.dtype) -> Tensor:
    """What is added to logits so that only real keys (..., N) are seen, (..., 1, N)."""
    return torch.zeros_like(real, dtype=dtype).masked_fill(~real, HIDDEN)[..., None, :]
