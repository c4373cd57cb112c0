"""Which cells the true lines run through: learned beside a map head, so that the encoder is told of every cell.

"MapTRv2: An End-to-End Framework for Online Vectorized HD Map Construction" (Liao et al., IJCV 2024), section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.registry import MODELS
from perception.structures import Frame, LaneGraph, Polylines, VectorMap
from perception.structures.vector_map import MAP_CLASSES

from ..conv_unit import ConvUnit, conv3x3
from .true_map import true_map

SHIFT = 4                                            # binary digits behind the point that OpenCV is given
AREA_NAMES = ("ped_crossing", "boundary")            # of `AREA_CLASSES`, as vector maps call them


@MODELS.register_module(role="auxiliary_head")
class LineSegmentation(nn.Module):
    """A transposed convolution to finer cells, if any, and a logit for each class.

    Args:
        in_channels: width of the BEV map.
        region: x min, y min, x max, y max [m] that the map covers.
        classes: class names. Of lane graphs, boundaries of lanes count as dividers, outlines of areas by their class.
        channels: width in between.
        upsample: how many cells a cell becomes along each side.
        thickness: of a line [cells].
        positive_weight: of the cells on a line in the cross entropy.
        loss_weight: factor of the loss.
    """

    def __init__(
        self,
        in_channels: int,
        region: Sequence[float],
        *,
        classes: Sequence[str] = MAP_CLASSES,
        channels: int = 32,
        upsample: int = 2,
        thickness: int = 1,
        positive_weight: float = 4.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.region, self.classes = tuple(region), tuple(classes)
        self.thickness, self.positive_weight, self.loss_weight = thickness, positive_weight, loss_weight
        widen: nn.Conv2d | nn.ConvTranspose2d = conv3x3(in_channels, channels)
        if upsample > 1:
            widen = nn.ConvTranspose2d(in_channels, channels, upsample, stride=upsample, bias=False)
        self.unit = ConvUnit(widen, momentum=0.1)
        self.output = nn.Conv2d(channels, len(self.classes), 3, padding=1)

    def forward(self, bev: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, K, H * upsample, W * upsample) logits."""
        return self.output(self.unit(bev)).float()

    def loss(self, bev: Tensor, frames: Sequence[Frame]) -> dict[str, Tensor]:
        """"loss_segmentation": the mean cross entropy over cells and classes.

        Raises:
            ConfigError: a frame has neither a lane graph nor a vector map of these classes.
        """
        logits = self.forward(bev)
        size = (logits.shape[2], logits.shape[3])
        masks = [line_masks(self.truth(frame), size, self.region, self.thickness) for frame in frames]
        wanted = torch.stack(masks).to(logits)
        weight = logits.new_tensor(self.positive_weight)
        entropy = F.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight)
        return {"loss_segmentation": self.loss_weight * entropy}

    def truth(self, frame: Frame) -> VectorMap:
        """The lines of a frame."""
        if frame.vector_map is None and frame.lane_graph is not None:
            return lines_of_lanes(frame.lane_graph, self.classes)
        return true_map(frame, self.classes)


def line_masks(truth: VectorMap, size: tuple[int, int], region: Sequence[float], thickness: int = 1) -> Tensor:
    """(K, rows, columns) float32, 1 in cells that a line of the class runs through; rows along y, ascending."""
    rows, columns = size
    low, high = np.asarray(region[:2]), np.asarray(region[2:])
    scale = np.array([columns, rows]) / (high - low)
    planes = np.zeros((len(truth.classes), rows, columns), dtype=np.uint8)
    for line, label in zip(truth.lines, truth.labels.tolist(), strict=True):
        cells = (line[:, :2].double().cpu().numpy() - low) * scale - 0.5
        fixed = np.round(cells * 2**SHIFT).astype(np.int32)
        cv2.polylines(planes[label], [fixed], isClosed=False, color=(1,), thickness=thickness, shift=SHIFT)
    return torch.from_numpy(planes).float()


def lines_of_lanes(graph: LaneGraph, classes: Sequence[str]) -> VectorMap:
    """Boundaries of lanes as dividers, and outlines of areas as crossings and boundaries; others are left out."""
    names = ["divider"] * (2 * len(graph)) + [AREA_NAMES[label] for label in graph.area_labels.tolist()]
    lines = [*graph.lefts, *graph.rights, *graph.areas]
    kept = [(line, tuple(classes).index(name)) for line, name in zip(lines, names, strict=True) if name in classes]
    return VectorMap(
        Polylines.from_lines([line for line, _ in kept], dim=3),
        torch.tensor([label for _, label in kept], dtype=torch.int64),
        tuple(classes),
    )
