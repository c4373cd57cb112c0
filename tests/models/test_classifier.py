"""The classification model: what it learns from, what it gives, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from perception.engine.checkpoint import load_weights, save_checkpoint
from perception.errors import ConfigError
from perception.models.classifier import BackboneClassifier, Classifier
from perception.registry import MODELS
from perception.structures import Camera, ClassPrediction, Frame

CLASSES = ("car", "bus", "tram")
BACKBONE = {"type": "MixTransformer", "channels": (8, 8, 8, 16), "depths": (1, 1, 1, 1), "heads": (1, 1, 1, 1),
            "drop_path": 0.0}
NETWORK = {"type": "BackboneClassifier", "backbone": BACKBONE, "num_classes": 3, "norm": "group"}


def frame(token: str = "a", category: int | None = 1, seed: int = 0) -> Frame:
    draw = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (3, 64, 64), generator=draw, dtype=torch.uint8)
    return Frame(token, 5, cameras={"front": Camera(None, 0, image=image, category=category)})


def model_of(**options: Any) -> Classifier:
    torch.manual_seed(0)
    return MODELS.build({"type": "Classifier", "network": NETWORK, "classes": CLASSES, **options})


def run(model: Classifier, frames: list[Frame], mode: str) -> Any:
    return model(**model.data_preprocessor(frames, model.training), mode=mode)


def test_predictions_are_probabilities_of_each_frames_picture():
    model = model_of().eval()
    frames = [frame("a"), frame("b", seed=1)]
    first, second = run(model, frames, "predict")
    assert (first.token, second.token, first.timestamp_ns) == ("a", "b", 5)
    assert first.scores.sum().item() == pytest.approx(1.0)
    assert first.class_names == CLASSES
    torch.testing.assert_close(run(model, frames, "tensor").softmax(dim=1)[1], second.scores)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_loss_is_cross_entropy(smoothing):
    model = model_of(label_smoothing=smoothing).train()
    frames = [frame("a", 1), frame("b", 2, seed=1)]
    logits = run(model, frames, "tensor")
    picked = -logits.log_softmax(dim=1)
    expected = (1 - smoothing) * picked[[0, 1], [1, 2]] + smoothing * picked.mean(dim=1)
    torch.testing.assert_close(run(model, frames, "loss")["loss_class"], expected.mean())


def test_it_learns_the_classes_of_two_pictures():
    model = model_of().train()
    frames = [frame("a", 1), frame("b", 2, seed=1)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        loss = run(model, frames, "loss")["loss_class"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * math.log(3)
    assert [one.label for one in run(model.eval(), frames, "predict")] == [1, 2]


def test_the_mean_comes_after_the_norm():
    network = BackboneClassifier(BACKBONE, 3, "group").eval()
    images = torch.rand(2, 3, 64, 64)
    normed = F.group_norm(network.backbone(images)[-1], 1, network.norm.weight, network.norm.bias)
    torch.testing.assert_close(network(images), network.head(normed.mean(dim=(2, 3))))


def test_a_network_can_begin_anew_with_other_classes():
    network = BackboneClassifier(BACKBONE, 3)
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    network.reset_classifier(7)
    assert network(torch.rand(1, 3, 64, 64)).shape == (1, 7)
    assert network.num_classes == 7
    assert all(torch.equal(value, before[key]) for key, value in network.backbone.state_dict().items())


def test_the_weights_have_the_names_of_the_network(tmp_path):
    model = model_of()
    state = model.state_dict()
    assert list(state) == list(model.network.state_dict())
    save_checkpoint({"state_dict": state}, tmp_path / "model.pth")
    other = MODELS.build({"type": "Classifier", "network": NETWORK})
    load_weights(other, tmp_path / "model.pth")
    network = MODELS.build(NETWORK)
    network.load_state_dict(state)
    for key, value in state.items():
        assert torch.equal(other.state_dict()[key], value)
        assert torch.equal(network.state_dict()[key], value)


def test_a_part_of_a_larger_model_keeps_its_own_prefix():
    wrapped = torch.nn.ModuleDict({"model": model_of(), "other": torch.nn.Linear(2, 2)})
    state = wrapped.state_dict()
    assert "model.head.weight" in state
    again = torch.nn.ModuleDict({"model": MODELS.build({"type": "Classifier", "network": NETWORK}),
                                 "other": torch.nn.Linear(2, 2)})
    again.load_state_dict(state)
    assert torch.equal(again["model"].network.head.weight, wrapped["model"].network.head.weight)


def test_its_steps_give_what_it_predicts():
    model = model_of().eval()
    batch = model.data_preprocessor([frame()])
    value: Any = batch["inputs"]
    for stage in model.stages(batch):
        value = stage.run(value)
    torch.testing.assert_close(value[0].scores, run(model, [frame()], "predict")[0].scores)


def test_a_picture_without_a_class_is_nothing_to_learn_from():
    model = model_of()
    assert [model.can_learn_from(frame(category=category)) for category in (0, None)] == [True, False]


@pytest.mark.parametrize(("category", "message"), [
    (None, "the picture of frame a has no class to learn from"), (3, "class 3 is none of the 3 classes of the model"),
    (-1, "class -1 is none of the 3 classes"),
])
def test_a_class_that_cannot_be_learnt_is_told(category, message):
    with pytest.raises(ConfigError, match=message):
        run(model_of().train(), [frame(category=category)], "loss")


@pytest.mark.parametrize(("build", "message"), [
    (lambda: model_of(classes=("car",)), "classes must name 3 classes, got 1 names"),
    (lambda: model_of(label_smoothing=1.0), r"label_smoothing must lie in \[0, 1\), got 1.0"),
    (lambda: BackboneClassifier(BACKBONE, 0), "num_classes must be >= 1, got 0"),
    (lambda: ClassPrediction("a", 0, torch.rand(2, 3)), r"scores must be \(K,\) with K >= 1, got \(2, 3\)"),
    (lambda: ClassPrediction("a", 0, torch.rand(2), ("x",)), "1 class names for 2 scores"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_the_best_classes_come_first():
    prediction = ClassPrediction("a", 0, torch.tensor([0.25, 0.125, 0.625]))
    assert prediction.label == 2
    assert prediction.best(2) == [(2, 0.625), (0, 0.25)]
    assert len(prediction.best()) == 3
