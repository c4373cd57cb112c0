"""The memory of a few places of past frames."""

from __future__ import annotations

import pytest
import torch
from moving_frames import REGION, SIZE, drive, frame_at, maps
from torch import Tensor, nn

from perception.models.temporal.memory_state import MemoryState
from perception.models.temporal.query_memory import QueryMemory
from perception.registry import MODELS

close = torch.testing.assert_close


def memory(channels: int = 8, **options: object) -> QueryMemory:
    torch.manual_seed(0)
    return MODELS.build({"type": "QueryMemory", "channels": channels, "region": REGION, "queries": 5, "heads": 2,
                         **options}).eval()


@torch.no_grad()
def told(model: QueryMemory, bev: Tensor, *args: object, **options: object) -> Tensor:
    return model(bev, *args, **options)[0] - bev


def test_frame_by_frame_gives_what_the_whole_clip_gives_through_a_file(tmp_path):
    model, bev, frames = memory(stride=2), maps(6, 8), drive(6)
    whole, _ = model(bev, frames, steps=6)
    single, state = [], None
    for number, (x, frame) in enumerate(zip(bev, frames, strict=True)):
        fused, state = model(x[None], [frame], state)
        single.append(fused)
        if number == 2:
            state.save(tmp_path / "state.safetensors")
            state = MemoryState.load(tmp_path / "state.safetensors")
    close(torch.cat(single), whole, atol=1e-6, rtol=1e-5)


def test_the_best_cell_is_remembered_where_it_is_now():
    model = memory(1, queries=1, heads=1, kernel=1, width=2)
    nn.init.constant_(model.score.weight, 0.0)
    model.score.weight.data[0, 0] = 5.0
    model.enter.weight.data = torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    nn.init.zeros_(model.enter.bias)
    bev = torch.zeros(1, 1, *SIZE)
    bev[0, 0, 7, 12] = 1.0                                 # row 7, column 12: at x = 4.5, y = 1.5
    _, state = model(bev, [frame_at(0.0)])
    close(state.tensors["places"][0, 0], torch.tensor([4.5, 1.5]))
    _, state = model(torch.zeros_like(bev), [frame_at(0.5, 2.0, 1.0)], state)
    close(state.tensors["places"][0, 1], torch.tensor([2.5, 0.5]))
    assert state.tensors["ages"][0, :2].tolist() == [0.0, 0.5]
    assert state.tensors["known"].tolist() == [[True, True, False, False]]


def test_frames_are_forgotten_after_as_many_as_are_remembered():
    model, bev, frames = memory(remembered=2), maps(4, 8), drive(4)
    bent = torch.cat([maps(1, 8, seed=9), bev[1:]])
    close(told(model, bev, frames, steps=4)[3], told(model, bent, frames, steps=4)[3])
    assert (told(model, bev, frames, steps=4)[2] - told(model, bent, frames, steps=4)[2]).abs().max() > 1e-4


def test_one_stream_begins_anew_while_the_other_goes_on():
    model, bev = memory(), maps(4, 8)
    frames = [frame_at(0.0), frame_at(0.0, scene="b"), frame_at(0.5, 0.2), frame_at(0.5, 0.2, scene="c")]
    both = told(model, bev, frames, steps=2)
    close(both[2:3], told(model, bev[::2], frames[::2], steps=2)[1:], atol=1e-6, rtol=1e-5)
    close(both[3:], told(model, bev[3:]), atol=1e-6, rtol=1e-5)


def test_every_parameter_learns_from_a_clip_and_gradients_are_finite_at_a_scene_border():
    model = memory().train()
    frames = [frame_at(0.0), frame_at(0.5), frame_at(0.0, scene="b"), frame_at(0.5, scene="b")]
    bev = maps(4, 8).requires_grad_()
    model(bev, frames, steps=4)[0].square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert bev.grad.isfinite().all()
    assert model.score.weight.grad.abs().sum() > 0


def test_a_map_of_fewer_cells_than_queries_is_kept_whole():
    _, state = memory(queries=999)(maps(1, 8), drive(1))
    assert state.tensors["tokens"].shape == (1, 4 * SIZE[0] * SIZE[1], 8)


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="queries and remembered must be >= 1, got 0 and 4"):
        memory(queries=0)
    _, state = memory()(maps(1, 8), drive(1))
    with pytest.raises(ValueError, match="must be of 7 queries of 8 channels of 4 frames, got one of 5 queries"):
        memory(queries=7)(maps(1, 8), drive(1), state)
