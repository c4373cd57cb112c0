"""Map elements from every cell of a BEV map: a heatmap of where they lie, and their points seen from there.

A decoder whose queries begin at such proposals has something to refine from its first step on, as in the two stages of
"Deformable DETR" (Zhu et al., ICLR 2021); heatmaps as in "CenterPoint" (Yin et al., CVPR 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..conv_unit import ConvUnit, conv3x3
from ..losses.gaussian_focal import GaussianFocalLoss
from ..losses.normalizers import sum_over_ranks, world_size
from .gaussian_targets import draw_gaussians


@dataclass(frozen=True)
class DenseElements:
    """What each cell says.

    Args:
        logits: (B, K, H, W), whether an element of a class lies there.
        points: (B, H, W, P, 2) its points, x then y, in [0, 1] across the map if they lie within it.
    """

    logits: Tensor
    points: Tensor


@dataclass(frozen=True)
class Proposals:
    """The best cells of each map, best first.

    Args:
        cells: (B, Q) int64, row * W + column.
        logits: (B, Q, K) of all classes there.
        points: (B, Q, P, 2) as in `DenseElements`.
    """

    cells: Tensor
    logits: Tensor
    points: Tensor


class ElementProposals(nn.Module):
    """A convolution unit and a 1x1 convolution.

    An element lies where the middle of its points' bounds does.

    Args:
        in_channels: width of the BEV map.
        num_classes: classes K.
        num_points: points P of an element.
        channels: width in between.
        radius: of the bumps of the heatmap, and of the cells around an element that learn its points.
        point_weight: weight of the absolute difference of coordinates in cells; the heatmap's is 1.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        num_points: int,
        *,
        channels: int = 64,
        radius: int = 1,
        point_weight: float = 0.5,
    ) -> None:
        super().__init__()
        self.num_classes, self.num_points = num_classes, num_points
        self.radius, self.point_weight = radius, point_weight
        self.unit = ConvUnit(conv3x3(in_channels, channels), momentum=0.1)
        self.output = nn.Conv2d(channels, num_classes + 2 * num_points, 1)
        bias = torch.zeros(num_classes + 2 * num_points)
        bias[:num_classes] = -math.log(99)                                   # every class begins with a score of 0.01
        self.output.bias = nn.Parameter(bias)
        self.focal = GaussianFocalLoss()

    def forward(self, bev: Tensor) -> DenseElements:
        """(B, in_channels, H, W) -> what each cell says."""
        B, _, H, W = bev.shape
        logits, offsets = self.output(self.unit(bev)).float().split([self.num_classes, 2 * self.num_points], dim=1)
        offsets = offsets.permute(0, 2, 3, 1).reshape(B, H, W, self.num_points, 2)
        points = cell_centers(H, W, bev.device)[:, :, None] + offsets
        return DenseElements(logits, points / offsets.new_tensor([W, H]))

    def best(self, found: DenseElements, count: int) -> Proposals:
        """The ``count`` best pairs of cell and class that no cell beside them surpasses."""
        H, W = found.logits.shape[2:]
        peaks = found.logits == F.max_pool2d(found.logits, 3, stride=1, padding=1)
        scores = found.logits.masked_fill(~peaks, -math.inf).flatten(1)                      # (B, K * H * W)
        cells = scores.topk(min(count, scores.shape[1]), dim=1).indices % (H * W)
        rows = torch.arange(len(cells), device=cells.device)[:, None]
        return Proposals(
            cells, found.logits.flatten(2).transpose(1, 2)[rows, cells], found.points.flatten(1, 2)[rows, cells]
        )

    def loss(self, found: DenseElements, labels: Sequence[Tensor], points: Sequence[Tensor]) -> dict[str, Tensor]:
        """"heat" and "points" against the true elements.

        Args:
            found: of B maps.
            labels: B tensors (G_b,) int64.
            points: B tensors (G_b, P, 2) in [0, 1].
        """
        B, K, H, W = found.logits.shape
        label, true = torch.cat(list(labels)), torch.cat(list(points)).float()
        image = torch.repeat_interleave(
            torch.arange(B, device=label.device), torch.tensor([len(some) for some in labels], device=label.device)
        )
        size = true.new_tensor([W, H])
        center = (true.amin(dim=1) + true.amax(dim=1)) / 2 * size                            # (G, 2) cells
        cell = torch.minimum(center.long().clamp(min=0), size.long() - 1)
        reach = torch.full_like(label, self.radius)
        heatmap = draw_gaussians((B * K, H, W), image * K + label, cell, reach).view(B, K, H, W)
        count = (sum_over_ranks(true.new_tensor(float(len(true)))) / world_size()).clamp(min=1.0)
        steps = torch.arange(-self.radius, self.radius + 1, device=cell.device)
        around = torch.cartesian_prod(steps, steps).view(-1, 2)                              # (N, 2)
        place = cell[:, None] + around                                                       # (G, N, 2)
        inside = ((place >= 0) & (place < size.long())).all(dim=2)
        element, slot = inside.nonzero(as_tuple=True)
        column, row = place[element, slot].unbind(dim=1)
        difference = (found.points[image[element], row, column] - true[element]).abs() * size
        per_point = difference.sum() / (2 * self.num_points * len(around) * count)
        return {"heat": self.focal(found.logits, heatmap, count), "points": self.point_weight * per_point}


def cell_centers(rows: int, columns: int, device: torch.device | str = "cpu") -> Tensor:
    """(rows, columns, 2) column and row of the middle of each cell."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([column, row], dim=2).to(device) + 0.5
