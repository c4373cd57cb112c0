import torch
import torch.nn.functional as F

from perception_ops import bev_scatter, segment_reduce, voxelize, window_partition


def points_to_map(xyz: torch.Tensor, batch: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """(N, 3), (N,), (3,) -> (2, 3, 8, 8): group attention over pillars whose number is known only at run time."""
    coords, inverse, _ = voxelize(xyz, batch, (1.0, 1.0, 2.0), (-4.0, -4.0, -1.0, 4.0, 4.0, 1.0), (8, 8, 1))
    pillars = segment_reduce(xyz * weight, inverse, coords.shape[0], "max")                # (M, 3)
    partition = window_partition(coords, 2, (8, 8), (3, 3), 4)
    slots = pillars[partition.orders[1]][partition.flat2win]                               # (P, 3)
    groups = slots.view(slots.shape[0] // 4, 4, 3)                                         # (G, S, 3)
    mixed = F.scaled_dot_product_attention(groups, groups, groups, attn_mask=partition.valid.view(-1, 1, 4))
    tokens = mixed.reshape(-1, 3)[partition.win2flat]
    return bev_scatter(torch.zeros_like(pillars).index_copy(0, partition.orders[1], tokens), coords, 2, 8, 8)


def test_the_way_from_points_to_the_map_compiles_into_one_graph_with_gradients():
    compiled = torch.compile(points_to_map, fullgraph=True, backend="aot_eager")
    for count in (30, 17):
        xyz = torch.randn(count, 3, generator=torch.Generator().manual_seed(count))
        batch, weight = torch.arange(count) % 2, torch.ones(3, requires_grad=True)
        ours, eager = compiled(xyz, batch, weight), points_to_map(xyz, batch, weight)
        torch.testing.assert_close(ours, eager)
        (ours_grad,) = torch.autograd.grad(ours.square().sum(), weight)
        (eager_grad,) = torch.autograd.grad(eager.square().sum(), weight)
        torch.testing.assert_close(ours_grad, eager_grad)
