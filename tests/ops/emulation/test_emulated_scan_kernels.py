"""The scans' kernels for CUDA, executed on the host through the faces that a GPU's tensors take."""

from __future__ import annotations

import pytest
import torch
from conftest import GIVEN
from torch import Tensor
from torch.nn import functional as F

from perception_ops import cuda
from perception_ops.lif_scan import lif_scan_backward_reference, lif_scan_reference
from perception_ops.state_scan import state_scan_backward_reference, state_scan_reference

DEFAULT_STREAM = 0
SEEDS = [7] if GIVEN else [0, 7]                   # orders of blocks and threads; the sanitized run takes its time
ORDER = 2e-5                                       # of sums, and the exponential's last places, in float32
# Channels, state, length, groups: within a piece of 256 steps, one, several; whole and broken tiles of channels.
SIZES = [(1, 1, 1, 1), (4, 3, 7, 2), (9, 2, 256, 1), (10, 1, 257, 2), (2, 17, 600, 1)]


def inputs(b: int, D: int, N: int, L: int, G: int) -> list[Tensor]:
    """grad_y, grad_last, u, delta, A, B, C, initial."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((b, D, L), (b, D, N), (b, D, L), (b, D, L), (D, N), (b, G, N, L), (b, G, N, L), (b, D, N))
    tables = [torch.randn(shape, generator=draw) for shape in shapes]
    return [*tables[:3], F.softplus(tables[3] - 1), -tables[4].exp(), *tables[5:]]


def run_both(kernels, arguments: list) -> list[Tensor]:
    forward = cuda.selective_scan(kernels, DEFAULT_STREAM, *arguments[2:])
    return [*forward, *cuda.selective_scan_backward(kernels, DEFAULT_STREAM, *arguments)]


def expected_of(arguments: list) -> list[Tensor]:
    wide = [x.double() if isinstance(x, Tensor) else x for x in arguments]
    return [*state_scan_reference(*wide[2:]), *state_scan_backward_reference(*wide)]


@pytest.mark.parametrize("sizing", ["given", "biased", "softplus"])
@pytest.mark.parametrize(("D", "N", "L", "G"), SIZES)
def test_scan_and_gradient_equal_the_reference_in_every_order_of_threads(emulated, D, N, L, G, sizing):
    bias = None if sizing == "given" else torch.linspace(0, 1, D)
    arguments, results = [*inputs(2, D, N, L, G), bias, sizing == "softplus"], []
    for seed in SEEDS:
        emulated.set_order_seed(seed)
        results.append(run_both(emulated, arguments))
    for ours, expected in zip(results[0], expected_of(arguments), strict=True):
        scale = max(1.0, float(expected.abs().max()))
        torch.testing.assert_close(ours, expected.float(), atol=ORDER * scale, rtol=ORDER)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


def test_decays_that_underflow_give_finite_numbers(shuffled):
    arguments = inputs(1, 2, 2, 300, 1)
    arguments[3] = torch.logspace(-4, 4, 300).expand(1, 2, 300)
    assert all(result.isfinite().all() for result in run_both(shuffled, arguments))


@pytest.mark.parametrize(("b", "L"), [(0, 5), (2, 0)])
def test_nothing_to_scan_gives_empty_outputs_and_hands_the_state_on(emulated, b, L):
    arguments = inputs(b, 3, 2, L, 1)
    y, last, grad_u, *_, grad_initial = run_both(emulated, arguments)
    assert y.shape == grad_u.shape == (b, 3, L)
    assert torch.equal(last, arguments[7])
    assert torch.equal(grad_initial, arguments[1])


def test_double_precision_takes_the_reference(emulated):
    arguments = [x.double() for x in inputs(1, 2, 2, 9, 1)]
    for ours, expected in zip(run_both(emulated, arguments), expected_of(arguments), strict=True):
        assert torch.equal(ours, expected)


def test_a_workspace_that_is_too_small_is_refused(emulated):
    arguments = inputs(1, 2, 2, 9, 1)
    out = [torch.empty(shape) for shape in ((1, 2, 9), (1, 2, 9), (1, 2, 2), (1, 1, 2, 9), (1, 1, 2, 9), (1, 2, 2))]
    with pytest.raises(ValueError, match="workspace is too small"):
        emulated.selective_scan_backward(
            *arguments, None, False, *out, torch.empty(8, dtype=torch.uint8), DEFAULT_STREAM
        )


@pytest.mark.parametrize(("B", "N", "C"), [(1, 1, 1), (2, 7, 3), (3, 8, 40), (1, 21, 33), (0, 4, 5), (2, 0, 5)])
def test_spikes_and_their_gradients_equal_the_reference(shuffled, B, N, C):
    draw = torch.Generator().manual_seed(0)
    grad, x = (2 * torch.randn(B, N, C, generator=draw) for _ in range(2))
    grad_last, membrane = (torch.randn(B, C, generator=draw) for _ in range(2))
    for ours, expected in zip(
        cuda.lif_scan(shuffled, DEFAULT_STREAM, x, membrane, 0.7), lif_scan_reference(x, membrane, 0.7), strict=True
    ):
        assert torch.equal(ours, expected)
    arguments = (grad, grad_last, x, membrane, 0.7)
    ours = cuda.lif_scan_backward(shuffled, DEFAULT_STREAM, *arguments)
    torch.testing.assert_close(ours, lif_scan_backward_reference(*arguments), atol=1e-6, rtol=1e-5)
