"""The centre-based detection head: objects are peaks of a heatmap, boxes are regressed at the peaks.

"Center-based 3D Object Detection and Tracking" (Yin et al., CVPR 2021), section 4; the IoU branch is FlatFormer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.errors import ConfigError
from perception.models.conv_unit import ConvUnit, conv3x3
from perception.models.losses.normalizers import sum_over_ranks, world_size
from perception.registry import MODELS
from perception.structures import Annotations

from .box_overlap import aligned_iou_3d
from .center_coder import (
    BOX_BRANCHES,
    OTHER_BRANCHES,
    Detections,
    axis_of_codes,
    gather_cells,
    gather_codes,
    predicted_codes,
)
from .center_targets import CenterTargets, center_targets

NUSCENES_BRANCHES = {"reg": (2, 2), "height": (1, 2), "dim": (3, 2), "rot": (2, 2), "vel": (2, 2)}
HEATMAP_BIAS = -2.19                                 # a sigmoid of 0.1


class TaskHead(nn.ModuleDict):
    """One branch of convolutions per output of a task; the last convolution of each has a bias.

    Args:
        in_channels: width of the shared map.
        branches: (output channels, number of convolutions) by branch.
        channels: width of the convolutions in between.
    """

    def __init__(self, in_channels: int, branches: Mapping[str, Sequence[int]], channels: int = 64) -> None:
        super().__init__({name: _branch(in_channels, channels, *shape) for name, shape in branches.items()})
        for name, branch in self.items():
            for module in branch.modules():
                if isinstance(module, nn.Conv2d):
                    _init_conv(module, is_heatmap=name == "heatmap")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, C, H, W) -> (B, c, H, W) raw map by branch."""
        maps = dict.fromkeys(self, x)
        branches = cast("dict[str, nn.Sequential]", dict(self.items()))
        single = {name: cast(nn.Conv2d, branch[0]) for name, branch in branches.items() if len(branch) == 1}
        if single:                                   # as one convolution: a CPU takes as long for 1 channel as for 8
            weight = torch.cat([conv.weight for conv in single.values()])
            bias = torch.cat([cast(Tensor, conv.bias) for conv in single.values()])
            joined = functional.conv2d(x, weight, bias, padding=1)                       # (B, sum of c, H, W)
            maps.update(zip(single, joined.split([conv.out_channels for conv in single.values()], dim=1), strict=True))
        return {name: maps[name] if name in single else branch(x) for name, branch in branches.items()}


def _branch(in_channels: int, channels: int, out_channels: int, num_convs: int) -> nn.Sequential:
    widths = [in_channels] + [channels] * (num_convs - 1)
    units: list[nn.Module] = [
        ConvUnit(conv3x3(width, channels), eps=1e-5, momentum=0.1) for width in widths[:-1]
    ]
    return nn.Sequential(*units, nn.Conv2d(widths[-1], out_channels, 3, padding=1))


def _init_conv(conv: nn.Conv2d, *, is_heatmap: bool) -> None:
    """Kaiming, but for heatmaps: they keep the smaller default and begin with few peaks."""
    if not is_heatmap:
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.constant_(conv.bias, HEATMAP_BIAS if is_heatmap else 0.0)


@MODELS.register_module(role="head")
class CenterHead(nn.Module):
    """Heatmaps and box codes for groups of classes ("tasks") that share a first convolution.

    Args:
        in_channels: width of the neck's map.
        tasks: class names of each task; their concatenation is the model's class list.
        coder: config of a `CenterCoder`.
        nms: config of the suppression.
        common_heads: (channels, convolutions) of each branch besides the heatmap.
        shared_channels: width of the shared convolution.
        head_channels: width inside the branches.
        shared_eps: of the shared convolution's normalisation; branches always have 1e-5.
        shared_momentum: of its running statistics; branches always have 0.1.
        loss_heatmap: config of the heatmap's loss.
        loss_box: config of the code's loss.
        loss_iou: config of the IoU branch's loss; needed if, and only if, there is an "iou" branch.
        loss_axis: likewise for an "axis" branch, sine and cosine of twice the yaw. As in SECOND (Yan et al., Sensors
            2018) the axis of a box is then learnt apart from which of its ends is the front, and long before: while
            that is in doubt, "rot" alone is drawn to zero.
        raised_iou: compare heights for the IoU branch as `aligned_iou_3d` does when ``raised``, as the authors do.
        max_objects: objects of a task and sample that are learnt from.
        min_overlap: overlap that sets the radius of the Gaussians.
        min_radius: least radius of the Gaussians [cells].
        box_radius: boxes are learnt at the cells up to so many columns and rows from the centre's; the centre's alone
            with 0, as published. A short training needs the more examples.

    Raises:
        ConfigError: a class occurs twice, a branch is missing or has the wrong width, or an IoU or axis branch and its
            loss do not come together.
    """

    def __init__(
        self,
        in_channels: int,
        tasks: Sequence[Sequence[str]],
        *,
        coder: Mapping[str, Any],
        nms: Mapping[str, Any],
        common_heads: Mapping[str, Sequence[int]] | None = None,
        shared_channels: int = 64,
        head_channels: int = 64,
        shared_eps: float = 1e-3,
        shared_momentum: float = 0.01,
        loss_heatmap: Mapping[str, Any] | None = None,
        loss_box: Mapping[str, Any] | None = None,
        loss_iou: Mapping[str, Any] | None = None,
        loss_axis: Mapping[str, Any] | None = None,
        raised_iou: bool = False,
        max_objects: int = 500,
        min_overlap: float = 0.1,
        min_radius: int = 2,
        box_radius: int = 0,
    ) -> None:
        super().__init__()
        branches = dict(NUSCENES_BRANCHES if common_heads is None else common_heads)
        self.tasks = tuple(tuple(task) for task in tasks)
        self.classes = tuple(name for task in self.tasks for name in task)
        self._check(branches, {"iou": loss_iou is not None, "axis": loss_axis is not None})
        self.coder, self.nms = MODELS.build(coder), MODELS.build(nms)
        self.max_objects, self.box_radius = max_objects, box_radius
        self.min_overlap, self.min_radius = min_overlap, min_radius
        self.shared = ConvUnit(conv3x3(in_channels, shared_channels), eps=shared_eps, momentum=shared_momentum)
        self.task_heads = nn.ModuleList(
            TaskHead(shared_channels, {**branches, "heatmap": (len(task), 2)}, head_channels) for task in self.tasks
        )
        self.loss_heatmap = MODELS.build(loss_heatmap or {"type": "GaussianFocalLoss"})
        self.loss_box = MODELS.build(loss_box or {"type": "L1BoxLoss"})
        self.loss_iou = None if loss_iou is None else MODELS.build(loss_iou)
        self.loss_axis = None if loss_axis is None else MODELS.build(loss_axis)
        self.raised_iou = raised_iou

    def _check(self, branches: Mapping[str, Sequence[int]], has_loss: Mapping[str, bool]) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(f"the tasks of a CenterHead must name every class once, got {self.tasks}")
        for name, width in {**BOX_BRANCHES, **OTHER_BRANCHES}.items():
            if name in branches and branches[name][0] != width:
                raise ConfigError(f"branch {name!r} of a CenterHead has {width} channels, got {branches[name][0]}")
            if name not in branches and name in ("reg", "height", "dim", "rot"):
                raise ConfigError(f"a CenterHead needs the branch {name!r}, got {', '.join(branches)}")
        for name, is_given in has_loss.items():
            if (name in branches) != is_given:
                raise ConfigError(f'a CenterHead takes the branch "{name}" and loss_{name} together or neither')

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        """(B, C, H, W) -> raw maps (B, c, H, W) by branch, one dictionary a task."""
        shared = self.shared(x)
        return [head(shared) for head in self.task_heads]

    def targets(self, annotations: Sequence[Annotations], map_size: tuple[int, int]) -> list[CenterTargets]:
        """Targets of every task for maps of (H, W) cells.

        Raises:
            ConfigError: the annotations have other classes than the tasks, or name them in another order.
        """
        for sample in annotations:
            if tuple(sample.classes) != self.classes:
                raise ConfigError(
                    f"the tasks of the head name the classes {', '.join(self.classes)}; "
                    f"the data set has {', '.join(sample.classes)}"
                )
        columns = 9 if any(sample.boxes.has_velocity for sample in annotations) else 7
        return center_targets(
            [sample.boxes.with_columns(columns).tensor for sample in annotations],
            [sample.labels for sample in annotations],
            classes_per_task=[len(task) for task in self.tasks],
            map_size=map_size,
            coder=self.coder,
            max_objects=self.max_objects,
            min_overlap=self.min_overlap,
            min_radius=self.min_radius,
            box_radius=self.box_radius,
        )

    def loss(self, maps: Sequence[Mapping[str, Tensor]], targets: Sequence[CenterTargets]) -> dict[str, Tensor]:
        """Losses by name, in float32; with torch.distributed, normalised by the objects of all ranks."""
        with torch.autocast(maps[0]["heatmap"].device.type, enabled=False):
            counts = torch.stack([torch.stack([(t.heatmap == 1).sum(), t.mask.sum()]) for t in targets]).float()
            counts = sum_over_ranks(counts)                                              # (T, 2)
            losses: dict[str, Tensor] = {}
            for t, (task_maps, target) in enumerate(zip(maps, targets, strict=True)):
                peaks, objects = counts[t].clamp(min=1)[0] / world_size(), (counts[t, 1] + 1e-4) / world_size()
                task_losses = self._task_loss({k: v.float() for k, v in task_maps.items()}, target, peaks, objects)
                losses.update({f"task{t}.{name}": value for name, value in task_losses.items()})
        return losses

    def _task_loss(
        self, maps: Mapping[str, Tensor], target: CenterTargets, peaks: Tensor, objects: Tensor
    ) -> dict[str, Tensor]:
        codes = gather_codes(maps, target.index)                                         # (B, K, 8 or 10)
        columns = codes.shape[2]
        losses = {
            "loss_heatmap": self.loss_heatmap(maps["heatmap"], target.heatmap, peaks),
            "loss_box": self.loss_box(codes, target.codes[:, :, :columns], target.mask, objects),
        }
        if self.loss_iou is not None:
            predicted = gather_cells(maps["iou"], target.index)[:, :, 0]
            losses["loss_iou"] = self.loss_iou(predicted, self.iou_targets(maps, target), target.mask, objects)
        if self.loss_axis is not None:
            predicted = gather_cells(maps["axis"], target.index)                         # (B, K, 2)
            losses["loss_axis"] = self.loss_axis(predicted, axis_of_codes(target.codes), target.mask, objects)
        return losses

    @torch.no_grad()
    def iou_targets(self, maps: Mapping[str, Tensor], target: CenterTargets) -> Tensor:
        """(B, K) 3-D IoU of the box decoded at each object's cell with the object itself, 0 in empty slots."""
        W = maps["heatmap"].shape[3]
        cells = torch.stack([target.index % W, torch.div(target.index, W, rounding_mode="floor")], dim=2)
        predicted = self.coder.decode_codes(predicted_codes(maps, target.index)[:, :, :8], cells)  # (B, K, 7)
        truth = self.coder.decode_codes(target.codes[:, :, :8], cells)
        iou = predicted.new_zeros(target.mask.shape)
        iou[target.mask] = aligned_iou_3d(predicted[target.mask], truth[target.mask], raised=self.raised_iou)
        return iou

    @torch.no_grad()
    def decode(self, maps: Sequence[Mapping[str, Tensor]]) -> list[Detections]:
        """Boxes of each sample, task after task, labels counted over all tasks; in float32."""
        with torch.autocast(maps[0]["heatmap"].device.type, enabled=False):
            tasks = [self._decode_task(t, {k: v.float() for k, v in task.items()}) for t, task in enumerate(maps)]
        return [
            Detections(
                torch.cat([part.boxes for part in sample]),
                torch.cat([part.scores for part in sample]),
                torch.cat([part.labels for part in sample]),
            )
            for sample in zip(*tasks, strict=True)
        ]

    def _decode_task(self, task: int, maps: dict[str, Tensor]) -> list[Detections]:
        first = sum(len(names) for names in self.tasks[:task])
        kept = [self.nms(detections, task) for detections in self.coder.decode(maps)]
        return [Detections(part.boxes, part.scores, part.labels + first) for part in kept]
