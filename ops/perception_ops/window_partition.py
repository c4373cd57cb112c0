"""window_partition: four serpentine orders of BEV tokens, and their cut into groups of equal size.

FlatFormer (Liu et al., CVPR 2023), section 3: tokens are sorted along x and along y, each with and without a shift by
half a window, and every run of ``group_size`` sorted tokens attends among itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .checks import check_count, check_positive, check_range, check_tensor, check_values
from .dispatch import NATIVE, attach_native, is_portable


class WindowPartition(NamedTuple):
    """Indices that cut N tokens into groups; P is the number of slots, a multiple of the group size.

    ``tokens[orders[i]][flat2win]`` fills the slots, ``slots[win2flat]`` drops the padding again, and the result
    belongs to the rows ``orders[i]``.

    Attributes:
        orders: (4, N) int64, permutations of the rows: x, x_shift, y, y_shift.
        flat2win: (P,) int64, the sorted token in each slot. A sample's short last group is completed by the tokens
            at the same places of the group before; a sample with less than one group repeats its first token.
        win2flat: (N,) int64, the slot of each sorted token.
        valid: (P,) bool, False only in the padding of a sample with less than one group: no key may come from there.
    """

    orders: Tensor
    flat2win: Tensor
    win2flat: Tensor
    valid: Tensor


def window_partition(
    coords: Tensor, batch_size: int, grid: Sequence[int], window: Sequence[int], group_size: int
) -> WindowPartition:
    """Sort tokens window by window in four ways and cut each order into groups.

    Args:
        coords: (N, 4) int32, (batch, z, y, x), rows ordered by batch; N may be 0 and samples may be empty.
        batch_size: number of samples B.
        grid: cells (nx, ny).
        window: cells of a window (wx, wy).
        group_size: tokens of a group.

    Raises:
        ValueError: wrong shape or dtype, a size below 1, a cell outside the grid, rows not ordered by batch, or a grid,
            window or group so large that sort keys or slots could not be numbered.
    """
    check_tensor("coords", coords, ("N", 4), (torch.int32,))
    check_values("coords", coords)
    if len(grid) != 2 or len(window) != 2:
        raise ValueError(f"grid and window must be two sizes (x, y), got {tuple(grid)} and {tuple(window)}")
    sizes = {"batch_size": batch_size, "nx": grid[0], "ny": grid[1], "wx": window[0], "wy": window[1]}
    check_positive(**sizes, group_size=group_size)
    for name, size in (sizes | {"group_size": group_size}).items():
        check_count(name, size)
    _check_keys(batch_size, Axis(grid[0], window[0]), Axis(grid[1], window[1]))
    cut = window_partition_portable if is_portable() else torch.ops.perception.window_partition
    return WindowPartition(*cut(coords, batch_size, list(grid), list(window), group_size))


def window_partition_reference(
    coords: Tensor, batch_size: int, grid: Sequence[int], window: Sequence[int], group_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same in tensor algebra; the four tensors of a `WindowPartition`."""
    counts = sample_counts(coords, batch_size, grid)                                       # (B,)
    return _orders_of(coords, grid, window), *_group_slots(counts, group_size)


def window_partition_portable(
    coords: Tensor, batch_size: int, grid: Sequence[int], window: Sequence[int], group_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The same for one sample, whose number of tokens only a run of the graph will tell."""
    if batch_size != 1:
        raise ValueError(f"batch_size of a portable graph must be 1, got {batch_size}")
    num_tokens = coords.shape[0]
    ranks = torch.arange(num_tokens, device=coords.device)
    groups = (num_tokens + group_size - 1) // group_size       # of positive numbers: ONNX rounds quotients to zero
    place = torch.arange(groups * group_size, device=coords.device)                        # (P,)
    count = torch.ones_like(ranks).sum()                                                   # ()
    is_token, is_whole = place < count, count >= group_size
    padding = torch.where(is_whole, place - group_size, 0)
    return _orders_of(coords, grid, window), torch.where(is_token, place, padding), ranks, is_token | is_whole


def _orders_of(coords: Tensor, grid: Sequence[int], window: Sequence[int]) -> Tensor:
    """(4, N) int64, the orders of a `WindowPartition`."""
    x_axis, y_axis = Axis(grid[0], window[0]), Axis(grid[1], window[1])
    batch, _, y, x = coords.long().unbind(1)
    shifted_x, shifted_y = x + x_axis.window // 2, y + y_axis.window // 2
    keys = [
        _serpentine_key(x, x_axis, y, y_axis, batch),
        _serpentine_key(shifted_x, x_axis, shifted_y, y_axis, batch),
        _serpentine_key(y, y_axis, x, x_axis, batch),
        _serpentine_key(shifted_y, y_axis, shifted_x, x_axis, batch),
    ]
    return torch.stack(keys).argsort(dim=1, stable=True)


def sample_counts(coords: Tensor, batch_size: int, grid: Sequence[int]) -> Tensor:
    """Rows of each sample, (B,) int64, after a look at the values."""
    batch = coords[:, 0]
    check_range("coords batch", batch, batch_size)
    check_range("coords x", coords[:, 3], grid[0])
    check_range("coords y", coords[:, 2], grid[1])
    if bool((batch[1:] < batch[:-1]).any()):
        raise ValueError("coords must be ordered by batch: the rows of a sample stand together, samples ascend")
    return torch.bincount(batch, minlength=batch_size)


class Axis(NamedTuple):
    """Cells of the grid and of a window along one direction."""

    cells: int
    window: int

    @property
    def windows(self) -> int:
        """Windows that a shift by half a window can touch at most."""
        return -(-self.cells // self.window) + 1


def _check_keys(batch_size: int, x: Axis, y: Axis) -> None:
    """Refuse sizes whose sort keys would not fit int64."""
    if batch_size * 8 * x.windows * x.window * y.windows * y.window >= 2**63:
        raise ValueError(
            f"grid and window must give sort keys below 2**63, got ({x.cells}, {y.cells}) and ({x.window}, {y.window}) "
            f"for {batch_size} samples"
        )


def _serpentine_key(minor: Tensor, minor_axis: Axis, major: Tensor, major_axis: Axis, batch: Tensor) -> Tensor:
    """(N,) int64 keys: along minor first, then major; unique within a sample, samples apart on any grid."""
    block = 4 * minor_axis.window * major_axis.window
    i, u = minor // minor_axis.window, minor % minor_axis.window
    j, v = major // major_axis.window, major % major_axis.window
    window = 2 * minor_axis.windows * j + _alternate(j, i)
    cell = 2 * major_axis.window * u + _alternate(u, v)
    sample = batch * (2 * minor_axis.windows * major_axis.windows * block)
    return sample + window * block + _alternate(j, cell)


def _alternate(parity_of: Tensor, value: Tensor) -> Tensor:
    return torch.where(parity_of % 2 == 0, value, -value)


def _slots_of(counts: Tensor, group_size: int) -> Tensor:
    """Slots of each sample, (B,), from its tokens, (B,)."""
    slots = -(-counts // group_size) * group_size
    check_count(f"slots in groups of group_size {group_size}", int(slots.sum()))
    return slots


def _group_slots(counts: Tensor, group_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """flat2win (P,), win2flat (N,), valid (P,) from the tokens of each sample, (B,)."""
    slots = _slots_of(counts, group_size)                                                  # (B,)
    start, slot_start = counts.cumsum(0) - counts, slots.cumsum(0) - slots                 # (B,)
    samples = torch.arange(len(counts), device=counts.device)
    of_token, of_slot = samples.repeat_interleave(counts), samples.repeat_interleave(slots)
    win2flat = torch.arange(len(of_token), device=counts.device) + (slot_start - start)[of_token]
    place = torch.arange(len(of_slot), device=counts.device) - slot_start[of_slot]         # (P,) within the sample
    is_token, is_whole = place < counts[of_slot], counts[of_slot] >= group_size
    padding = torch.where(is_whole, place - group_size, 0)
    return start[of_slot] + torch.where(is_token, place, padding), win2flat, is_token | is_whole


def _window_partition_cpu(
    coords: Tensor, batch_size: int, grid: Sequence[int], window: Sequence[int], group_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    assert NATIVE is not None
    coords, counts = coords.contiguous(), coords.new_empty(batch_size, dtype=torch.int64)
    if not NATIVE.count_samples(coords, *grid, counts):
        sample_counts(coords, batch_size, grid)                                            # says what is wrong
    num_slots = int(_slots_of(counts, group_size).sum())
    orders, win2flat = counts.new_empty(4, len(coords)), counts.new_empty(len(coords))
    flat2win, valid = counts.new_empty(num_slots), counts.new_empty(num_slots, dtype=torch.bool)
    NATIVE.window_partition(
        coords, counts, *grid, *window, group_size, orders, flat2win, win2flat, valid,
        torch.get_num_threads(),
    )
    return orders, flat2win, win2flat, valid


_op = torch.library.custom_op("perception::window_partition", window_partition_reference, mutates_args=())
attach_native("window_partition", _window_partition_cpu)


@_op.register_fake
def _(
    coords: Tensor, batch_size: int, grid: Sequence[int], window: Sequence[int], group_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    num_slots = torch.library.get_ctx().new_dynamic_size() * group_size                    # so P divides into groups
    num_tokens = coords.shape[0]                   # not len(): the number may be known only at run time
    index = coords.new_empty(0, dtype=torch.int64)
    return (
        index.new_empty(4, num_tokens), index.new_empty(num_slots), index.new_empty(num_tokens),
        index.new_empty(num_slots, dtype=torch.bool),
    )
