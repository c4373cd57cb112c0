"""From metres to the canvas of the network and to tokens, and back.

VectorMapNet (Liu et al., ICML 2023), sections 3.3 and 3.4. A polyline of n vertices is the sequence x1, y1, ..., xn, yn
of whole numbers from 1 to the size of the canvas, followed by 0, which says "stop".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STOP = 0
PUBLISHED_MARGIN = 2.0


@dataclass(frozen=True)
class Canvas:
    """The region of the map in the ego frame, and the grid of whole numbers that stands for it.

    Args:
        region: least x, least y, greatest x, greatest y [m].
        size: cells along x and along y; the published canvas has 200 x 100.
        margin: metres by which the divisor exceeds the region's sides. The published targets have 2 (they fill 60/62 of
            the canvas along x and 30/32 along y); 0 uses all of it.
        bin_offset: where in its bin a decoded vertex lies, in [0, 1): 0 at the lower edge as published; 0.5 in the
            middle, which halves the greatest error.

    Raises:
        ValueError: the region is empty, a side has fewer than two cells, or the margin or the offset is out of range.
    """

    region: tuple[float, float, float, float] = (-30.0, -15.0, 30.0, 15.0)
    size: tuple[int, int] = (200, 100)
    margin: float = PUBLISHED_MARGIN
    bin_offset: float = 0.0

    def __post_init__(self) -> None:
        if len(self.region) != 4 or not (self.region[0] < self.region[2] and self.region[1] < self.region[3]):
            raise ValueError(f"region must be least x, least y, greatest x, greatest y, got {self.region}")
        if len(self.size) != 2 or min(self.size) < 2:
            raise ValueError(f"size must be two numbers of cells >= 2, got {self.size}")
        if self.margin < 0:
            raise ValueError(f"margin must be >= 0 m, got {self.margin}")
        if not 0 <= self.bin_offset < 1:
            raise ValueError(f"bin_offset must lie in [0, 1), got {self.bin_offset}")

    @property
    def vocabulary(self) -> int:
        """Number of tokens, the stop included."""
        return max(self.size) + 1

    @property
    def sides(self) -> tuple[float, float]:
        """Length of the region along x and y [m]."""
        return self.region[2] - self.region[0], self.region[3] - self.region[1]

    def normalise(self, vertices: Tensor) -> Tensor:
        """(..., 2) ego frame [m] -> (..., 2) float64 in [0, 1]; what lies outside comes to the edge."""
        xy = vertices.double()
        share = (xy - xy.new_tensor(self.region[:2])) / (xy.new_tensor(self.sides) + self.margin)
        return share.clamp(0.0, 1.0)

    def denormalise(self, share: Tensor) -> Tensor:
        """(..., 2) in [0, 1] -> (..., 2) ego frame [m], of the same float type."""
        return share * (share.new_tensor(self.sides) + self.margin) + share.new_tensor(self.region[:2])

    def shrunken(self, vertices: Tensor) -> Tensor:
        """(..., 2) ego frame [m] -> the frame in which the published figures were measured, truth and predictions alike.

        The release undoes its own normalisation without the margin, so there all lies nearer to the region's corner.
        """
        low, sides = vertices.new_tensor(self.region[:2]), vertices.new_tensor(self.sides)
        return (vertices - low) * (sides / (sides + self.margin)) + low

    def tokens_of(self, share: Tensor) -> Tensor:
        """(V, 2) vertices in [0, 1] -> (2 V + 1,) int64 tokens, the stop at the end."""
        cells = (share * (share.new_tensor(self.size) - 1)).long() + 1                    # (V, 2), towards zero
        return torch.cat([cells.flatten(), cells.new_full((1,), STOP)])

    def vertices_of(self, tokens: Tensor) -> Tensor:
        """(T,) tokens of one line -> (V, 2) float32 vertices in [0, 1]; what follows a stop, or has no y, is left out."""
        stops = (tokens == STOP).nonzero()
        count = len(tokens) if len(stops) == 0 else int(stops[0])
        cells = tokens[: count // 2 * 2].view(-1, 2).float()
        return ((cells - 1 + self.bin_offset) / (cells.new_tensor(self.size) - 1)).clamp(max=1.0)

    def allowed(self, device: torch.device | str = "cpu") -> Tensor:
        """(2, vocabulary) bool, the tokens that an x (row 0) and a y (row 1) may be; a line can stop only at an x."""
        token = torch.arange(self.vocabulary, device=device)
        return torch.stack([token <= self.size[0], (token >= 1) & (token <= self.size[1])])


def pad_tokens(lines: list[Tensor], fill: float = STOP) -> Tensor:
    """L tensors (T_i,) -> (L, T), filled behind the shorter ones; (0, 1) if there is none."""
    if not lines:
        return torch.full((0, 1), fill)
    return torch.nn.utils.rnn.pad_sequence(lines, batch_first=True, padding_value=fill)
