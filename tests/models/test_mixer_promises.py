"""Whether what mixers promise of themselves is true, and those that stream as the memory of past frames.

A mixer whose causal option is not called ``causal`` tells it in `CAUSAL`, one whose step cannot be exported as it is by
default, in `EXPORTED_WITH`.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from moving_frames import REGION, drive
from test_token_mixers import (
    CHANNEL_MIXERS,
    CHANNELS,
    TOKEN_MIXERS,
    assert_all_learn,
    close,
    mixer_config,
    quiet_export,
)
from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits, State, StreamingMixer
from perception.models.temporal.memory_state import MemoryState
from perception.models.temporal.temporal_memory import TemporalMemory
from perception.registry import MODELS

CAUSAL: dict[str, dict[str, Any]] = {}                     # by name, where it is not {"causal": True}
EXPORTED_WITH: dict[str, dict[str, Any]] = {               # by name, what the export of a step needs
    "AtlasMixer": {"chunk": 1},                            # else a step asks the state for its place in a chunk
}
LOUDER = {"SpikingAttentionMixer": 10.0}                   # its neurons are silent at weights that are not trained
COSTS = ("N", "N log N", "N^1.5", "N^2")
CAUSAL_MIXERS = [name for name in TOKEN_MIXERS if MODELS.module_dict[name].TRAITS.causal != "never"]
STREAMING_MIXERS = [name for name in TOKEN_MIXERS if MODELS.module_dict[name].TRAITS.streaming]


def causal_config(name: str, size: tuple[int, int]) -> dict[str, Any]:
    """Config of a mixer, with its causal option if that is one."""
    option = CAUSAL.get(name, {"causal": True}) if MODELS.module_dict[name].TRAITS.causal == "option" else {}
    return {**mixer_config(name, size), **option}


def causal_mixer(name: str, size: tuple[int, int]) -> nn.Module:
    """A mixer none of whose tokens sees a later one, in evaluation mode."""
    return MODELS.build({"channels": CHANNELS, **causal_config(name, size)}).eval()


@pytest.mark.parametrize("name", TOKEN_MIXERS + CHANNEL_MIXERS)
def test_every_mixer_tells_what_it_promises(name):
    traits = MODELS.module_dict[name].TRAITS
    assert isinstance(traits, MixerTraits)
    assert traits.cost in COSTS
    assert traits.masked
    assert not traits.streaming or traits.causal != "never"
    assert traits.streaming == issubclass(MODELS.module_dict[name], StreamingMixer)


@pytest.mark.parametrize("name", CAUSAL_MIXERS)
@torch.no_grad()
def test_no_token_of_a_causal_mixer_sees_a_later_one(name):
    mixer, x = causal_mixer(name, (4, 6)), torch.randn(2, 24, CHANNELS)
    for last in (1, 13, 23):
        changed = torch.cat([x[:, :last], torch.randn(2, 24 - last, CHANNELS)], dim=1)
        close(mixer(changed, (4, 6))[:, :last], mixer(x, (4, 6))[:, :last], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in TOKEN_MIXERS if name not in CAUSAL_MIXERS])
@torch.no_grad()
def test_tokens_of_a_mixer_that_is_not_causal_see_later_ones(name):
    mixer, x = MODELS.build({"channels": CHANNELS, **mixer_config(name, (4, 6))}).eval(), torch.randn(2, 24, CHANNELS)
    for parameter in mixer.parameters():
        parameter.mul_(LOUDER.get(name, 1.0))
    changed = torch.cat([x[:, :12], 10 * torch.randn(2, 12, CHANNELS)], dim=1)
    assert (mixer(changed, (4, 6)) - mixer(x, (4, 6)))[:, :12].abs().max() > 1e-6


@pytest.mark.parametrize("name", STREAMING_MIXERS)
@torch.no_grad()
def test_a_stream_cut_anywhere_gives_what_the_whole_sequence_gives(name):
    mixer, x = causal_mixer(name, (1, 23)), torch.randn(2, 23, CHANNELS)
    whole, behind = mixer.stream(x)
    close(whole, mixer(x, (1, 23)), atol=1e-4, rtol=1e-4)
    state, parts = None, []
    for part in x.split([1, 1, 5, 16], dim=1):
        before = None if state is None else {key: tensor.clone() for key, tensor in state.items()}
        y, after = mixer.stream(part, state)
        assert state is None or all(torch.equal(state[key], before[key]) for key in state)         # left as it was
        parts.append(y)
        state = after
    close(torch.cat(parts, dim=1), whole, atol=1e-4, rtol=1e-4)
    assert state.keys() == behind.keys()
    for key, tensor in state.items():
        assert len(tensor) == 2
        close(tensor, behind[key], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", STREAMING_MIXERS)
@torch.no_grad()
def test_the_samples_of_a_state_go_on_by_themselves(name):
    mixer, x = causal_mixer(name, (1, 8)), torch.randn(3, 8, CHANNELS)
    _, state = mixer.stream(x[:, :5])
    chosen = {key: tensor[[2, 0]] for key, tensor in state.items()}
    close(mixer.stream(x[[2, 0], 5:], chosen)[0], mixer(x, (1, 8))[[2, 0], 5:], atol=1e-4, rtol=1e-4)


def temporal_memory(name: str, over: str) -> TemporalMemory:
    """A memory of past frames with a mixer."""
    mixer = causal_config(name, (1, 1))
    return TemporalMemory(8, mixer, REGION, width=CHANNELS, over=over)


@pytest.mark.parametrize("over", ["cells", "tokens"])
@pytest.mark.parametrize("name", STREAMING_MIXERS)
def test_a_memory_of_past_frames_learns_with_any_mixer_that_streams(name, over):
    memory, frames = temporal_memory(name, over), drive(3)
    bev = torch.randn(3, 8, 4, 6, requires_grad=True)
    fused, state = memory(bev, frames, steps=3)
    assert fused.shape == bev.shape
    assert state.last_ns == frames[-1].timestamp_ns
    (told,) = torch.autograd.grad((fused - bev)[2].square().sum(), bev, retain_graph=True)
    assert all(part.abs().sum() > 0 for part in told)      # the last frame is told of all before it
    assert_all_learn(memory, [bev], [fused])


@pytest.mark.parametrize("over", ["cells", "tokens"])
@pytest.mark.parametrize("name", STREAMING_MIXERS)
@torch.no_grad()
def test_a_memory_of_past_frames_goes_on_as_a_clip_does_with_any_mixer(name, over, tmp_path):
    memory, frames, bev = temporal_memory(name, over).eval(), drive(4), torch.randn(4, 8, 4, 6)
    whole, _ = memory(bev, frames, steps=4)
    first, state = memory(bev[:2], frames[:2], steps=2)
    state.save(tmp_path / "state.safetensors")
    rest, _ = memory(bev[2:], frames[2:], MemoryState.load(tmp_path / "state.safetensors"), steps=2)
    close(torch.cat([first, rest]), whole, atol=1e-4, rtol=1e-4)


class Streamed(nn.Module):
    """The stream of a mixer as a forward pass.

    Args:
        mixer: the mixer.
    """

    def __init__(self, mixer: nn.Module) -> None:
        super().__init__()
        self.mixer = mixer

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See `StreamingMixer.stream`."""
        return self.mixer.stream(x, state)


@pytest.mark.parametrize("name", STREAMING_MIXERS)
@quiet_export
@torch.no_grad()
def test_an_exported_step_of_a_stream_gives_the_same_of_another_state(name):
    config = {**causal_config(name, (1, 1)), **EXPORTED_WITH.get(name, {})}
    step, x = Streamed(MODELS.build({"channels": CHANNELS, **config})).eval(), torch.randn(4, 2, 1, CHANNELS)
    _, state = step.mixer.stream(x[0])
    exported = torch.export.export(step, (x[1], state)).module()
    _, state = step.mixer.stream(x[2], state)
    for got, expected in zip(exported(x[3], state), step(x[3], state), strict=True):
        close(got, expected, atol=1e-5, rtol=1e-5)
