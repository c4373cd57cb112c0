"""Pictures window by window, and in several guises, when they are larger than what a network has seen or can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Network = Callable[[Tensor], Tensor]                 # pictures (B, 3, H, W) -> maps (B, K, h, w)


@dataclass(frozen=True)
class SlidingWindow:
    """Windows at multiples of a stride, the last ones shifted back into the picture.

    Args:
        size: height and width of a window [pixels]; where a picture is smaller, the window is as small.
        stride: rows and columns from one window to the next, at most ``size``.
        taper: where windows overlap, each counts by its distance from its own border, so that one fades into the next
            without a seam. False counts them alike, as published results do.

    Raises:
        ValueError: a size or stride is below 1, or a stride leaves gaps between windows.
    """

    size: Sequence[int]
    stride: Sequence[int]
    taper: bool = False

    def __post_init__(self) -> None:
        if len(self.size) != 2 or len(self.stride) != 2 or min(*self.size, *self.stride) < 1:
            raise ValueError(f"size and stride must be two numbers >= 1 each, got {self.size} and {self.stride}")
        if any(step > length for step, length in zip(self.stride, self.size, strict=True)):
            raise ValueError(f"stride {tuple(self.stride)} leaves gaps between windows of {tuple(self.size)}")

    def places(self, height: int, width: int) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of each window, from the top left."""
        for rows in _spans(height, self.size[0], self.stride[0]):
            for columns in _spans(width, self.size[1], self.stride[1]):
                yield rows, columns

    def logits(self, network: Network, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, K, H, W): as `apply`, for a network that gives maps of any stride."""
        return self.apply(lambda part: resize_maps(network(part), part.shape[2:]), images)

    def apply(self, network: Network, images: Tensor, scale: int = 1) -> Tensor:
        """The weighted mean over the windows that a pixel lies in.

        Args:
            network: pictures (B, 3, h, w) -> maps (B, K, scale * h, scale * w).
            images: (B, 3, H, W).
            scale: factor by which the network enlarges.

        Returns:
            (B, K, scale * H, scale * W).
        """
        H, W = images.shape[2] * scale, images.shape[3] * scale
        total: Tensor | None = None
        count = images.new_zeros(H, W)
        for place in self.places(*images.shape[2:]):
            found = network(images[:, :, place[0], place[1]])                            # (B, K, window * scale)
            weight = self._weights((found.shape[2], found.shape[3]), found)
            if total is None:
                total = found.new_zeros(*found.shape[:2], H, W)
            rows, columns = (scaled_span(span, scale) for span in place)
            total[:, :, rows, columns] += found * weight
            count[rows, columns] += weight
        assert total is not None
        return total / count

    def _weights(self, size: tuple[int, int], like: Tensor) -> Tensor:
        if not self.taper:
            return like.new_ones(size)
        rows, columns = (_ramp(length, like) for length in size)
        return rows[:, None] * columns


@dataclass(frozen=True)
class MarginTiles:
    """Tiles side by side, around each of which the network sees a margin that is thrown away.

    With a margin of at least what an output pixel can depend on, the whole is what it would be at once.

    Args:
        size: height and width of a tile [pixels]; those at the right and below may be smaller.
        margin: rows and columns that are added at each side, as far as the picture goes.

    Raises:
        ValueError: a size is below 1, or the margin is negative.
    """

    size: Sequence[int]
    margin: int

    def __post_init__(self) -> None:
        if len(self.size) != 2 or min(self.size) < 1 or self.margin < 0:
            raise ValueError(f"size must be two numbers >= 1, margin >= 0, got {self.size} and {self.margin}")

    def apply(self, network: Network, images: Tensor, scale: int = 1) -> Tensor:
        """The maps of the tiles put together; arguments and result as for `SlidingWindow.apply`."""
        H, W = images.shape[2:]
        whole: Tensor | None = None
        for rows in _tiles(H, self.size[0]):
            for columns in _tiles(W, self.size[1]):
                seen = self._with_margin(rows, H), self._with_margin(columns, W)
                found = network(images[:, :, seen[0], seen[1]])                          # (B, K, tile and margin)
                if whole is None:
                    whole = found.new_empty(*found.shape[:2], H * scale, W * scale)
                top, left = (rows.start - seen[0].start) * scale, (columns.start - seen[1].start) * scale
                part = whole[:, :, scaled_span(rows, scale), scaled_span(columns, scale)]
                part.copy_(found[:, :, top : top + part.shape[2], left : left + part.shape[3]])
        assert whole is not None
        return whole

    def _with_margin(self, tile: slice, length: int) -> slice:
        return slice(max(tile.start - self.margin, 0), min(tile.stop + self.margin, length))


def scaled_span(span: slice, scale: int) -> slice:
    """The same rows or columns of a picture that is ``scale`` times as large."""
    return slice(span.start * scale, span.stop * scale)


def resize_maps(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """(B, K, h, w) -> (B, K, *size), bilinear; the given one if it has that size.

    Args:
        maps: (B, K, h, w).
        size: height and width.
        align_corners: the centres of the corner pixels, not their outer corners, fall on each other.
    """
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=align_corners)


def averaged_scores(
    logits_of: Network, images: Tensor, *, scales: Sequence[float] = (1.0,), flip: bool = True
) -> Tensor:
    """Mean of the class scores of a picture in several sizes, each as it is and mirrored (test-time augmentation).

    Args:
        logits_of: pictures -> logits of any stride.
        images: (B, 3, H, W).
        scales: factors of both sides.
        flip: add the mirrored picture of each size.

    Returns:
        (B, K, H, W), softmax scores.

    Raises:
        ValueError: there is no scale, or one is not positive.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales must be positive factors, got {tuple(scales)}")
    H, W = images.shape[2:]
    scores = []
    for scale in scales:
        scaled = resize_maps(images, (max(1, round(H * scale)), max(1, round(W * scale))))
        scores.append(resize_maps(logits_of(scaled), (H, W)).softmax(dim=1))
        if flip:
            scores.append(resize_maps(logits_of(scaled.flip(3)), (H, W)).softmax(dim=1).flip(3))
    return torch.stack(scores).mean(dim=0)


def _spans(length: int, size: int, stride: int) -> Iterator[slice]:
    count = max(-(-(length - size) // stride), 0) + 1
    for number in range(count):
        end = min(number * stride + size, length)
        yield slice(max(end - size, 0), end)


def _tiles(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _ramp(length: int, like: Tensor) -> Tensor:
    """(length,) from near 0 at both ends to 1 in the middle."""
    place = torch.arange(length, device=like.device, dtype=like.dtype) + 0.5
    return torch.minimum(place, length - place) / (length / 2)
