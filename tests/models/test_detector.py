from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from random_frames import CHANNELS, CLASSES, random_frame

from perception.engine.config import load_config
from perception.errors import ConfigError
from perception.models.detector import Detector
from perception.registry import MODELS
from perception.structures import SE3, Annotations, Boxes3D, Frame, PointCloud

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def tiny_detector(**overrides: object) -> Detector:
    torch.manual_seed(0)
    return MODELS.build(load_config(CONFIGS / "flatformer/flatformer_tiny.py", overrides).model)


def with_points(frame: Frame, points: torch.Tensor) -> Frame:
    return replace(frame, points=PointCloud(points, CHANNELS))


def odd_clouds() -> dict[str, torch.Tensor]:
    good = random_frame().points.data
    broken = good.clone()
    broken[::2, 1] = math.nan
    broken[1::4, 3] = math.inf
    return {
        "empty": torch.zeros(0, 5),
        "one_point": torch.tensor([[1.0, 2.0, 0.5, 0.3, 0.0]]),
        "all_out_of_range": good + torch.tensor([500.0, 0, 0, 0, 0]),
        "all_nan": torch.full((50, 5), math.nan),
        "some_broken": broken,
        "huge_numbers": good * 1e30,
    }


def test_a_detector_learns_to_find_the_objects_of_one_frame():
    model, frames = tiny_detector(), [random_frame(boxes=4)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batch = model.data_preprocessor(frames, training=True)
    losses = []
    for _ in range(25):
        loss, _ = model.parse_losses(model(**batch, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_every_parameter_takes_part_in_every_step():
    model = tiny_detector()
    batch = model.data_preprocessor([random_frame()], training=True)
    sum(model(**batch, mode="loss").values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_predictions_are_best_first_in_our_convention_and_carry_the_frame():
    model = tiny_detector().eval()
    frame = replace(random_frame(), global_from_ego=SE3.about_z(0.3, (100.0, 200.0, 0.0)))
    batch = model.data_preprocessor([frame, random_frame(1)], training=False)
    torch.nn.init.constant_(model.head.task_heads[0]["heatmap"][-1].bias, 0.0)
    first, second = model(**batch, mode="predict")
    assert (first.token, second.token) == ("frame-0", "frame-1")
    assert first.global_from_ego is frame.global_from_ego
    assert first.classes == CLASSES
    assert first.boxes.tensor.shape == (50, 9)
    assert torch.equal(first.scores, first.scores.sort(descending=True).values)
    assert not first.boxes.tensor.requires_grad


def test_decode_of_tensor_mode_equals_predict_mode():
    model = tiny_detector().eval()
    batch = model.data_preprocessor([random_frame()], training=False)
    maps = model(batch["inputs"], mode="tensor")
    apart, together = model.decode(maps, batch["data_samples"])[0], model(**batch, mode="predict")[0]
    assert torch.equal(apart.boxes.tensor, together.boxes.tensor)
    assert torch.equal(apart.scores, together.scores)


@pytest.mark.parametrize("name", list(odd_clouds()))
@pytest.mark.parametrize("training", [True, False], ids=["loss", "predict"])
def test_odd_clouds_give_finite_results(name, training):
    model = tiny_detector().train(training)
    frames = [with_points(random_frame(), odd_clouds()[name]), random_frame(1)]
    batch = model.data_preprocessor(frames, training=training)
    if training:
        losses = model(**batch, mode="loss")
        sum(losses.values()).backward()
        assert all(torch.isfinite(value) for value in losses.values())
        assert all(torch.isfinite(p.grad).all() for p in model.parameters())
        assert all(torch.isfinite(buffer).all() for buffer in model.buffers())
    else:
        assert all(torch.isfinite(sample.boxes.tensor).all() for sample in model(**batch, mode="predict"))


@pytest.mark.parametrize("name", ["empty", "one_point", "all_nan"])
def test_a_batch_of_only_odd_clouds_can_be_trained_on(name):
    model = tiny_detector()
    batch = model.data_preprocessor([with_points(random_frame(), odd_clouds()[name])], training=True)
    loss = sum(model(**batch, mode="loss").values())
    loss.backward()
    assert torch.isfinite(loss)


def test_broken_points_are_left_out_of_the_prediction():
    model = tiny_detector().eval()
    good = random_frame()
    broken = torch.cat([good.points.data, torch.full((7, 5), math.nan)])
    maps = [
        model(model.data_preprocessor([frame], training=False)["inputs"], mode="tensor")[0]["heatmap"]
        for frame in (good, with_points(good, broken))
    ]
    assert torch.equal(*maps)


def test_a_frame_without_objects_costs_nothing_but_its_heatmap():
    model = tiny_detector()
    frame = random_frame(boxes=0)
    losses = model(**model.data_preprocessor([frame], training=True), mode="loss")
    assert losses["task0.loss_box"] == 0
    assert losses["task0.loss_heatmap"] > 0


def test_objects_outside_the_class_list_are_ignored():
    model = tiny_detector().eval()
    frame = random_frame()
    labels = frame.annotations.labels.clone()
    labels[::2] = -1
    kept = frame.annotations[labels >= 0]
    marked = replace(frame.annotations, labels=labels)
    losses = [
        model(**model.data_preprocessor([replace(frame, annotations=a)], training=True), mode="loss")
        for a in (kept, marked)
    ]
    assert losses[0] == losses[1]


def test_bfloat16_on_the_cpu_gives_nearly_the_same_losses_in_float32():
    model = tiny_detector().eval()
    batch = model.data_preprocessor([random_frame()], training=True)
    exact = model(**batch, mode="loss")
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(**batch, mode="loss")
    for name, value in rounded.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact[name], rtol=0.05, atol=0.05)      # bfloat16 has 8 bits


@pytest.mark.parametrize(
    "classes", [CLASSES[:-1], (CLASSES[1], CLASSES[0], *CLASSES[2:]), ("Car", *CLASSES[1:])],
    ids=["fewer", "another_order", "another_name"],
)
def test_a_data_set_with_other_classes_is_refused(classes):
    model = tiny_detector()
    annotations = Annotations(Boxes3D.empty(), torch.zeros(0, dtype=torch.int64), classes)
    batch = model.data_preprocessor([replace(random_frame(), annotations=annotations)], training=True)
    with pytest.raises(ConfigError, match="tasks of the head name the classes car, truck"):
        model(**batch, mode="loss")


def test_a_frame_without_annotations_cannot_be_trained_on():
    model = tiny_detector()
    batch = model.data_preprocessor([replace(random_frame(), annotations=None)], training=True)
    with pytest.raises(ConfigError, match="frame-0 has no annotations"):
        model(**batch, mode="loss")


@pytest.mark.parametrize(
    ("mode", "samples", "message"),
    [("train", [], 'mode must be "loss", "predict" or "tensor"'), ("loss", None, "needs one frame for each of the 1"),
     ("predict", [], "needs one frame for each of the 1")],
)
def test_a_wrong_call_is_refused(mode, samples, message):
    with pytest.raises(ValueError, match=message):
        tiny_detector()({"points": [torch.zeros(3, 4)]}, samples, mode=mode)


def test_channels_last_changes_no_result():
    batch = [random_frame()]
    heats = []
    for channels_last in (True, False):
        model = tiny_detector(**{"model.channels_last": channels_last}).eval()
        heats.append(model(model.data_preprocessor(batch, training=False)["inputs"], mode="tensor")[0]["heatmap"])
    torch.testing.assert_close(*heats, atol=1e-5, rtol=1e-5)
