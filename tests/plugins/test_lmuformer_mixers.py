"""Legendre memories as token mixers: streams, masks, norms, precision and export."""

from __future__ import annotations

import pytest
import torch
from lively_norms import make_lively
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from perception.models.mixers.traits import StreamingMixer
from perception_plugins.lmuformer import LMUMixer, NormedFeedForward, SpikingAttentionMixer, SpikingLMUMixer

close = torch.testing.assert_close
KINDS = {
    "numbers": LMUMixer, "membrane": SpikingLMUMixer,
    "spikes": lambda channels, **arguments: SpikingLMUMixer(channels, shortcut="spikes", **arguments),
}
every_kind = pytest.mark.parametrize("kind", list(KINDS))


def lived_in(kind: str, **arguments: object) -> nn.Module:
    """A mixer in evaluation, in float64, whose norms have seen tokens and whose neurons spike now and then."""
    torch.manual_seed(0)
    mixer = KINDS[kind](8, **{"theta": 12, **arguments}).double()
    make_lively(mixer)
    for _ in range(20):
        mixer(tokens(4, 12))
    return mixer.eval()


def tokens(batch: int, count: int) -> Tensor:
    return torch.randn(batch, count, 8, generator=torch.Generator().manual_seed(count), dtype=torch.float64)


@every_kind
@pytest.mark.parametrize("cuts", [[1] * 20, [3, 16, 1], [20], [17, 3]])
def test_a_sequence_cut_anywhere_gives_the_same(kind, cuts):
    mixer, x, state, parts = lived_in(kind), tokens(2, 20), None, []
    assert isinstance(mixer, StreamingMixer)
    for part in x.split(cuts, dim=1):
        out, state = mixer.stream(part, state)
        parts.append(out)
    close(torch.cat(parts, dim=1), mixer(x))
    assert all(len(value) == 2 for value in state.values())


@every_kind
@pytest.mark.parametrize("form", ["chunks", "fft"])
def test_a_state_holds_its_own_numbers_alone_and_survives_a_file(kind, form, tmp_path):
    mixer, x = lived_in(kind, form=form), tokens(1, 12)
    _, state = mixer.stream(x[:, :5])
    assert all(value.untyped_storage().nbytes() == value.nbytes for value in state.values())
    save_file({name: value.detach() for name, value in state.items()}, tmp_path / "state.safetensors")
    restored = mixer.stream(x[:, 5:], load_file(tmp_path / "state.safetensors"))[0]
    assert torch.equal(restored, mixer.stream(x[:, 5:], state)[0])


@pytest.mark.parametrize("kind", ["membrane", "spikes"])
def test_neurons_spike_now_and_then_in_these_tests(kind):
    mixer, rates = lived_in(kind), []
    for lif in (mixer.cell.signal_lif, mixer.cell.memory_lif, mixer.cell.read_lif):
        lif.register_forward_hook(lambda _, __, out: rates.append(out[0].mean().item()))
    mixer(tokens(2, 20))
    assert all(0.01 < rate < 0.99 for rate in rates)


@every_kind
def test_a_sequence_of_several_segments_is_one_sequence(kind, monkeypatch):
    mixer, x = lived_in(kind), tokens(2, 21)
    whole = mixer(x)
    for module in ("cell", "spiking_mixer"):
        monkeypatch.setattr(f"perception_plugins.lmuformer.{module}.SEGMENT", 8)
    close(mixer(x), whole)


@every_kind
def test_both_forms_of_the_memory_give_the_same(kind):
    one, other = lived_in(kind), lived_in(kind, form="fft")
    other.load_state_dict(one.state_dict())
    close(one(tokens(2, 21)), other(tokens(2, 21)), atol=1e-6, rtol=1e-5)    # the response is kept in float32


@every_kind
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_masked_tokens_are_as_if_absent(kind, norm):
    mixer, x = lived_in(kind, norm=norm), 3 * tokens(2, 9)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, [0, 3, 4]] = mask[1, 7:] = False
    out = mixer(x, None, mask)
    for row in range(2):
        close(out[row, mask[row]], mixer(x[row : row + 1, mask[row]])[0])
    assert not out[~mask].any()


@every_kind
def test_in_training_masked_tokens_change_neither_outputs_nor_statistics(kind):
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, [0, 3, 4]] = mask[1, 7:] = False
    one, other = lived_in(kind).train(), lived_in(kind).train()
    changed = torch.where(mask[:, :, None], tokens(2, 9), 100.0)
    close(one(tokens(2, 9), None, mask), other(changed, None, mask))
    for name, value in one.state_dict().items():
        close(value, other.state_dict()[name])


@every_kind
def test_without_norms_a_stream_in_training_is_the_whole(kind):
    mixer, x = lived_in(kind, norm="none").train(), 3 * tokens(2, 6)
    first, state = mixer.stream(x[:, :4])
    second, _ = mixer.stream(x[:, 4:], state)
    close(torch.cat([first, second], dim=1), mixer(x))


@every_kind
def test_a_token_that_comes_later_changes_nothing(kind):
    mixer, x = lived_in(kind), tokens(1, 12)
    changed = torch.cat([x[:, :7], 3 * tokens(1, 5)], dim=1)
    close(mixer(x)[:, :7], mixer(changed)[:, :7])


@every_kind
@pytest.mark.parametrize("count", [0, 1, 5])
def test_any_number_of_tokens_will_do(kind, count):
    mixer, mask = lived_in(kind), torch.zeros(2, count, dtype=torch.bool)
    assert mixer(tokens(2, count)).shape == (2, count, 8)
    assert not mixer(tokens(2, count), None, mask).any()


@every_kind
def test_states_stay_in_float32_under_autocast(kind):
    mixer, x = lived_in(kind).float(), tokens(2, 9).float()
    with torch.autocast("cpu", torch.bfloat16):
        out, state = mixer.stream(x)
    assert out.isfinite().all()
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("kind", [*KINDS, "fft", "attention"])
def test_it_exports(kind):
    x, mask = tokens(2, 9).float(), torch.arange(9).expand(2, 9) != 4
    if kind == "attention":
        torch.manual_seed(0)
        mixer: nn.Module = SpikingAttentionMixer(8).eval()
    else:
        mixer = (lived_in("numbers", form="fft") if kind == "fft" else lived_in(kind)).float()
    exported = torch.export.export(mixer, (x, None, mask)).module()
    changed = 2 * x.flip(1)
    close(exported(changed, None, ~mask), mixer(changed, None, ~mask))


def test_the_form_in_chunks_runs_in_onnxruntime(tmp_path):
    pytest.importorskip("onnxscript", reason="the extra [deploy] is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="the extra [deploy] is not installed")
    mixer, x = lived_in("numbers").float(), tokens(1, 19).float()
    torch.onnx.export(mixer, (x,), dynamo=True, verbose=False).save(tmp_path / "mixer.onnx")
    session = runtime.InferenceSession(tmp_path / "mixer.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    close(torch.from_numpy(found), mixer(x), atol=1e-5, rtol=1e-5)


def test_attention_among_spikes_by_its_weights():
    torch.manual_seed(0)
    mixer, x = SpikingAttentionMixer(8, heads=2).double(), 2 * tokens(2, 7)
    make_lively(mixer)
    for norm in (mixer.q_norm, mixer.k_norm, mixer.v_norm):
        nn.init.constant_(norm.norm.bias, 2.0)
    mixer.eval()
    spikes, _ = mixer.lif(mixer.before(x))
    q, k, v = (
        mixer.lif(norm(linear(spikes)))[0].unflatten(2, (2, 4)).transpose(1, 2)
        for linear, norm in ((mixer.q, mixer.q_norm), (mixer.k, mixer.k_norm), (mixer.v, mixer.v_norm))
    )
    found, _ = mixer.mixed_lif((0.25 * (q @ k.mT) @ v).transpose(1, 2).flatten(2))
    assert 0 < found.mean() < 1
    close(mixer(x), mixer.norm(mixer.proj(found)))


def test_attention_among_spikes_passes_masked_tokens_over():
    torch.manual_seed(0)
    mixer, x = SpikingAttentionMixer(8, heads=2).double().eval(), 4 * tokens(2, 9)
    make_lively(mixer)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[0, [0, 3, 4]] = mask[1, 7:] = False
    out = mixer(x, None, mask)
    for row in range(2):
        close(out[row, mask[row]], mixer(x[row : row + 1, mask[row]])[0])


def test_a_normed_feed_forward_net_by_its_layers():
    mixer, x = NormedFeedForward(8, ratio=2).double(), tokens(2, 5)
    mixer(x)
    mixer.eval()
    hidden = torch.nn.functional.gelu(mixer.norm1.norm(mixer.fc1(x)))
    close(mixer(x), mixer.norm2.norm(mixer.fc2(hidden)).relu())


@pytest.mark.parametrize(("build", "message"), [
    (lambda: SpikingLMUMixer(4, shortcut="sum"), "shortcut must be membrane or spikes, got 'sum'"),
    (lambda: SpikingAttentionMixer(4, heads=3), r"channels \(4\) must be divisible by heads \(3\)"),
    (lambda: NormedFeedForward(2, ratio=0.4), "the hidden width must be >= 1, got 0 for 2 channels"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
