"""What a centre head should say: heatmaps and box codes, made for all tasks and samples at once.

"Center-based 3D Object Detection and Tracking" (Yin et al., CVPR 2021), section 3. Codes at the cells around a centre
too, for short trainings: "Training-Time-Friendly Network for Real-Time Object Detection" (Liu et al., AAAI 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .center_coder import CenterCoder
from .gaussian_targets import draw_gaussians, gaussian_radius


@dataclass(frozen=True)
class CenterTargets:
    """Targets of one task. Slot k is the k-th object of a sample in the order of classes; with ``box_radius`` r, an
    object has (2r + 1)^2 slots one after the other, one for each cell around its centre.

    Args:
        heatmap: (B, classes, H, W) float32 in [0, 1].
        codes: (B, K, 10) float32 as `CenterCoder.encode`, 0 in empty slots; velocities NaN where unknown.
        index: (B, K) int64 flat cell ``row * W + column``.
        mask: (B, K) bool, False in empty slots.
    """

    heatmap: Tensor
    codes: Tensor
    index: Tensor
    mask: Tensor


@dataclass(frozen=True)
class _Objects:
    """The objects of a batch, sorted by sample and class, with their slots."""

    boxes: Tensor       # (L, 7 or 9)
    sample: Tensor      # (L,)
    label: Tensor       # (L,)
    task: Tensor        # (L,)
    slot: Tensor        # (L,) rank within sample and task


def center_targets(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    classes_per_task: Sequence[int],
    map_size: tuple[int, int],
    coder: CenterCoder,
    max_objects: int = 500,
    min_overlap: float = 0.1,
    min_radius: int = 2,
    box_radius: int = 0,
) -> list[CenterTargets]:
    """Targets of every task.

    Args:
        boxes: B tensors (K_i, 7 or 9) as `Boxes3D`; all of one width.
        labels: B tensors (K_i,) int64 index into the classes of all tasks in their order; -1 is ignored.
        classes_per_task: number of classes of each task.
        map_size: rows H and columns W of the head's maps.
        coder: turns boxes into codes.
        max_objects: objects per task and sample; later ones are cut.
        min_overlap: overlap that sets the radius of the Gaussians.
        min_radius: least radius [cells].
        box_radius: codes are learnt at the cells up to so many columns and rows from the centre's; the centre's alone
            with 0, as published.

    Returns:
        One `CenterTargets` a task. Objects without area, with a number that is not finite or with their centre outside
        the map leave their slots empty, and so do cells outside the map or that hold another centre.
    """
    H, W = map_size
    objects = _sort_objects(boxes, labels, classes_per_task)
    objects = _select(objects, objects.slot < max_objects)
    centers = coder.cells(objects.boxes)                                                 # (L, 2)
    sizes = coder.code_sizes(objects.boxes)[:, :2] / centers.new_tensor(coder.cell_size)     # (L, 2) in cells
    cells = centers.nan_to_num(-1e9, -1e9, -1e9).clamp(-1e9, 1e9).trunc().long()
    usable = objects.boxes[:, :7].isfinite().all(dim=1) & (objects.boxes[:, 3:6] > 0).all(dim=1)
    usable &= ((cells >= 0) & (cells < cells.new_tensor([W, H]))).all(dim=1)
    objects, cells, sizes = _select(objects, usable), cells[usable], sizes[usable]

    B, T, classes = len(boxes), len(classes_per_task), sum(classes_per_task)
    radius = gaussian_radius(sizes, min_overlap).long().clamp(min=min_radius)
    heatmap = draw_gaussians((B * classes, H, W), objects.sample * classes + objects.label, cells, radius)
    if box_radius:
        objects, cells = _spread(objects, cells, box_radius, map_size)
    slots = max_objects * (2 * box_radius + 1) ** 2
    codes = centers.new_zeros(T, B, slots, 10)
    index = cells.new_zeros(T, B, slots)
    mask = torch.zeros_like(index, dtype=torch.bool)
    place = (objects.task, objects.sample, objects.slot)
    codes[place] = coder.encode(objects.boxes, cells)
    index[place] = cells[:, 1] * W + cells[:, 0]
    mask[place] = True
    heatmaps = heatmap.view(B, classes, H, W).split(list(classes_per_task), dim=1)
    return [CenterTargets(heatmaps[t], codes[t], index[t], mask[t]) for t in range(T)]


def _sort_objects(boxes: Sequence[Tensor], labels: Sequence[Tensor], classes_per_task: Sequence[int]) -> _Objects:
    """Objects with a class, by sample, class and given order, ranked within sample and task."""
    sample = torch.cat([label.new_full((len(label),), i) for i, label in enumerate(labels)])
    rows, label = torch.cat(list(boxes)).float(), torch.cat(list(labels))
    known = label >= 0
    rows, label, sample = rows[known], label[known], sample[known]
    task_of_class = torch.repeat_interleave(
        torch.arange(len(classes_per_task), device=label.device), label.new_tensor(list(classes_per_task))
    )
    order = torch.argsort(sample * len(task_of_class) + label, stable=True)
    rows, label, sample = rows[order], label[order], sample[order]
    task = task_of_class[label]
    group = sample * len(classes_per_task) + task                                        # ascending
    slot = torch.arange(len(group), device=group.device) - torch.searchsorted(group, group)
    return _Objects(rows, sample, label, task, slot)


def _spread(objects: _Objects, cells: Tensor, radius: int, map_size: tuple[int, int]) -> tuple[_Objects, Tensor]:
    """Each object once for every cell around its own: objects with new slots and their cells (L', 2)."""
    H, W = map_size
    steps = torch.arange(-radius, radius + 1, device=cells.device)
    offsets = torch.cartesian_prod(steps, steps)                                         # (n, 2)
    L, n = len(cells), len(offsets)
    owner = torch.arange(L, device=cells.device).repeat_interleave(n)                    # (L n,)
    spread = _select(objects, owner)
    spread = replace(spread, slot=spread.slot * n + torch.arange(n, device=cells.device).repeat(L))
    around = cells[owner] + offsets.repeat(L, 1)                                         # (L n, 2)
    plane = objects.sample * (objects.task.max() + 1) + objects.task if L else objects.sample
    place, step = (plane * H + cells[:, 1]) * W + cells[:, 0], offsets[:, 1].repeat(L) * W + offsets[:, 0].repeat(L)
    usable = ((around >= 0) & (around < cells.new_tensor([W, H]))).all(dim=1)
    usable &= (around == cells[owner]).all(dim=1) | ~torch.isin(place[owner] + step, place)
    return _select(spread, usable), around[usable]


def _select(objects: _Objects, keep: Tensor) -> _Objects:
    return _Objects(*(getattr(objects, field.name)[keep] for field in fields(objects)))
