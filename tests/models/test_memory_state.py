"""The state of a temporal memory as a value."""

from __future__ import annotations

import pytest
import torch
from moving_frames import frame_at
from safetensors.torch import save_file

from perception.errors import CheckpointError
from perception.models.temporal.memory_state import MemoryState, Moment

MOMENTS = (Moment.of(frame_at(0.25, 4e5, 5e6, 0.7)), None, Moment("c", 3, None))


def state() -> MemoryState:
    hidden = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    return MemoryState({"hidden": hidden, "count": torch.arange(3)}, MOMENTS, "someone")


def test_what_was_saved_is_loaded_to_the_bit(tmp_path):
    path = tmp_path / "state.safetensors"
    state().save(path)
    again = MemoryState.load(path)
    assert again.owner == "someone"
    assert again.tensors.keys() == {"hidden", "count"}
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in state().tensors.items())
    first, second, third = again.moments
    assert (first.scene, first.timestamp_ns) == ("drive", 250_000_000)
    assert torch.equal(first.global_from_ego.matrix(), MOMENTS[0].global_from_ego.matrix())
    assert second is None
    assert (third.scene, third.timestamp_ns, third.global_from_ego) == ("c", 3, None)


def test_a_second_save_replaces_the_first(tmp_path):
    path = tmp_path / "state.safetensors"
    state().save(path)
    state().reset().save(path)
    assert MemoryState.load(path).moments == (None, None, None)


def test_streams_are_chosen_with_their_rows_and_moments():
    chosen = state().select([2, 0])
    assert torch.equal(chosen.tensors["hidden"], state().tensors["hidden"][[4, 5, 0, 1]])
    assert chosen.tensors["count"].tolist() == [2, 0]
    assert chosen.moments == (MOMENTS[2], MOMENTS[0])


def test_single_streams_are_reset():
    assert state().reset([2]).moments == (MOMENTS[0], None, None)
    assert state().reset([0]).last_ns == 3
    assert state().reset().last_ns is None


def test_detached_and_moved_states_are_others():
    whole = state()
    assert not whole.detach().tensors["hidden"].requires_grad
    assert whole.tensors["hidden"].requires_grad
    assert whole.to("meta").tensors["count"].device.type == "meta"
    assert len(whole) == 3


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0notjson!"])
def test_a_damaged_file_is_refused(tmp_path, content):
    path = tmp_path / "state.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="absent, truncated or no safetensors file"):
        MemoryState.load(path)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors: absent, truncated"):
        MemoryState.load(tmp_path / "nowhere.safetensors")
    save_file({"weight": torch.ones(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(CheckpointError, match="expected a saved temporal memory, got weights"):
        MemoryState.load(tmp_path / "weights.safetensors")


def test_states_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"hidden must have rows for 2 streams, got \(3, 1\)"):
        MemoryState({"hidden": torch.ones(3, 1)}, (None, None), "someone")
    with pytest.raises(ValueError, match="at least one stream, got none"):
        MemoryState({}, (), "someone")
    with pytest.raises(CheckpointError, match="the state could not be saved"):
        state().save(__file__ + "/in_a_file.safetensors")
