"""The sparse encoder against the same weights in dense convolutions, of which only the active sites are kept."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from perception.errors import MissingExtraError

pytest.importorskip("spconv", reason="spconv is not installed: pip install -e '.[sparse]'")

from spconv.cppconstants import CPU_ONLY_BUILD

from perception_plugins.centerpoint_pillar import SparseEncoder
from perception_plugins.centerpoint_pillar.spconv_import import import_spconv

Sites = tuple[Tensor, Tensor]                        # (B, C, z, y, x), zero where nothing is; (B, 1, z, y, x) bool
SMALL = {"channels": (4, 5, 6), "num_blocks": 1, "out_channels": 3}


def random_voxels(grid: tuple[int, int, int], counts: list[int], channels: int = 3, seed: int = 0) -> Sites:
    """Features (M, channels) float64 and coords (M, 4) int32; ``counts`` voxels of each sample at distinct cells."""
    draw = torch.Generator().manual_seed(seed)
    nx, ny, nz = grid
    rows = []
    for sample, count in enumerate(counts):
        cell = torch.randperm(nx * ny * nz, generator=draw)[:count].sort().values
        rows.append(torch.stack([torch.full_like(cell, sample), cell // (nx * ny), cell // nx % ny, cell % nx], 1))
    coords = torch.cat(rows).int()
    return torch.randn(len(coords), channels, generator=draw, dtype=torch.float64), coords


def small_encoder(grid: tuple[int, int, int], seed: int = 0, **options: object) -> SparseEncoder:
    """An encoder whose normalisations do something."""
    torch.manual_seed(seed)
    encoder = SparseEncoder(3, grid, **{**SMALL, **options}).double()
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.bias.data, module.running_mean):
                tensor.uniform_(-0.5, 0.5)
    return encoder


def dense_map(encoder: SparseEncoder, features: Tensor, coords: Tensor, batch_size: int) -> Tensor:
    """What `SparseEncoder` computes, over every cell of the grid."""
    nx, ny, nz = encoder.grid
    b, z, y, x = coords.long().unbind(1)
    dense = features.new_zeros(batch_size, nz + 1, ny, nx, encoder.in_channels)
    dense = dense.index_put((b, z, y, x), features).movedim(4, 1)
    active = torch.zeros(batch_size, 1, nz + 1, ny, nx, dtype=torch.bool)
    active[b, 0, z, y, x] = True
    sites = dense_unit((dense, active), encoder.stem.conv, encoder.stem.bn)
    for stage, blocks in enumerate(encoder.stages):
        if stage > 0:
            sites = dense_unit(sites, encoder.downs[stage - 1].conv, encoder.downs[stage - 1].bn)
        for block in blocks:
            inner = dense_unit(sites, block.conv1, block.bn1)
            out = dense_norm(dense_conv(inner, block.conv2), block.bn2)
            sites = ((out[0] + sites[0]).relu(), sites[1])
    return dense_unit(sites, encoder.end.conv, encoder.end.bn)[0].flatten(1, 2)


def dense_unit(sites: Sites, conv: nn.Module, norm: nn.Module) -> Sites:
    values, active = dense_norm(dense_conv(sites, conv), norm)
    return values.relu(), active


def dense_conv(sites: Sites, conv: nn.Module) -> Sites:
    """A strided convolution is active where its kernel touches a site, a submanifold one where there was a site."""
    values, active = sites
    weight = conv.weight.permute(0, 4, 1, 2, 3)      # (out, in, kD, kH, kW)
    stride, padding = tuple(conv.stride), tuple(conv.padding)
    if not conv.subm:
        touched = F.conv3d(active.to(values), values.new_ones(1, 1, *weight.shape[2:]), None, stride, padding)
        active = touched > 0.5
    return F.conv3d(values, weight, None, stride, padding) * active, active


def dense_norm(sites: Sites, norm: nn.Module) -> Sites:
    """Normalise over the active sites alone."""
    values, active = sites
    mask = active[:, 0]
    rows = norm(values.movedim(1, 4)[mask])
    return torch.zeros_like(values.movedim(1, 4)).masked_scatter(mask[..., None], rows).movedim(4, 1), active


def test_a_lone_voxel_sees_only_the_centre_of_a_submanifold_kernel():
    encoder = small_encoder((8, 8, 20)).eval()
    features, coords = torch.ones(1, 3, dtype=torch.float64), torch.tensor([[0, 4, 3, 2]], dtype=torch.int32)
    seen = []
    encoder.stem.conv.register_forward_hook(lambda module, inputs, output: seen.append(output.features))
    encoder(features, coords, 1)
    torch.testing.assert_close(seen[0][0], encoder.stem.conv.weight[:, 1, 1, 1].sum(1))


def test_the_published_encoder_halves_as_published():
    encoder = SparseEncoder(5, (1440, 1440, 40))
    strides = [(tuple(unit.conv.stride), tuple(unit.conv.padding)) for unit in (*encoder.downs, encoder.end)]
    assert strides == [((2, 2, 2), (1, 1, 1))] * 2 + [((2, 2, 2), (0, 1, 1)), ((2, 1, 1), (0, 0, 0))]
    assert (encoder.channels, encoder.height, encoder.stride) == (256, 2, 8)


@pytest.mark.parametrize("training", [True, False], ids=["training", "testing"])
@pytest.mark.parametrize(
    ("grid", "counts"),
    [((8, 8, 20), [40]), ((9, 7, 21), [60, 0, 35]), ((5, 13, 20), [1, 2]), ((1, 1, 20), [20]), ((6, 5, 20), [600])],
    ids=["even", "odd_with_an_empty_sample", "few", "one_column", "full"],
)
def test_map_and_gradients_equal_those_of_dense_convolution(grid, counts, training):
    sparse = small_encoder(grid).train(training)
    dense = copy.deepcopy(sparse)
    features, coords = random_voxels(grid, counts)
    inputs = [features.clone().requires_grad_() for _ in range(2)]
    maps = [sparse(inputs[0], coords, len(counts)), dense_map(dense, inputs[1], coords, len(counts))]
    for canvas in maps:
        (canvas * torch.linspace(-1, 1, canvas.numel(), dtype=torch.float64).view(canvas.shape)).sum().backward()
    grads = [
        [rows.grad, *(weight.grad for weight in encoder.parameters())]
        for rows, encoder in zip(inputs, (sparse, dense), strict=True)
    ]
    torch.testing.assert_close(*maps, atol=1e-10, rtol=1e-8)                 # float64; only the order of sums differs
    torch.testing.assert_close(*grads, atol=1e-9, rtol=1e-7)
    torch.testing.assert_close(dict(sparse.named_buffers()), dict(dense.named_buffers()), atol=1e-10, rtol=1e-8)


@settings(max_examples=20)
@given(
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([24, 25, 26, 27])),
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=3), blocks=st.integers(1, 2), seed=st.integers(0, 99),
)
def test_four_stages_equal_dense_convolution_on_any_grid(grid, counts, blocks, seed):
    encoder = small_encoder(grid, seed, channels=(2, 3, 4, 3), num_blocks=blocks).eval()
    features, coords = random_voxels(grid, counts, seed=seed)
    with torch.no_grad():
        sparse, dense = encoder(features, coords, len(counts)), dense_map(encoder, features, coords, len(counts))
    assert sparse.shape == (len(counts), encoder.channels, -(-grid[1] // encoder.stride), -(-grid[0] // encoder.stride))
    torch.testing.assert_close(sparse, dense, atol=1e-10, rtol=1e-8)         # float64


def test_a_batch_equals_its_samples_one_by_one():
    encoder, counts = small_encoder((9, 8, 20)).eval(), [30, 0, 45]
    features, coords = random_voxels((9, 8, 20), counts)
    with torch.no_grad():
        together = encoder(features, coords, 3)
        for sample in range(3):
            rows = coords[:, 0] == sample
            alone = encoder(features[rows], coords[rows] * torch.tensor([0, 1, 1, 1], dtype=torch.int32), 1)
            torch.testing.assert_close(together[sample], alone[0], atol=1e-12, rtol=1e-10)
    assert not together[1].any()


def test_the_order_of_voxels_does_not_matter():
    encoder = small_encoder((9, 8, 20)).eval()
    features, coords = random_voxels((9, 8, 20), [70, 20])
    order = torch.randperm(90, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(encoder(features, coords, 2), encoder(features[order], coords[order], 2))


@pytest.mark.parametrize("training", [True, False], ids=["training", "testing"])
def test_no_voxels_give_an_empty_map_and_gradients_of_zero(training):
    encoder = small_encoder((8, 8, 20)).train(training)
    before = copy.deepcopy(encoder.state_dict())
    features = torch.zeros(0, 3, dtype=torch.float64, requires_grad=True)
    canvas = encoder(features, torch.zeros(0, 4, dtype=torch.int32), 2)
    canvas.sum().backward()
    assert canvas.shape == (2, encoder.channels, 2, 2)
    assert not canvas.any()
    assert features.grad.shape == (0, 3)
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in encoder.parameters())
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_bfloat16_autocast_leaves_the_map_exact():
    encoder = small_encoder((8, 8, 20)).float().eval()
    features, coords = random_voxels((8, 8, 20), [60])
    exact = encoder(features.float(), coords, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(features.float(), coords, 1), exact)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available() or CPU_ONLY_BUILD, reason="no CUDA device, or spconv without CUDA")
def test_map_and_gradients_on_a_gpu_equal_those_on_the_cpu():
    features, coords = random_voxels((9, 7, 20), [60, 0, 35])
    maps, grads = [], []
    for device in ("cpu", "cuda"):
        encoder = small_encoder((9, 7, 20), channels=(16, 32, 64)).float().to(device)
        maps.append(encoder(features.float().to(device), coords.to(device), 3))
        maps[-1].square().sum().backward()
        grads.append([weight.grad.cpu() for weight in encoder.parameters()])
    torch.testing.assert_close(maps[0], maps[1].cpu(), atol=1e-4, rtol=1e-4)    # float32 sums in another order
    torch.testing.assert_close(*grads, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": (8, 8)}, "grid must be three positive numbers"),
        ({"grid": (8, 0, 20)}, "grid must be three positive numbers"),
        ({"grid": (8, 8, 22)}, "grid has 22 cells along z, the topmost of which would be lost"),
        ({"grid": (8, 8, 1)}, "grid has 1 cells along z"),
        ({"channels": ()}, "stages must be at least 1, got 0"),
        ({"channels": (4, 0)}, r"channels\[1\] must be at least 1, got 0"),
        ({"num_blocks": 0}, "num_blocks must be at least 1, got 0"),
    ],
)
def test_an_encoder_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        SparseEncoder(**{"in_channels": 3, "grid": (8, 8, 20), **SMALL, **change})


@pytest.mark.parametrize(
    ("features", "coords", "batch_size", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, 4, dtype=torch.int32), 1, r"features must be floating \(M, 3\)"),
        (torch.zeros(2, 3), torch.zeros(3, 4, dtype=torch.int32), 1, r"coords must be torch.int32 \(2, 4\)"),
        (torch.zeros(2, 3), torch.zeros(2, 4, dtype=torch.int64), 1, "coords must be torch.int32"),
        (torch.zeros(1, 3), torch.tensor([[0, 20, 0, 0]]).int(), 1, r"coords\[:, 1\] must lie in \[0, 20\), got 20"),
        (torch.zeros(1, 3), torch.tensor([[0, 0, 7, 0]]).int(), 1, r"coords\[:, 2\] must lie in \[0, 7\), got 7"),
        (torch.zeros(1, 3), torch.tensor([[0, 0, 0, -1]]).int(), 1, r"coords\[:, 3\] must lie in \[0, 8\), got -1"),
        (torch.zeros(1, 3), torch.tensor([[2, 0, 0, 0]]).int(), 2, r"coords\[:, 0\] must lie in \[0, 2\), got 2"),
        (torch.zeros(1, 3), torch.zeros(1, 4, dtype=torch.int32), 0, "batch_size must be at least 1, got 0"),
    ],
)
def test_voxels_that_do_not_fit_are_refused(features, coords, batch_size, message):
    encoder = SparseEncoder(3, (8, 7, 20), **SMALL)
    with pytest.raises(ValueError, match=message):
        encoder(features, coords, batch_size)


def test_without_spconv_the_extra_is_named(monkeypatch):
    import_spconv.cache_clear()
    monkeypatch.setitem(sys.modules, "spconv.pytorch", None)
    with pytest.raises(MissingExtraError, match=r"SparseEncoder \(spconv\) .*pip install 'perception\[sparse\]'"):
        SparseEncoder(3, (8, 8, 20))


def test_several_threads_give_what_one_gives():
    encoder, (features, coords) = small_encoder((9, 7, 21)).eval(), random_voxels((9, 7, 21), [60, 0, 35])
    before, maps = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            rows = features.clone().requires_grad_()
            canvas = encoder(rows, coords, 3)
            canvas.square().sum().backward()
            maps.append((canvas, rows.grad))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for ours in maps[1:]:
        torch.testing.assert_close(ours, maps[0], atol=1e-10, rtol=1e-8)
