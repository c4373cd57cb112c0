"""selective_scan against a loop over the steps, and its kernels against the scan of logarithmic depth."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perception_ops import selective_scan
from perception_ops.dispatch import NATIVE
from perception_ops.selective_scan import selective_scan_reference
from perception_ops.state_scan import state_scan_backward_reference, state_scan_reference

close = torch.testing.assert_close
LENGTHS = [1, 2, 63, 64, 65, 200, 4200]            # below, at and above a piece, and beyond a segment of the reference
ORDER = 2e-5                                       # of sums, and the exponential's last places, in float32


def core_inputs(
    b: int, D: int, N: int, L: int, G: int, dtype: torch.dtype = torch.float32, seed: int = 0
) -> list[Tensor]:
    """u, dt, A, B, C, initial."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((b, D, L), (b, D, L), (D, N), (b, G, N, L), (b, G, N, L), (b, D, N))
    u, dt, A, B, C, initial = (torch.randn(shape, generator=draw).to(dtype) for shape in shapes)
    return [u, F.softplus(dt - 1), -torch.exp(A), B, C, initial]


def by_steps(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """The definition."""
    groups = torch.arange(u.shape[1]) // (u.shape[1] // B.shape[1])
    state, out = initial, torch.zeros_like(u)
    for t in range(u.shape[2]):
        state = torch.exp(dt[:, :, t, None] * A) * state + (dt * u)[:, :, t, None] * B[:, groups, :, t]
        out = torch.cat([out[..., :t], (state * C[:, groups, :, t]).sum(2)[..., None], out[..., t + 1 :]], 2)
    return out, state


def with_gradients(core, inputs: list[Tensor]) -> list[Tensor]:
    leaves = [x.detach().requires_grad_() for x in inputs]
    y, last = core(*leaves)
    draw = torch.Generator().manual_seed(7)
    weights = [torch.randn(x.shape, generator=draw, dtype=torch.float64).to(x.dtype) for x in (y, last)]
    score = (y * weights[0]).sum() + (last * weights[1]).sum()
    return [y.detach(), last.detach(), *torch.autograd.grad(score, leaves)]


def assert_alike(ours: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for one, other in zip(ours, expected, strict=True):
        scale = max(1.0, float(other.abs().max())) if other.numel() else 1.0
        close(one, other, atol=tolerance * scale, rtol=tolerance)


def test_a_state_that_halves_by_hand():
    ones = torch.ones(1, 1, 3)
    A = torch.full((1, 1), -math.log(2.0))
    y, last = selective_scan(ones * torch.tensor([1.0, 0.0, 4.0]), ones, A, ones, 2 * ones, D=torch.tensor([10.0]))
    close(y, torch.tensor([[[12.0, 1.0, 48.5]]]))                  # 2 h + 10 u with h = 1, 0.5, 4.25
    close(last, torch.tensor([[[4.25]]]))


def test_softplus_bias_and_gate_by_hand():
    u, delta, z = torch.tensor([[[3.0]]]), torch.tensor([[[0.5]]]), torch.tensor([[[2.0]]])
    y, _ = selective_scan(
        u, delta, -torch.ones(1, 1), torch.ones(1, 1, 1), torch.ones(1, 1, 1), z=z, delta_bias=torch.tensor([0.25]),
        delta_softplus=True,
    )
    close(y, torch.tensor([[[math.log1p(math.exp(0.75)) * 3 * 2 / (1 + math.exp(-2))]]]))


@pytest.mark.parametrize("L", [1, 5, 70, 130])
@pytest.mark.parametrize(("D", "N", "G"), [(1, 1, 1), (6, 4, 2)])
def test_the_reference_and_its_gradients_are_those_of_the_loop(D: int, N: int, G: int, L: int):
    inputs = core_inputs(2, D, N, L, G, torch.float64)
    assert_alike(with_gradients(state_scan_reference, inputs), with_gradients(by_steps, inputs), 1e-10)


@pytest.mark.parametrize("L", LENGTHS)
@pytest.mark.parametrize(("D", "N", "G"), [(1, 1, 1), (12, 3, 2), (70, 2, 1), (9, 16, 1)])
def test_kernels_equal_the_reference(D: int, N: int, G: int, L: int, instruction_set: int):
    inputs = core_inputs(2, D, N, L, G)
    ours = with_gradients(torch.ops.perception.selective_scan, inputs)
    exact = with_gradients(state_scan_reference, [x.double() for x in inputs])
    assert_alike(ours, [x.float() for x in exact], ORDER)


@pytest.mark.parametrize("softplus", [True, False])
@pytest.mark.parametrize("scale", [1.0, 40.0])         # where the softplus is a curve, and where it is two lines
@pytest.mark.parametrize("L", [1, 63, 130])
def test_kernels_size_their_steps_as_the_reference(L: int, scale: float, softplus: bool, instruction_set: int):
    u, dt, *rest = core_inputs(2, 11, 3, L, 1)
    draw = torch.Generator().manual_seed(2)
    bias = torch.rand(11, generator=draw)
    delta = torch.randn(dt.shape, generator=draw) * scale if softplus else dt
    inputs = [u, delta, *rest, bias]
    ours = with_gradients(lambda *x: torch.ops.perception.selective_scan(*x, softplus), inputs)
    exact = with_gradients(lambda *x: state_scan_reference(*x, softplus), [x.double() for x in inputs])
    assert_alike(ours, [x.float() for x in exact], ORDER)


def test_small_step_sizes_keep_their_digits(instruction_set: int):
    delta = torch.linspace(-30, 30, 128)[None, :, None]
    one = torch.ones(1, 1, 1)
    y, _ = selective_scan(torch.ones(1, 128, 1), delta, -torch.ones(128, 1), one, one, delta_softplus=True)
    close(y, torch.log1p(delta.double().exp()).float(), atol=0, rtol=2e-6)     # one step: h = dt


def test_kernels_give_the_same_numbers_on_any_number_of_threads(num_threads):
    inputs = core_inputs(2, 150, 3, 100, 1)
    results = []
    for threads in (1, 2):
        with num_threads(threads):
            results.append(with_gradients(torch.ops.perception.selective_scan, inputs))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("L", [0, 3, 70])
@pytest.mark.parametrize("sizing", [(None, False), (torch.linspace(-1, 1, 6, dtype=torch.float64), True)])
def test_the_backward_reference_is_torchs_own_gradient(sizing: tuple[Tensor | None, bool], L: int):
    inputs = core_inputs(2, 6, 3, L, 2, torch.float64)
    weights = core_inputs(2, 6, 3, L, 2, torch.float64, seed=1)
    leaves = [x.requires_grad_() for x in inputs]
    y, last = state_scan_reference(*leaves, *sizing)
    score = (y * weights[0]).sum() + (last * weights[5]).sum()
    found = torch.autograd.grad(score, leaves, materialize_grads=True)                     # no step uses nothing
    expected = state_scan_backward_reference(weights[0], weights[5], *(x.detach() for x in inputs), *sizing)
    assert_alike(list(found), list(expected), 1e-10)


def test_the_gradient_is_right_in_double_precision():
    inputs = [x.requires_grad_() for x in core_inputs(1, 4, 2, 5, 2, torch.float64)]
    draw = torch.Generator().manual_seed(3)
    shapes = ((4,), (1, 4, 5), (4,))
    more = [torch.randn(shape, generator=draw, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def run(u, delta, A, B, C, initial, D, z, bias):
        return selective_scan(u, delta, A, B, C, D, z, bias, True, initial)

    assert torch.autograd.gradcheck(run, (*inputs, *more))


@pytest.mark.parametrize("softplus", [True, False])
def test_the_op_keeps_torchs_rules(softplus: bool):
    inputs = [x.requires_grad_() for x in core_inputs(1, 4, 3, 6, 2)]
    bias = torch.ones(4, requires_grad=True) if softplus else None
    torch.library.opcheck(torch.ops.perception.selective_scan.default, (*inputs, bias, softplus))


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_reference])
def test_decays_that_underflow_give_finite_numbers_and_gradients(scan):
    draw = torch.Generator().manual_seed(0)
    u, B, C = (torch.randn(shape, generator=draw) for shape in ((1, 4, 300), (1, 2, 300), (1, 2, 300)))
    delta = torch.logspace(-4, 4, 300).expand(1, 4, 300).clone().requires_grad_()
    y, last = scan(u, delta, -torch.ones(4, 2), B, C)
    y.sum().backward()
    assert y.isfinite().all()
    assert last.isfinite().all()
    assert delta.grad is not None
    assert delta.grad.isfinite().all()


@pytest.mark.parametrize("cut", [0, 1, 64, 129])
def test_a_sequence_cut_in_two_with_its_state_handed_on_is_the_whole(cut: int):
    u, delta, A, B, C, initial = core_inputs(2, 6, 3, 130, 2)
    whole, last = selective_scan(u, delta, A, B, C, initial_state=initial)
    state, parts = initial, []
    for to in (slice(None, cut), slice(cut, None)):
        part, state = selective_scan(u[..., to], delta[..., to], A, B[..., to], C[..., to], initial_state=state)
        parts.append(part)
    assert_alike([torch.cat(parts, 2), state], [whole, last], ORDER)


def test_groups_are_runs_of_channels():
    u, delta, A, B, C, _ = core_inputs(1, 6, 2, 9, 3)
    y, _ = selective_scan(u, delta, A, B, C)
    for group in range(3):
        own = slice(2 * group, 2 * group + 2)
        close(y[:, own], selective_scan(u[:, own], delta[:, own], A[own], B[:, group], C[:, group])[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype):
    u, delta, A, B, C, _ = (x.to(dtype) for x in core_inputs(1, 4, 2, 40, 1))
    y, last = selective_scan(u, delta, A, B, C)
    wide, wide_last = selective_scan(*(x.float() for x in (u, delta, A, B, C)))
    assert torch.equal(y, wide.to(dtype))
    assert torch.equal(last, wide_last)


def test_memory_order_changes_nothing():
    u, delta, A, B, C, _ = core_inputs(2, 6, 3, 20, 1)
    other = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (u, delta)]
    close(selective_scan(*other, A, B, C), selective_scan(u, delta, A, B, C))


@pytest.mark.parametrize(("b", "D", "L"), [(0, 4, 5), (2, 4, 0)])
def test_nothing_to_scan_gives_empty_outputs_and_the_first_state(b: int, D: int, L: int):
    u, delta, A, B, C, initial = core_inputs(b, D, 2, L, 1)
    y, last = selective_scan(u, delta, A, B, C, initial_state=initial)
    assert y.shape == (b, D, L)
    assert torch.equal(last, initial)


def test_the_reference_exports_to_a_graph_without_our_op():
    class Scan(torch.nn.Module):
        def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
            return selective_scan_reference(*inputs)

    inputs = tuple(core_inputs(1, 4, 2, 150, 1)[:5])
    program = torch.export.export(Scan(), inputs)
    assert "perception" not in str(program.graph)
    close(program.module()(*inputs), selective_scan_reference(*inputs))


def test_onnx_runs_the_reference(tmp_path):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")

    class Scan(torch.nn.Module):
        def forward(self, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> tuple[Tensor, Tensor]:
            return selective_scan_reference(u, delta, A, B, C, delta_softplus=True)

    inputs = tuple(core_inputs(1, 4, 2, 150, 1)[:5])
    torch.onnx.export(Scan().eval(), inputs, tmp_path / "scan.onnx", dynamo=True, verbose=False)
    session = runtime.InferenceSession(tmp_path / "scan.onnx")
    feed = {entry.name: x.numpy() for entry, x in zip(session.get_inputs(), inputs, strict=True)}
    for ours, expected in zip(session.run(None, feed), Scan()(*inputs), strict=True):
        close(torch.from_numpy(ours), expected, atol=1e-5, rtol=1e-5)


def test_it_compiles_into_one_graph():
    inputs = core_inputs(1, 4, 2, 30, 1)[:5]
    compiled = torch.compile(selective_scan, fullgraph=True, backend="aot_eager")
    close(compiled(*inputs), selective_scan(*inputs))


def changed_call(name: str) -> dict[str, Tensor]:
    """Right arguments but one."""
    u, delta, A, B, C, initial = core_inputs(1, 4, 2, 5, 1)
    right = {"u": u, "delta": delta, "A": A, "B": B, "C": C}
    wrong: dict[str, dict[str, Tensor]] = {
        "A": {"A": A[:3]}, "delta": {"delta": delta[..., :3]}, "C": {"C": C[:, 0]}, "z": {"z": u[0]},
        "B": {"B": B.expand(1, 3, 2, 5), "C": C.expand(1, 3, 2, 5)}, "initial_state": {"initial_state": initial[0]},
    }
    return right | wrong[name]


@pytest.mark.parametrize(("name", "message"), [
    ("A", r"A must be floating \(4, N\), got torch.float32 \(3, 2\)"),
    ("delta", r"delta must be floating \(1, 4, 5\), got torch.float32 \(1, 4, 3\)"),
    ("C", r"C must be floating \(1, 1, 2, 5\), got torch.float32 \(1, 2, 5\)"),
    ("B", "B must have groups that the 4 channels of u divide into, got 3"),
    ("z", r"z must be floating \(1, 4, 5\), got torch.float32 \(4, 5\)"),
    ("initial_state", r"initial_state must be floating \(1, 4, 2\)"),
])
def test_what_does_not_fit_is_refused_by_name(name: str, message: str):
    with pytest.raises(ValueError, match=message):
        selective_scan(**changed_call(name))


@pytest.mark.skipif(NATIVE is None, reason="native kernels are not in use")
def test_the_kernel_holds_no_state_of_every_step():
    inputs = core_inputs(1, 8, 16, 4096, 1)
    leaves = [x.requires_grad_() for x in inputs]
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        torch.ops.perception.selective_scan(*leaves)
    assert sum(kept) == sum(x.numel() for x in inputs)
