import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from perception_ops import native_kernels, voxelize
from perception_ops.voxelize import voxelize_reference

RANGE = (-4.0, -2.0, -1.0, 4.0, 2.0, 1.0)
SIZE = (1.0, 0.5, 2.0)
GRID = (8, 8, 1)
needs_native = pytest.mark.skipif("voxelize" not in native_kernels(), reason="native kernels are not in use")


def voxels(points: list[list[float]], batch: list[int] | None = None):
    xyz = torch.tensor(points).reshape(-1, 3)
    return voxelize(xyz, torch.tensor(batch or [0] * len(points), dtype=torch.int64), SIZE, RANGE, GRID)


def test_points_of_one_cell_are_counted_and_cells_come_sorted():
    coords, inverse, counts = voxels([[3.5, 1.9, 0], [-3.9, -2.0, 0], [3.1, 1.6, 0.5], [-3.9, -2, 0]], [0, 1, 0, 0])
    assert coords.tolist() == [[0, 0, 0, 0], [0, 0, 7, 7], [1, 0, 0, 0]]
    assert coords.dtype == torch.int32
    assert inverse.tolist() == [1, 2, 1, 0]
    assert counts.tolist() == [1, 2, 1]


@pytest.mark.parametrize(
    ("point", "cell"),
    [((-4.0, 0, 0), (0, 4)), ((-3.0, 0, 0), (1, 4)), ((99.0, 0, 0), (7, 4)), ((-1e30, 2.0, 9.0), (0, 7))],
    ids=["low border", "inner border", "outside", "far outside"],
)
def test_borders_belong_to_the_cell_above_and_outsiders_to_the_nearest_cell(point, cell):
    coords, _, _ = voxels([list(point)])
    assert (int(coords[0, 3]), int(coords[0, 2])) == cell


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(0, 60), samples=st.integers(1, 4), nz=st.integers(1, 5))
def test_every_point_lies_in_the_cell_it_is_given(seed, count, samples, nz):
    generator = torch.Generator().manual_seed(seed)
    xyz = torch.rand(count, 3, generator=generator) * 8 - 4
    batch = torch.randint(samples, (count,), generator=generator)
    size = torch.tensor([0.7, 1.3, 8 / nz])
    coords, inverse, counts = voxelize(xyz, batch, size.tolist(), (-4, -4, -4, 4, 4, 4), (12, 7, nz))
    own = coords[inverse].long()                                                           # (N, 4)
    assert torch.equal(own[:, 0], batch)
    low = own[:, 1:].flip(1) * size - 4
    assert ((xyz >= low - 1e-5) & (xyz <= low + size + 1e-5)).all()
    assert torch.equal(counts, torch.bincount(inverse, minlength=len(coords)))
    rows = [tuple(row) for row in coords.tolist()]
    assert rows == sorted(set(rows))


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000), count=st.integers(0, 300), samples=st.integers(1, 4),
    grid=st.tuples(st.integers(1, 1500), st.integers(1, 40), st.integers(1, 9)), snap=st.booleans(),
)
def test_native_equals_the_reference_on_borders_and_beyond_the_range(seed, count, samples, grid, snap):
    generator = torch.Generator().manual_seed(seed)
    size = [8.0 / n for n in grid]
    xyz = torch.rand(count, 3, generator=generator) * 12 - 6
    if snap:                                       # onto the borders between cells, as near as float32 allows
        xyz = (xyz / torch.tensor(size)).round() * torch.tensor(size)
    batch = torch.randint(samples, (count,), generator=generator)
    arguments = (xyz, batch, size, [-4.0, -4.0, -4.0, 4.0, 4.0, 4.0], list(grid))
    for ours, expected in zip(voxelize(*arguments), voxelize_reference(*arguments), strict=True):
        assert torch.equal(ours, expected)
        assert ours.dtype == expected.dtype


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    xyz = torch.rand(9001, 3, generator=torch.Generator().manual_seed(0)) * 8 - 4
    arguments = (xyz, torch.arange(9001) % 3, list(SIZE), list(RANGE), list(GRID))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = voxelize(*arguments)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(ours, voxelize_reference(*arguments), strict=True))


def test_no_points_give_no_cells():
    coords, inverse, counts = voxels([])
    assert coords.shape == (0, 4)
    assert len(inverse) == len(counts) == 0


def test_opcheck_passes():
    arguments = (torch.rand(9, 3), torch.arange(9) % 2, list(SIZE), list(RANGE), list(GRID))
    torch.library.opcheck(torch.ops.perception.voxelize.default, arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xyz": torch.zeros(2, 3).double()}, r"xyz must be torch.float32 \(N, 3\), got torch.float64 \(2, 3\)"),
        ({"batch": torch.zeros(3, dtype=torch.int64)}, r"batch must be torch.int64 \(2,\), got torch.int64 \(3,\)"),
        ({"batch": torch.tensor([0, -1])}, "batch must be >= 0, got -1"),
        ({"xyz": torch.tensor([[0, 0, 0], [0, float("nan"), 0]])}, r"xyz must be finite, row 1 is \[0.0, nan, 0.0\]"),
        ({"voxel_size": (1.0, 0.0, 1.0)}, r"voxel_size must be positive, got \(1.0, 0.0, 1.0\)"),
        ({"grid": (8, 8)}, "must have 3, 6 and 3 numbers, got 3, 6 and 2"),
        ({"grid": (8, 0, 1)}, "ny must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    arguments = {
        "xyz": torch.zeros(2, 3), "batch": torch.zeros(2, dtype=torch.int64), "voxel_size": SIZE, "point_range": RANGE,
        "grid": GRID,
    }
    with pytest.raises(ValueError, match=message):
        voxelize(**arguments | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": (2**40, 8, 1)}, r"grid must have at most 16777216 cells along an axis, got \(1099511627776, 8, 1\)"),
        ({"grid": (2**24, 2**24, 2**20)}, r"grid must give cell numbers below 2\*\*63, got .* for 1 samples"),
        ({"batch": torch.tensor([0, 2**62])}, "batch must lie in int32, as coords does, got 4611686018427387904"),
        ({"voxel_size": (1.0, 1e-60, 1.0)}, "voxel_size must be neither 0 nor infinite in float32"),
        ({"voxel_size": (float("nan"), 1.0, 1.0)}, "voxel_size must be positive"),
        ({"point_range": (float("nan"), 0, 0, 1, 1, 1)}, "point_range must be finite in float32"),
        ({"xyz": torch.zeros(2, 3, device="meta")}, "batch must lie on meta as xyz does, got cpu"),
    ],
)
def test_numbers_that_would_overflow_are_refused(change, message):
    arguments = {
        "xyz": torch.zeros(2, 3), "batch": torch.zeros(2, dtype=torch.int64), "voxel_size": SIZE, "point_range": RANGE,
        "grid": GRID,
    }
    with pytest.raises(ValueError, match=message):
        voxelize(**(arguments | change))
