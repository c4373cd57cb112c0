"""The memory between the BEV encoder and the head."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from moving_frames import REGION, SIZE, drive, frame_at, maps, world_seen_from
from torch import Tensor, nn

from perception.errors import ConfigError
from perception.models.mixers.traits import MixerTraits, State
from perception.models.temporal.memory_state import MemoryState
from perception.models.temporal.temporal_memory import TemporalMemory
from perception.registry import MODELS

RECURRENT = {"type": "RecurrentMixer"}
close = torch.testing.assert_close


class Before(nn.Module):
    """Gives the token before each token, and 7 for the first: a state that begins with other than zeros."""

    TRAITS = MixerTraits(cost="N", causal="always", streaming=True)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        last = torch.full_like(x[:, 0], 7.0) if state is None else state["last"]
        return torch.cat([last[:, None], x[:, :-1]], dim=1), {"last": x[:, -1]}


def memory(channels: int = 4, mixer: dict | None = None, **options: object) -> TemporalMemory:
    torch.manual_seed(0)
    return MODELS.build({"type": "TemporalMemory", "channels": channels, "mixer": mixer or RECURRENT,
                         "region": REGION, **options}).eval()


def remembering_maps(**options: object) -> TemporalMemory:
    """A memory that adds the map before, moved, to the present one, and changes nothing else."""
    model = memory(1, {"type": "IdentityMixer"} | RECURRENT, kernel=1, **options)
    model.mixer, model.norm = Before(), nn.Identity()
    for layer in (model.enter, model.leave):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    nn.init.zeros_(model.age.weight)
    return model


@torch.no_grad()
def told(model: TemporalMemory, bev: Tensor, *args: object, **options: object) -> Tensor:
    return model(bev, *args, **options)[0] - bev


def test_a_static_world_is_remembered_where_it_is_now_and_new_cells_begin_anew():
    frames = [frame_at(0.0), frame_at(0.5, 2.0, 1.0, 0.1)]
    bev = world_seen_from(frames)
    first, second = told(remembering_maps(), bev, frames, steps=2)[:, 0]
    close(first, torch.full(SIZE, 7.0))
    new, known = (second - 7.0).abs() < 1e-3, (second - bev[1, 0]).abs() < 1e-3
    assert new[:, -2:].all()                               # the two metres ahead
    assert not new[2:-3, 1:-4].any()
    assert known[2:-3, 1:-4].all()


def test_without_the_motion_a_static_world_would_be_remembered_elsewhere():
    frames = [frame_at(0.0), frame_at(0.5, 2.0, 1.0, 0.1)]
    bev, still = world_seen_from(frames), [frame_at(0.0), frame_at(0.5)]
    wrong = told(remembering_maps(), bev, still, steps=2)[1, 0] - bev[1, 0]
    assert (wrong.abs() > 1.0).all()


def test_a_map_of_a_vehicle_that_stands_is_remembered_exactly():
    bev = maps(2, 1)
    frames = [frame_at(0.0, 3e5, 5e6, 0.4), frame_at(0.1, 3e5, 5e6, 0.4)]
    close(told(remembering_maps(), bev, frames, steps=2)[1], bev[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [
    {}, {"sampling": "nearest"}, {"over": "tokens"}, {"stride": 2, "width": 6, "kernel": 1},
])
def test_frame_by_frame_gives_what_the_whole_clip_gives(options):
    model, bev, frames = memory(**options), maps(5, 4), drive(5)
    whole, behind = model(bev, frames, steps=5)
    state, single = None, []
    for x, frame in zip(bev, frames, strict=True):
        fused, state = model(x[None], [frame], state)
        single.append(fused)
    close(torch.cat(single), whole, atol=1e-6, rtol=1e-5)
    assert behind.tensors.keys() == state.tensors.keys()
    for name, tensor in behind.tensors.items():
        close(tensor, state.tensors[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("over", ["cells", "tokens"])
def test_streams_side_by_side_know_nothing_of_each_other(over):
    model, drives = memory(over=over), (drive(3), drive(3, step=-0.5, scene="other"))
    bev = maps(6, 4)
    both = told(model, bev, [frame for pair in zip(*drives, strict=True) for frame in pair], steps=3)
    for number, frames in enumerate(drives):
        close(told(model, bev[number::2], frames, steps=3), both[number::2], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("second", [
    frame_at(0.5, 0.3, scene="another"), frame_at(1.7, 0.3), frame_at(0.0, 0.3), frame_at(-0.2, 0.3),
    frame_at(0.5, 40.0), replace(frame_at(0.5, 0.3), global_from_ego=None),
], ids=["scene", "gap", "same time", "earlier", "jump", "no pose"])
@pytest.mark.parametrize("over", ["cells", "tokens"])
def test_a_stream_begins_anew(second, over):
    model, bev = memory(over=over), maps(2, 4)
    close(told(model, bev, [frame_at(0.0), second], steps=2)[1:], told(model, bev[1:], [second]))


def test_one_stream_begins_anew_while_the_other_goes_on():
    model, bev = memory(), maps(4, 4)
    frames = [frame_at(0.0), frame_at(0.0, scene="b"), frame_at(0.5, 0.2), frame_at(0.5, 0.2, scene="c")]
    both = told(model, bev, frames, steps=2)
    close(both[2:3], told(model, bev[::2], frames[::2], steps=2)[1:])
    close(both[3:], told(model, bev[3:]))


def test_a_frame_without_pose_is_remembered_by_none():
    model, bev = memory(), maps(2, 4)
    unknown = replace(frame_at(0.0), global_from_ego=None)
    close(told(model, bev, [unknown, frame_at(0.5)], steps=2)[1:], told(model, bev[1:]))


def test_the_age_of_what_is_remembered_makes_a_difference():
    model, bev = memory(), maps(2, 4)
    soon, later = (told(model, bev, [frame_at(0.0), frame_at(gap)], steps=2)[1] for gap in (0.1, 1.4))
    assert (soon - later).abs().max() > 1e-3


def test_over_tokens_a_frame_goes_on_where_the_frame_before_stopped():
    model, bev, frames = memory(over="tokens", kernel=1), maps(2, 4), drive(2)
    nn.init.zeros_(model.age.weight)
    tokens = model.norm(model.enter(bev).movedim(1, 3)).view(1, -1, 4)         # the cells of both frames in a row
    mixed = model.mixer(tokens).view(2, *SIZE, 4).movedim(3, 1)
    close(told(model, bev, frames, steps=2), model.leave(mixed), atol=1e-6, rtol=1e-5)


def test_gradients_end_where_a_clip_is_cut():
    bev = maps(3, 4).requires_grad_()
    reached = []
    for truncate in (None, 1, 2):
        fused, _ = memory(truncate=truncate)(bev, drive(3), steps=3)
        (grad,) = torch.autograd.grad(fused[2].square().sum(), bev)
        reached.append([bool(part.abs().sum() > 0) for part in grad])
    assert reached == [[True, True, True], [False, False, True], [False, False, True]]


def test_every_parameter_learns_from_a_clip():
    model = memory().train()
    model(maps(4, 4), drive(4), steps=2)[0].square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize(("loss_steps", "kept"), [(None, 6), (1, 2), (2, 4), (9, 6)])
def test_losses_are_taken_of_the_last_steps(loss_steps, kept):
    assert memory(loss_steps=loss_steps).first_learned(6, steps=3) == 6 - kept


def test_under_bfloat16_the_state_stays_in_float32():
    model, bev, frames = memory(), maps(2, 4), drive(2)
    with torch.autocast("cpu", torch.bfloat16):
        fused, state = model(bev, frames, steps=2)
    assert {tensor.dtype for tensor in state.tensors.values()} == {torch.float32}
    close(fused.float(), model(bev, frames, steps=2)[0], atol=0.05, rtol=0.05)      # bfloat16 has 8 bits


def test_a_state_goes_on_after_it_was_saved(tmp_path):
    model, bev, frames = memory(), maps(3, 4), drive(3)
    _, state = model(bev[:2], frames[:2], steps=2)
    state.save(tmp_path / "state.safetensors")
    again = MemoryState.load(tmp_path / "state.safetensors")
    assert torch.equal(told(model, bev[2:], frames[2:], state), told(model, bev[2:], frames[2:], again))


def test_a_state_that_was_reset_knows_nothing():
    model, bev, frames = memory(), maps(2, 4), drive(2)
    _, state = model(bev[:1], frames[:1])
    assert torch.equal(told(model, bev[1:], frames[1:], state.reset()), told(model, bev[1:], frames[1:]))


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"mixer": {"type": "AttentionMixer", "heads": 2}}, ConfigError, "needs a mixer that streams, got AttentionMixer"),
    ({"region": (0, 0, 0, 1)}, ValueError, r"region must be x0 < x1 and y0 < y1 .* got \(0, 0, 0, 1\)"),
    ({"kernel": 2}, ValueError, "kernel must be odd and >= 1, got 2"),
    ({"over": "time"}, ValueError, 'over must be "cells" or "tokens", got \'time\''),
    ({"max_gap_s": 0.0}, ValueError, r"must be > 0, got 0.0 and 70.0"),
    ({"truncate": 0}, ValueError, "truncate must be >= 1, got 0"),
])
def test_a_memory_that_cannot_be_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        memory(**options)


def test_wrong_calls_are_refused():
    model, bev, frames = memory(), maps(2, 4), drive(2)
    _, state = model(bev[:1], frames[:1])
    with pytest.raises(ValueError, match="2 steps need as many frames as maps, got 1 and 2"):
        model(bev, frames[:1], steps=2)
    with pytest.raises(ValueError, match="needs the frames of the maps, got none"):
        model(bev, (), state)
    with pytest.raises(ValueError, match="the state must be of 2 streams, got 1"):
        model(bev, frames, state)
    with pytest.raises(ValueError, match=r"the state must have 48 rows, got \[192\]"):
        model(bev[1:, :, ::2, ::2], frames[1:], state)
    with pytest.raises(ValueError, match="must be of RecurrentMixer of 4 channels over tokens, got one of Recurrent"):
        memory(over="tokens")(bev[:1], frames[:1], state)
    with pytest.raises(ValueError, match=r"multiples of 5 cells, got \(12, 16\)"):
        memory(stride=5)(bev, frames)
