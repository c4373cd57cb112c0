"""A map model with a memory of past frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from map_frames import REGION, lidar_encoder, map_frame
from moving_frames import drive

from perception.models.map_generator import MapGenerator
from perception.structures import Frame

close = torch.testing.assert_close


def generator(**memory: object) -> MapGenerator:
    torch.manual_seed(0)
    return MapGenerator(
        bev_encoder=lidar_encoder(),
        head={
            "type": "PointSetMapHead", "in_channels": 8, "region": REGION, "channels": 16, "num_queries": 6,
            "num_points": 5, "layers": 1, "heads": 2, "dropout": 0.0,
        },
        memory={
            "type": "TemporalMemory", "channels": 8, "mixer": {"type": "RecurrentMixer"}, "region": REGION, **memory,
        },
    ).eval()


def frames(count: int, scene: str = "drive", seed: int = 0) -> list[Frame]:
    return [
        replace(place, points=content.points, vector_map=content.vector_map)
        for number, place in enumerate(drive(count, scene=scene))
        for content in [map_frame(seed=seed + number)]
    ]


@torch.no_grad()
def test_frame_by_frame_gives_what_a_drive_at_once_and_a_batch_of_clips_give():
    model, clips = generator(), (frames(3), frames(3, "other", seed=7))
    together = model(**model.data_preprocessor([list(step) for step in zip(*clips, strict=True)]), mode="tensor")
    for number, clip in enumerate(clips):
        whole, _ = model.stream(**model.data_preprocessor(clip))
        state, singles = None, []
        for frame in clip:
            raw, state = model.stream(**model.data_preprocessor([frame]), state=state)
            singles.append(raw)
        for layer, (logits, points) in enumerate(whole):
            close(torch.cat([raw[layer][0] for raw in singles]), logits, atol=1e-5, rtol=1e-4)
            close(torch.cat([raw[layer][1] for raw in singles]), points, atol=1e-4, rtol=1e-4)
            close(together[layer][0][number::2], logits, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_predictions_of_a_stream_carry_their_frames():
    model, seen = generator(), frames(2)
    found, state = model.predict_stream(**model.data_preprocessor(seen))
    assert [one.token for one in found] == [frame.token for frame in seen]
    assert state.last_ns == seen[-1].timestamp_ns


@torch.no_grad()
def test_losses_can_be_of_the_last_frames_alone():
    model, seen = generator(loss_steps=1), frames(2)
    changed = [replace(seen[0], vector_map=map_frame(lines=1).vector_map), seen[1]]
    last, same = (
        model(**model.data_preprocessor([[frame] for frame in clip]), mode="loss") for clip in (seen, changed)
    )
    close(last, same)
    model.memory.loss_steps = None
    both = model(**model.data_preprocessor([[frame] for frame in changed]), mode="loss")
    assert both != last


def test_a_clip_teaches_the_memory_and_the_stages_name_it():
    model, seen = generator().train(), frames(3)
    batch = model.data_preprocessor([[frame] for frame in seen])
    sum(model(**batch, mode="loss").values()).backward()
    assert all(parameter.grad is not None for parameter in model.memory.parameters())
    assert "memory" in [stage.name for stage in model.stages(model.data_preprocessor(seen[:1]))]
