"""ATLAS as a token mixer: streams, masks, gradients, precision, export and what it refuses."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from perception.models.mixers.traits import StreamingMixer
from perception_plugins.atlas import PLUGIN, AtlasMixer

close = torch.testing.assert_close
OPTIMIZERS = ("muon", "momentum", "gd")


def atlas(optimizer: str = "muon", **arguments: object) -> AtlasMixer:
    torch.manual_seed(0)
    sizes = {"heads": 2, "window": 4, "chunk": 4, "hidden": 5, "eta_max": 0.05}
    return AtlasMixer(12, optimizer=optimizer, **{**sizes, **arguments}).double()


def tokens(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("chunk", [1, 4])
@pytest.mark.parametrize("cuts", [[1] * 11, [3, 6, 2], [5, 6], [11]])
def test_a_sequence_cut_anywhere_gives_the_same(optimizer, chunk, cuts):
    mixer, x, state, parts = atlas(optimizer, chunk=chunk), tokens(2, 11, 12), None, []
    assert isinstance(mixer, StreamingMixer)
    for part in x.split(cuts, dim=1):
        out, state = mixer.stream(part, state)
        parts.append(out)
    close(torch.cat(parts, dim=1), mixer(x))
    whole = mixer.stream(x)[1]
    assert set(state) == set(whole)
    for name, value in state.items():
        close(value, whole[name])
        assert len(value) == 2


@pytest.mark.parametrize("chunk", [1, 4])
def test_a_sequence_of_several_segments_is_one_sequence(chunk, monkeypatch):
    mixer, x = atlas(chunk=chunk), tokens(2, 11, 12)
    whole = mixer(x)
    monkeypatch.setattr("perception_plugins.atlas.mixer.SEGMENT", 3)
    close(mixer(x), whole)


def test_a_stream_leaves_its_state_as_it_was():
    mixer = atlas()
    _, state = mixer.stream(tokens(2, 5, 12))
    kept = {name: value.clone() for name, value in state.items()}
    mixer.stream(tokens(2, 6, 12), state)
    assert all(torch.equal(value, kept[name]) for name, value in state.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("count", [1, 3, 9])
def test_a_state_holds_its_own_numbers_alone_and_survives_a_file(optimizer, count, tmp_path):
    mixer, x = atlas(optimizer), tokens(2, 12, 12)
    _, state = mixer.stream(x[:, :count])
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in state.values())
    save_file({name: value.detach() for name, value in state.items()}, tmp_path / "state.safetensors")
    close(mixer.stream(x[:, count:], load_file(tmp_path / "state.safetensors"))[0], mixer(x)[:, count:])


def test_samples_at_different_places_of_a_chunk_run_each_as_alone():
    mixer, x = atlas(), tokens(3, 9, 12)
    starts = [mixer.stream(x[row : row + 1, :count])[1] for row, count in enumerate((3, 5, 3))]
    state = {name: torch.cat([one[name] for one in starts]) for name in starts[0]}
    found, behind = mixer.stream(x[:, 5:], state)
    for row, start in enumerate(starts):
        expected, alone = mixer.stream(x[row : row + 1, 5:], start)
        close(found[row : row + 1], expected)
        for name, value in alone.items():
            close(behind[name][row : row + 1], value)


def test_a_sample_begins_anew_with_the_rows_of_the_first_state():
    mixer, x = atlas(), tokens(2, 6, 12)
    _, state = mixer.stream(x)
    fresh = mixer.start(x)
    reset = {name: torch.cat([value[:1], fresh[name][1:]]) for name, value in state.items()}
    close(mixer.stream(x, reset)[0][1:], mixer(x)[1:])
    close(mixer.stream(x, reset)[0][:1], mixer.stream(x, state)[0][:1])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_masked_tokens_are_as_if_absent(optimizer):
    mixer, x = atlas(optimizer), tokens(2, 9, 12)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, [0, 3, 4]] = mask[1, 7:] = False
    out = mixer(x, None, mask)
    for row in range(2):
        close(out[row, mask[row]], mixer(x[row : row + 1, mask[row]])[0])
    assert not out[~mask].any()


def test_tokens_that_come_later_change_nothing():
    mixer, x = atlas(), tokens(1, 10, 12)
    changed = torch.cat([x[:, :6], 5 * tokens(1, 4, 12)], dim=1)
    close(mixer(x)[:, :6], mixer(changed)[:, :6])


@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_tokens_will_do(count):
    assert atlas()(tokens(2, count, 12)).shape == (2, count, 12)
    mask = torch.zeros(2, count, dtype=torch.bool)
    assert not atlas()(tokens(2, count, 12), None, mask).any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gradients_are_those_of_finite_differences(optimizer):
    mixer = atlas(optimizer, window=2, chunk=2, heads=3, hidden=2)
    x = tokens(1, 4, 12).requires_grad_()
    assert torch.autograd.gradcheck(lambda x, w: _with(mixer, w)(x), (x, mixer.mem_w1.detach().requires_grad_()))


def _with(mixer: AtlasMixer, weight: Tensor) -> object:
    return lambda x: torch.func.functional_call(mixer, {"mem_w1": weight}, (x,))


def test_running_chunks_again_gives_the_same_gradients():
    plain, again, x = atlas(), atlas(checkpointing=True), tokens(2, 11, 12)
    for mixer in (plain, again):
        mixer(x).square().sum().backward()
    for one, other in zip(plain.parameters(), again.parameters(), strict=True):
        close(one.grad, other.grad)


def test_it_keeps_its_sums_in_float32_under_autocast():
    mixer = AtlasMixer(16, heads=2, chunk=4)
    x = torch.randn(2, 9, 16)
    with torch.autocast("cpu", torch.bfloat16):
        out, state = mixer.stream(x)
    assert all(value.dtype in (torch.float32, torch.int64) for value in state.values())
    close(out.float(), mixer(x), atol=0.05, rtol=0.1)        # three projections in 8 bits


def test_it_exports():
    mixer = AtlasMixer(16, heads=2, chunk=4).eval()
    x, mask = torch.randn(2, 9, 16), torch.rand(2, 9) > 0.3
    exported = torch.export.export(mixer, (x, None, mask)).module()
    changed = torch.randn(2, 9, 16)
    close(exported(changed, None, ~mask), mixer(changed, None, ~mask))


def test_it_begins_with_the_gates_that_the_sheet_suggests_in_any_network():
    mixer = AtlasMixer(16)
    torch.nn.init.zeros_(mixer.alpha_proj.bias)
    mixer.init_weights()
    gates = (mixer.alpha_proj, mixer.eta_proj, mixer.theta_proj, mixer.gamma_proj)
    assert [gate.bias.unique().item() for gate in gates] == [3, 0, 1, 1]


def test_the_state_of_the_sheets_example_is_as_large_as_it_says():
    with torch.device("meta"):
        mixer = AtlasMixer(256, heads=8, degree=2, hidden=64, window=64, chunk=16)
        state = mixer.start(torch.empty(1, 1, 256))
    sizes = {kind: sum(value.numel() for name, value in state.items() if name[0] == kind) // 8 for kind in "WSR"}
    assert sizes["W"] + sizes["S"] == 139_392
    assert sizes["R"] == 69_696


@pytest.mark.parametrize(("arguments", "message"), [
    ({"heads": 5}, r"channels \(12\) must be divisible by heads \(5\)"),
    ({"degree": 3}, "degree must be 1 or 2, got 3"),
    ({"memory": "deep"}, "memory must be one of mlp, linear, got 'deep'"),
    ({"optimizer": "adam"}, "optimizer must be one of muon, momentum, gd, got 'adam'"),
    ({"window": 0}, "window and chunk must be >= 1, got 0 and 4"),
    ({"conv_kernel": 0}, "conv_kernel must be >= 1, got 0"),
])
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        atlas(**{"optimizer": "muon", **arguments})


def test_the_plugin_says_that_there_is_no_official_code():
    assert PLUGIN.official == ""
    assert "no official code" in PLUGIN.parity
