"""Causal mixers of the linear attention zoo: nothing of the future is seen, and tokens can come one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from zoo_mixers import CHANNELS, HEADS, STREAMING, build, holes, tokens

from perception.models.mixers.traits import State
from perception_plugins.linear_attention_zoo import PerformerMixer, performer

close = torch.testing.assert_close
every_stream = pytest.mark.parametrize("name", STREAMING)


def streamed(mixer: nn.Module, x: Tensor, cuts: Sequence[int], state: State | None = None) -> tuple[Tensor, State]:
    """The tokens in pieces of these lengths."""
    parts = []
    for piece in x.split(list(cuts), dim=1):
        y, state = mixer.stream(piece, state)
        parts.append(y)
    return torch.cat(parts, dim=1), state


@every_stream
@pytest.mark.parametrize("cuts", [[1] * 70, [70], [1, 69], [3, 64, 3], [5, 1, 7, 57]], ids=str)
def test_a_row_cut_anywhere_gives_what_the_whole_gives(name, cuts):
    mixer, x = build(name, causal=True), tokens(70)
    close(streamed(mixer, x, cuts)[0], mixer(x), atol=1e-10, rtol=1e-10)


@every_stream
def test_float32_streams_as_well(name):
    mixer, x = build(name, torch.float32, causal=True), tokens(70, dtype=torch.float32)
    close(streamed(mixer, x, [1] * 70)[0], mixer(x), atol=2e-5, rtol=1e-5)


@every_stream
def test_later_tokens_change_nothing_before_them(name):
    mixer, x = build(name, causal=True), tokens(70)
    changed = torch.cat([x[:, :41], 5 * tokens(29, seed=3)], dim=1)
    close(mixer(changed)[:, :41], mixer(x)[:, :41])
    close(mixer(x[:, :41]), mixer(x)[:, :41])


@pytest.mark.parametrize("name", ["performer", "performer_relu", "linear"])                    # a window counts places
def test_masked_tokens_are_as_if_there_were_none(name):
    mixer, x, mask = build(name, causal=True), tokens(40), holes(40)
    y = mixer(x, mask=mask)
    for sample in range(2):
        close(y[sample][mask[sample]], mixer(x[sample][mask[sample]][None])[0])


@every_stream
def test_a_state_has_one_size_stays_as_it_is_and_serves_chosen_samples(name):
    mixer, x = build(name, causal=True), tokens(30)
    _, state = mixer.stream(x[:, :11])
    kept = {key: value.clone() for key, value in state.items()}
    y, later = mixer.stream(x[:, 11:], state)
    assert {key: value.shape for key, value in later.items()} == {key: value.shape for key, value in state.items()}
    assert all(torch.equal(state[key], value) for key, value in kept.items())
    chosen = {key: value[[1]] for key, value in state.items()}
    close(mixer.stream(x[[1], 11:], chosen)[0], y[[1]])


@every_stream
def test_samples_of_unequal_age_go_on_together(name):
    mixer, x, count = build(name, causal=True), tokens(30), 9
    young, old = mixer.stream(x[:1, :1])[1], mixer.stream(x[1:, :21])[1]
    together = {key: torch.cat([young[key], old[key]]) for key in young}
    new = torch.stack([x[0, 1 : 1 + count], x[1, 21 : 21 + count]])
    y, _ = mixer.stream(new, together)
    close(y, torch.stack([mixer(x)[0, 1 : 1 + count], mixer(x)[1, 21 : 21 + count]]))


@every_stream
def test_states_are_float32_under_mixed_precision(name):
    mixer, x = build(name, torch.float32, causal=True), tokens(9, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        _, state = streamed(mixer, x, [4, 5])
    assert {value.dtype for key, value in state.items() if key != "count"} == {torch.float32}


@every_stream
def test_gradients_flow_through_a_state(name):
    mixer, x = build(name, causal=True), tokens(8).requires_grad_()
    (whole,) = torch.autograd.grad(mixer(x).square().sum(), x)
    (cut,) = torch.autograd.grad(streamed(mixer, x, [3, 5])[0].square().sum(), x)
    close(cut, whole)


@every_stream
def test_a_mixer_that_is_not_causal_does_not_stream(name):
    with pytest.raises(ValueError, match=r"stream needs a \w+Mixer with causal=True, got causal=False"):
        build(name).stream(tokens(3))


def test_a_performer_that_looks_at_future_keys_does_not_stream():
    mixer = PerformerMixer(CHANNELS, heads=HEADS, causal=True, future_max=True)
    with pytest.raises(ValueError, match="stream knows no later tokens, got a PerformerMixer with future_max=True"):
        mixer.stream(torch.zeros(1, 2, CHANNELS))


@pytest.mark.parametrize("causal", [False, True])
def test_blocks_of_a_performer_change_nothing(causal, monkeypatch):
    mixer, x, mask = build("performer", causal=causal), tokens(70), holes(70)
    whole = mixer(x, mask=mask)
    monkeypatch.setattr(performer, "BLOCK", 16)
    close(mixer(x, mask=mask), whole)


def test_what_is_added_to_features_of_a_performer_alone_notices_future_keys():
    x, mixers = tokens(40), [build("performer", causal=True, future_max=future) for future in (False, True)]
    so_far, of_all = (mixer(x) for mixer in mixers)
    assert (so_far - of_all).abs().max() > 1e-3
    close(of_all[:, -1], build("performer")(x)[:, -1])
    close(so_far[:, -1], of_all[:, -1])
    for mixer in mixers:
        mixer.kernel.eps = 0.0
    close(mixers[0](x), mixers[1](x))


def test_each_token_of_causal_linear_attention_is_the_last_of_its_prefix():
    mixer, free, x = build("linear", causal=True), build("linear"), tokens(30)
    close(mixer(x), torch.stack([free(x[:, : i + 1])[:, -1] for i in range(30)], dim=1))


def test_linear_attention_is_the_published_recurrence():
    mixer, x = build("linear", causal=True), tokens(70, batch=1)
    q, k, v = mixer.project(x)
    q, k = (torch.where(part > 0, part + 1, part.exp()) for part in (q, k))                    # elu + 1
    s, z, rows = torch.zeros(HEADS, 8, 8, dtype=x.dtype), torch.zeros(HEADS, 8, dtype=x.dtype), []
    for i in range(70):
        s = s + k[0, :, i, :, None] * v[0, :, i, None]
        z = z + k[0, :, i]
        seen = (q[0, :, i, None] @ s)[:, 0]                                                    # (heads, D)
        rows.append(seen / ((q[0, :, i] * z).sum(dim=1, keepdim=True) + 1e-6))
    close(mixer(x), mixer.proj(torch.stack(rows).flatten(1))[None])
