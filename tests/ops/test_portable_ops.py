"""The ops written out in torch's own: the same numbers, and graphs that hold no op of ours, for any size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perception_ops import (
    bev_scatter,
    group_attention,
    is_portable,
    portable_ops,
    segment_reduce,
    voxelize,
    window_partition,
)

VOXEL, RANGE, GRID = (0.5, 0.5, 4.0), (-8.0, -8.0, -2.0, 8.0, 8.0, 2.0), (32, 32, 1)
SIZES = [0, 1, 5, 23, 300]


def cloud(points: int, seed: int = 0) -> Tensor:
    """(points, 3) in the range, some in cells of others."""
    places = torch.rand(points, 3, generator=torch.Generator().manual_seed(seed)) - 0.5
    return places * torch.tensor([16.0, 16.0, 4.0])


class Pillars(nn.Module):
    """All ops of a pillar network, one after the other."""

    def forward(self, xyz: Tensor) -> tuple[Tensor, ...]:
        batch = xyz.new_zeros(xyz.shape[0], dtype=torch.int64)
        coords, inverse, counts = voxelize(xyz, batch, VOXEL, RANGE, GRID)
        tops, means, sums = (segment_reduce(xyz, inverse, coords.shape[0], how) for how in ("max", "mean", "sum"))
        cut = window_partition(coords, 1, GRID[:2], (5, 5), 7)
        order = cut.orders[1]
        back = torch.empty_like(order).scatter_(0, order, cut.win2flat)
        tokens = torch.cat([tops, means, sums[:, :2]], dim=1)                                # (M, 8)
        mixed = group_attention(
            torch.cat([tokens, tokens], dim=1), tokens, order[cut.flat2win], back, cut.valid, group_size=7, num_heads=2
        )
        return coords, inverse, counts, cut.orders, cut.flat2win, cut.valid, bev_scatter(mixed, coords, 1, 32, 32)


@pytest.mark.parametrize("points", SIZES)
def test_portable_ops_give_the_same(points):
    expected = Pillars()(cloud(points))
    with portable_ops():
        got = Pillars()(cloud(points))
    torch.testing.assert_close(got, expected)


@pytest.fixture(scope="module")
def exported() -> torch.export.ExportedProgram:
    with portable_ops():
        return torch.export.export(Pillars(), (cloud(40),), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def test_the_graph_holds_no_op_of_this_package(exported):
    called = {str(node.target) for node in exported.graph.nodes if node.op == "call_function"}
    assert any("aten" in name for name in called)
    assert not [name for name in called if "perception" in name]


@pytest.mark.parametrize("points", SIZES)
def test_the_graph_takes_any_number_of_points(exported, points):
    torch.testing.assert_close(exported.module()(cloud(points, seed=3)), Pillars()(cloud(points, seed=3)))


def test_cells_of_a_graph_worked_by_hand():
    xyz = torch.tensor([[-7.9, -7.9, 0.0], [7.9, 7.9, 0.0], [-7.8, -7.6, 1.0], [99.0, -8.0, 0.0]])
    with portable_ops():
        coords, inverse, counts = voxelize(xyz, torch.zeros(4, dtype=torch.int64), VOXEL, RANGE, GRID)
    assert coords.tolist() == [[0, 0, 0, 0], [0, 0, 0, 31], [0, 0, 31, 31]]
    assert inverse.tolist() == [0, 2, 0, 1]
    assert counts.tolist() == [2, 1, 1]


def test_ops_are_portable_within_the_context_alone():
    def fails() -> None:
        with portable_ops():
            raise RuntimeError(f"portable: {is_portable()}")

    with pytest.raises(RuntimeError, match="portable: True"):
        fails()
    assert not is_portable()


def test_a_graph_of_several_samples_is_refused():
    coords = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 1]], dtype=torch.int32)
    with portable_ops(), pytest.raises(ValueError, match="batch_size of a portable graph must be 1, got 2"):
        window_partition(coords, 2, (4, 4), (2, 2), 2)
    with portable_ops(), pytest.raises(ValueError, match=r"batch of a portable graph must lie in \[0, 1\), got 1"):
        voxelize(cloud(2), torch.tensor([0, 1]), VOXEL, RANGE, GRID)
