"""Padding of pictures at the right and below, for networks that take multiples of some length."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def reflected(images: Tensor, divisor: int) -> Tensor:
    """(B, C, H, W) -> sides that are the next multiples of ``divisor``; the edge pixels are the mirrors' axes.

    Pictures that fit stay as they are. Those smaller than the padding are reflected to and fro.
    """
    return _padded(images, [-(-length // divisor) * divisor for length in images.shape[2:]], _about_the_edge)


def mirrored(images: Tensor, divisor: int) -> Tensor:
    """(B, C, H, W) -> sides that are the next *greater* multiples; edge pixels come twice.

    So do some stand-alone scripts of super-resolution; near the border they give other results than `reflected`.
    """
    return _padded(images, [(length // divisor + 1) * divisor for length in images.shape[2:]], _behind_the_edge)


def _padded(images: Tensor, size: list[int], source: Callable[[Tensor, int], Tensor]) -> Tensor:
    for dim, length in zip((2, 3), size, strict=True):
        if length != images.shape[dim]:
            place = torch.arange(length, device=images.device)
            images = images.index_select(dim, source(place, images.shape[dim]))
    return images


def _about_the_edge(place: Tensor, length: int) -> Tensor:
    period = max(2 * (length - 1), 1)
    place = place % period
    return torch.minimum(place, period - place)


def _behind_the_edge(place: Tensor, length: int) -> Tensor:
    place = place % (2 * length)
    return torch.minimum(place, 2 * length - 1 - place)


PADDINGS: dict[str, Callable[[Tensor, int], Tensor]] = {"reflect": reflected, "mirror": mirrored}
