"""lif_scan against its definition step by step, and its kernels against the reference."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception_ops import lif_scan, portable_ops
from perception_ops.lif_scan import lif_scan_backward_reference, lif_scan_reference

close = torch.testing.assert_close
SIZES = [(1, 1, 1), (2, 7, 3), (3, 50, 64), (1, 300, 65), (2, 200, 150)]       # below, at and above a block of channels


def inputs(B: int, N: int, C: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> tuple[Tensor, Tensor]:
    """x, and membranes before the first step."""
    draw = torch.Generator().manual_seed(seed)
    x, membrane = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((B, N, C), (B, C)))
    return (2 * x).to(dtype), membrane.to(dtype)


def by_steps(x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """The definition by torch's own gradient: a spike is a step ahead, and a sigmoid behind."""
    spikes = []
    for row in x.unbind(1):
        reached = membrane + (row - membrane) / 2
        hard, soft = (reached >= threshold).to(x.dtype), torch.sigmoid(4 * (reached - threshold))
        spikes.append(hard + soft - soft.detach())
        membrane = reached * (1 - hard)
    return torch.stack(spikes, 1), membrane


def with_gradients(scan, x: Tensor, membrane: Tensor, threshold: float) -> list[Tensor]:
    leaves = [x.detach().requires_grad_(), membrane.detach().requires_grad_()]
    spikes, last = scan(*leaves, threshold)
    weights = inputs(*x.shape, dtype=x.dtype, seed=1)
    score = (spikes * weights[0]).sum() + (last * weights[1]).sum()
    return [spikes.detach(), last.detach(), *torch.autograd.grad(score, leaves)]


def test_a_neuron_by_hand():
    spikes, last = lif_scan(torch.tensor([[[1.8], [2.0], [1.0], [0.0]]]))
    assert spikes.flatten().tolist() == [0.0, 1.0, 0.0, 0.0]           # 0.9, 1.45 and reset, 0.5, 0.25
    close(last, torch.tensor([[0.25]]))


@pytest.mark.parametrize("threshold", [0.5, 1.0])
@pytest.mark.parametrize(("B", "N", "C"), SIZES)
def test_spikes_and_gradients_are_those_of_the_definition(B: int, N: int, C: int, threshold: float):
    ours = with_gradients(lif_scan, *inputs(B, N, C, torch.float64), threshold)
    expected = with_gradients(by_steps, *inputs(B, N, C, torch.float64), threshold)
    for one, other in zip(ours, expected, strict=True):
        close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("B", "N", "C"), SIZES)
def test_kernels_equal_the_reference(B: int, N: int, C: int):
    x, membrane = inputs(B, N, C)
    for ours, expected in zip(lif_scan(x, membrane), lif_scan_reference(x, membrane, 1.0), strict=True):
        assert torch.equal(ours, expected)
    given = (*inputs(B, N, C, seed=1), x, membrane, 1.0)
    ours, expected = torch.ops.perception.lif_scan_backward(*given), lif_scan_backward_reference(*given)
    close(ours, expected, atol=1e-6, rtol=1e-5)


def test_kernels_give_the_same_numbers_on_any_number_of_threads(num_threads):
    results = []
    for threads in (1, 2):
        with num_threads(threads):
            results.append(with_gradients(lif_scan, *inputs(2, 100, 150), 1.0))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_the_op_keeps_torchs_rules():
    x, membrane = inputs(1, 4, 3)
    torch.library.opcheck(
        torch.ops.perception.lif_scan.default, (x.requires_grad_(), membrane.requires_grad_(), 1.0)
    )


@pytest.mark.parametrize("cut", [0, 1, 29, 30])
def test_a_sequence_cut_in_two_with_its_membranes_handed_on_is_the_whole(cut: int):
    x, membrane = inputs(2, 30, 6)
    whole, last = lif_scan(x, membrane)
    first, between = lif_scan(x[:, :cut], membrane)
    second, end = lif_scan(x[:, cut:], between)
    assert torch.equal(torch.cat([first, second], 1), whole)
    assert torch.equal(end, last)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype):
    x, membrane = (values.to(dtype) for values in inputs(1, 20, 5))
    for ours, expected in zip(lif_scan(x, membrane), lif_scan(x.float(), membrane.float()), strict=True):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, expected)


def test_memory_order_and_the_membranes_given_are_left_alone():
    x, membrane = inputs(2, 9, 6)
    before = membrane.clone()
    expected = lif_scan(x, membrane)
    ours = lif_scan(x.mT.contiguous().mT, membrane.T.contiguous().T)
    assert all(torch.equal(one, two) for one, two in zip(ours, expected, strict=True))
    assert torch.equal(membrane, before)


@pytest.mark.parametrize(("B", "N", "C"), [(0, 4, 5), (2, 0, 5), (2, 4, 0)])
def test_nothing_to_run_gives_empty_spikes_and_the_first_membranes(B: int, N: int, C: int):
    x, membrane = inputs(B, N, C)
    spikes, last, grad_x, _ = with_gradients(lif_scan, x, membrane, 1.0)
    assert spikes.shape == grad_x.shape == (B, N, C)
    assert last.shape == (B, C)
    assert N > 0 or torch.equal(last, membrane)


def test_a_portable_graph_holds_no_op_of_ours():
    class Scan(torch.nn.Module):
        def forward(self, x: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
            return lif_scan(x, membrane, 0.5)

    given = inputs(1, 12, 4)
    with portable_ops():
        program = torch.export.export(Scan(), given)
    assert "perception" not in str(program.graph)
    close(program.module()(*given), Scan()(*given))


def test_it_compiles_into_one_graph():
    compiled = torch.compile(lif_scan, fullgraph=True, backend="aot_eager")
    close(compiled(*inputs(1, 12, 4)), lif_scan(*inputs(1, 12, 4)))


@pytest.mark.parametrize(("x", "membrane", "message"), [
    (torch.zeros(2, 3), None, r"x must be floating \(B, N, C\), got torch.float32 \(2, 3\)"),
    (torch.zeros(2, 3, 4, dtype=torch.int64), None, r"x must be floating \(B, N, C\), got torch.int64 \(2, 3, 4\)"),
    (torch.zeros(2, 3, 4), torch.zeros(2, 3), r"membrane must be floating \(2, 4\), got torch.float32 \(2, 3\)"),
    (torch.zeros(2, 3, 4), torch.zeros(2, 4, device="meta"), "membrane must lie on cpu as x does, got meta"),
])
def test_what_does_not_fit_is_refused_by_name(x: Tensor, membrane: Tensor | None, message: str):
    with pytest.raises(ValueError, match=message):
        lif_scan(x, membrane)
