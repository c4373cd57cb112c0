import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from perception_ops import WindowPartition, native_kernels, window_partition
from perception_ops.window_partition import window_partition_reference

ORDERS = ("x", "x_shift", "y", "y_shift")
needs_native = pytest.mark.skipif("window_partition" not in native_kernels(), reason="native kernels are not in use")


def cells(*yx_of_samples: list[tuple[int, int]]) -> torch.Tensor:
    rows = [(b, 0, y, x) for b, sample in enumerate(yx_of_samples) for y, x in sample]
    return torch.tensor(rows, dtype=torch.int32).reshape(-1, 4)


def random_cells(counts: list[int], grid: tuple[int, int], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    nx, ny = grid
    rows = []
    for b, count in enumerate(counts):
        cell = torch.randperm(nx * ny, generator=generator)[:count]
        rows.append(torch.stack([torch.full_like(cell, b), torch.zeros_like(cell), cell // nx, cell % nx], 1))
    return torch.cat(rows).int()


def test_the_serpentine_along_x_turns_in_every_window_and_every_row_of_windows():
    coords = cells([(y, x) for y in range(4) for x in range(4)])
    x_order = window_partition(coords, 1, (4, 4), (2, 2), 4).orders[0]
    visited = [(int(coords[i, 3]), int(coords[i, 2])) for i in x_order]      # (x, y)
    first_row = [(0, 0), (0, 1), (1, 1), (1, 0), (2, 0), (2, 1), (3, 1), (3, 0)]
    assert visited[:8] == first_row
    assert visited[8:] == [(3, 2), (3, 3), (2, 3), (2, 2), (1, 2), (1, 3), (0, 3), (0, 2)]   # right to left


def test_a_short_last_group_repeats_the_tokens_one_group_earlier():
    partition = window_partition(cells([(0, x) for x in range(5)]), 1, (8, 8), (4, 4), 3)
    assert partition.flat2win.tolist() == [0, 1, 2, 3, 4, 2]
    assert partition.win2flat.tolist() == [0, 1, 2, 3, 4]
    assert partition.valid.all()


def test_a_sample_below_one_group_repeats_its_first_token_and_masks_it():
    partition = window_partition(cells([(0, x) for x in range(4)], [], [(1, 1), (1, 2)]), 3, (8, 8), (4, 4), 4)
    assert partition.flat2win.tolist() == [0, 1, 2, 3, 4, 5, 4, 4]
    assert partition.win2flat.tolist() == [0, 1, 2, 3, 4, 5]
    assert partition.valid.tolist() == [True] * 6 + [False] * 2


@pytest.mark.parametrize("operator", [window_partition, window_partition_reference], ids=["op", "reference"])
@pytest.mark.golden_files("flatformer", pattern="mapping__*.safetensors")
def test_mapping_equals_the_published_one(golden_file: Path, operator):
    with safe_open(golden_file, "pt") as file:
        config, tensors = json.loads(file.metadata()["config"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    partition = WindowPartition(
        *operator(
            tensors["in.coords"], config["batch_size"], config["sparse_shape"][:2], config["window_shape"][:2],
            config["group_size"],
        )
    )
    for row, name in zip(partition.orders, ORDERS, strict=True):
        assert torch.equal(row, tensors[f"out.{name}"]), name
    assert torch.equal(partition.flat2win, tensors["out.flat2win"])
    assert torch.equal(partition.win2flat, tensors["out.win2flat"])


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    grid=st.tuples(st.integers(1, 33), st.integers(1, 33)),
    window=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    group_size=st.integers(1, 17),
    seed=st.integers(0, 999),
)
def test_native_equals_the_reference_at_odd_sizes(counts, grid, window, group_size, seed):
    coords = random_cells(counts, grid, seed)
    ours = window_partition(coords, len(counts), grid, window, group_size)
    reference = window_partition_reference(coords, len(counts), grid, window, group_size)
    for name, one, other in zip(WindowPartition._fields, ours, reference, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0, msg=name)


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    coords = random_cells([5000, 0, 3001], (468, 468))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        orders = window_partition(coords, 3, (468, 468), (13, 13), 144).orders
    finally:
        torch.set_num_threads(before)
    assert torch.equal(orders, window_partition_reference(coords, 3, (468, 468), (13, 13), 144)[0])


@pytest.mark.parametrize(("grid", "window"), [((60, 60), (13, 13)), ((100, 100), (13, 13)), ((7, 5), (20, 3))])
def test_a_batch_equals_its_samples_on_grids_where_the_published_offset_overlaps(grid, window):
    counts = [30, 35, 21]
    coords = random_cells(counts, grid)
    together = window_partition(coords, 3, grid, window, 9).orders
    start = 0
    for b, count in enumerate(counts):
        rows = slice(start, start + count)
        alone = coords[rows] - torch.tensor([b, 0, 0, 0], dtype=torch.int32)
        assert torch.equal(together[:, rows], window_partition(alone, 1, grid, window, 9).orders + start)
        start += count


@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=4), group_size=st.integers(1, 20))
def test_every_token_finds_its_own_slot_and_groups_never_mix_samples(counts, group_size):
    coords = random_cells(counts, (12, 10))
    partition = window_partition(coords, len(counts), (12, 10), (5, 3), group_size)
    tokens = torch.arange(len(coords))
    assert torch.equal(tokens[partition.flat2win][partition.win2flat], tokens)
    assert all(torch.equal(order.sort().values, tokens) for order in partition.orders)
    for order in partition.orders:
        samples = coords[order][partition.flat2win, 0].view(-1, group_size)                # (G, S)
        assert (samples == samples[:, :1]).all()


@pytest.mark.parametrize("operator", [window_partition, window_partition_reference], ids=["op", "reference"])
def test_no_tokens_give_no_groups(operator):
    orders, flat2win, win2flat, valid = operator(cells([], []), 2, (8, 8), (4, 4), 4)
    assert orders.shape == (4, 0)
    assert len(flat2win) == len(win2flat) == len(valid) == 0


def test_coords_with_gaps_in_memory_are_read_rightly():
    wide = torch.cat([random_cells([20], (9, 9)), torch.full((20, 3), 7, dtype=torch.int32)], 1)
    ours = window_partition(wide[:, :4], 1, (9, 9), (4, 4), 6)
    assert torch.equal(ours.orders, window_partition(wide[:, :4].clone(), 1, (9, 9), (4, 4), 6).orders)


def test_opcheck_passes():
    torch.library.opcheck(
        torch.ops.perception.window_partition.default, (random_cells([11, 3], (9, 9)), 2, [9, 9], [4, 4], 5)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coords": torch.zeros(3, 4).long()}, r"coords must be torch.int32 \(N, 4\), got torch.int64 \(3, 4\)"),
        ({"coords": torch.zeros(3, 3).int()}, r"got torch.int32 \(3, 3\)"),
        ({"coords": cells([(0, 8)])}, r"coords x must lie in \[0, 8\), got 8"),
        ({"coords": cells([(-1, 0)])}, r"coords y must lie in \[0, 8\), got -1"),
        ({"coords": cells([], [], [(0, 0)])}, r"coords batch must lie in \[0, 2\), got 2"),
        ({"coords": cells([(0, 0)], [(0, 0)]).flip(0)}, "coords must be ordered by batch"),
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
        ({"window": (0, 4)}, "wx must be at least 1, got 0"),
        ({"grid": (8, 8, 1)}, "grid and window must be two sizes"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {"coords": cells([(0, 0)]), "batch_size": 2, "grid": (8, 8), "window": (4, 4), "group_size": 4}
    with pytest.raises(ValueError, match=message):
        window_partition(**arguments | change)


@pytest.mark.parametrize(
    ("grid", "window", "group_size", "message"),
    [
        ((2**62, 8), (13, 3), 4, "nx must be at most 2147483647, got 4611686018427387904"),
        ((2**30, 2**30), (3, 3), 4, r"grid and window must give sort keys below 2\*\*63, got \(10737"),
        ((8, 8), (3, 3), 2**40, "group_size must be at most 2147483647, got 1099511627776"),
        ((8, 8), (3, 3), 2**31 - 1, "slots in groups of group_size 2147483647 must be at most 2147483647, got"),
    ],
)
def test_sizes_that_would_overflow_are_refused(grid, window, group_size, message):
    coords = torch.tensor([[0, 0, 1, 2], [1, 0, 0, 3]], dtype=torch.int32)
    with pytest.raises(ValueError, match=message):
        window_partition(coords, 2, grid, window, group_size)
