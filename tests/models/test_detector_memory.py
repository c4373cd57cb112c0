"""A detector with a memory of past frames: clips, streams, compiled or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from moving_frames import drive
from random_frames import random_frame

from perception.engine.config import load_config
from perception.errors import ConfigError
from perception.models.detector import Detector
from perception.registry import MODELS
from perception.structures import Frame

CONFIG = Path(__file__).resolve().parents[2] / "configs/flatformer/flatformer_tiny.py"
MEMORY = {"type": "TemporalMemory", "channels": 16, "mixer": {"type": "RecurrentMixer"}, "width": 8,
          "region": (-25.6, -25.6, 25.6, 25.6)}
QUERIES = {"type": "QueryMemory", "channels": 16, "region": MEMORY["region"], "width": 8, "queries": 9}
close = torch.testing.assert_close


def detector(**memory: object) -> Detector:
    torch.manual_seed(0)
    config = load_config(CONFIG).model
    return MODELS.build({**config, "memory": {**MEMORY, **memory}}).eval()


def frames(count: int, scene: str = "drive", seed: int = 0) -> list[Frame]:
    """Frames of a drive with random points and objects."""
    return [
        replace(place, points=content.points, annotations=content.annotations)
        for number, place in enumerate(drive(count, scene=scene))
        for content in [random_frame(seed + number)]
    ]


def heat(maps: list[dict[str, torch.Tensor]]) -> torch.Tensor:
    return maps[0]["heatmap"]


@pytest.mark.parametrize("memory", [MEMORY, QUERIES], ids=lambda memory: memory["type"])
@torch.no_grad()
def test_frame_by_frame_gives_what_the_batch_of_a_drive_gives(memory):
    torch.manual_seed(0)
    model, seen = MODELS.build({**load_config(CONFIG).model, "memory": memory}).eval(), frames(4)
    whole, behind = model.stream(**model.data_preprocessor(seen), state=None)
    state, single = None, []
    for frame in seen:
        maps, state = model.stream(**model.data_preprocessor([frame]), state=state)
        single.append(heat(maps))
    close(torch.cat(single), heat(whole), atol=1e-5, rtol=1e-5)
    close(behind.tensors, state.tensors, atol=1e-5, rtol=1e-5)
    assert behind.last_ns == state.last_ns == seen[-1].timestamp_ns


@torch.no_grad()
def test_a_batch_of_clips_gives_what_each_clip_gives_as_a_stream():
    model, clips = detector(), (frames(2), frames(2, "other", seed=9))
    batch = model.data_preprocessor([list(step) for step in zip(*clips, strict=True)])
    assert batch["inputs"]["steps"] == 2
    together = heat(model(**batch, mode="tensor"))
    for number, clip in enumerate(clips):
        alone, _ = model.stream(**model.data_preprocessor(clip))
        close(heat(alone), together[number::2], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_memory_changes_what_the_second_frame_gives_and_not_the_first():
    model, seen = detector(), frames(2)
    batch = model.data_preprocessor(seen)
    streamed, apart = heat(model.stream(**batch)[0]), heat(model(**batch, mode="tensor"))
    close(streamed[0], apart[0], atol=1e-5, rtol=1e-5)
    assert (streamed[1] - apart[1]).abs().max() > 1e-3


@torch.no_grad()
def test_predictions_of_a_stream_carry_their_frames_over_scene_borders():
    model, seen = detector(), frames(2) + frames(2, "other")
    predictions, state = model.predict_stream(**model.data_preprocessor(seen))
    assert [one.token for one in predictions] == [frame.token for frame in seen]
    assert [moment.scene for moment in state.moments] == ["other"]
    alone, _ = model.predict_stream(**model.data_preprocessor(seen[2:]))
    close(predictions[2].scores, alone[0].scores)


def test_a_clip_teaches_every_parameter():
    model, seen = detector().train(), frames(3)
    losses = model(**model.data_preprocessor([[frame] for frame in seen], training=True), mode="loss")
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    assert model.memory.mixer.gru.weight_hh_l0.grad.abs().sum() > 0


@torch.no_grad()
def test_losses_can_be_of_the_last_frame_alone():
    model, seen = detector(loss_steps=1), frames(2)
    batch = model.data_preprocessor([[frame] for frame in seen])
    changed = [replace(seen[0], annotations=seen[0].annotations[:0]), seen[1]]
    other = model.data_preprocessor([[frame] for frame in changed])
    close(model(**batch, mode="loss"), model(**other, mode="loss"))
    model.memory.loss_steps = None
    assert model(**batch, mode="loss") != model(**other, mode="loss")


@torch.no_grad()
def test_the_stages_are_those_of_the_prediction():
    model, seen = detector(), frames(1)
    batch = model.data_preprocessor(seen)
    value = batch["inputs"]
    stages = model.stages(batch)
    assert [stage.name for stage in stages][3] == "memory"
    for stage in stages:
        value = stage.run(value)
    close(value[0].scores, model(**batch, mode="predict")[0].scores)


@torch.no_grad()
def test_a_compiled_detector_remembers_as_well():
    torch.manual_seed(0)
    config = {**load_config(CONFIG).model, "memory": MEMORY}
    compiled = MODELS.build({**config, "compile": {"backend": "eager", "smallest": 64}}).eval()
    plain, seen = detector(), frames(2)
    batch = plain.data_preprocessor(seen)
    close(heat(compiled.stream(**batch)[0]), heat(plain.stream(**batch)[0]), atol=1e-5, rtol=1e-5)


def test_wrong_uses_are_refused():
    plain = MODELS.build(load_config(CONFIG).model).eval()
    with pytest.raises(ConfigError, match=r"its config has no model\.memory"):
        plain.predict_stream(**plain.data_preprocessor(frames(1)))
    with pytest.raises(ValueError, match=r"as many frames, got \[1, 2\]"):
        plain.data_preprocessor([frames(1), frames(2)])
    with pytest.raises(TypeError, match="a batch must be a list of Frames"):
        plain.data_preprocessor([[1], [2]])
