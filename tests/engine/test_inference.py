"""A trained model, frame by frame."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy_task import CLASSES, ToyDataset, ToyModel
from toy_training import CONFIG, toy_runner

from perception.engine.checkpoint import load_checkpoint
from perception.engine.config import load_config
from perception.engine.inference import InferenceModel, load_model
from perception.errors import CheckpointError, ConfigError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    toy_runner(folder).train()
    return folder / "iter_12.pth"


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> InferenceModel:
    return load_model(CONFIG, checkpoint)


def test_the_stages_one_by_one_give_what_predict_gives(model: InferenceModel):
    frame = ToyDataset().load(4)
    batch = model.preprocess(frame)
    staged, whole = model.decode(model.network(batch), batch), model.predict(frame)
    assert staged.token == whole.token == "frame-4"
    assert torch.equal(staged.scores, whole.scores)


def test_the_weights_are_those_of_the_checkpoint_and_the_model_rests(model: InferenceModel, checkpoint: Path):
    assert torch.equal(model.model.score.weight, load_checkpoint(checkpoint)["state_dict"]["score.weight"])
    assert not model.model.training
    assert model.classes == CLASSES


def test_inference_applies_the_transforms_of_the_test_data(checkpoint: Path):
    options = ["test_dataloader.dataset.transforms=[{'type': 'ToyJitter', 'sigma': 100.0}]"]
    jittered, frame = load_model(load_config(CONFIG, options), checkpoint), ToyDataset().load(0)
    (points,) = jittered.preprocess(frame)["inputs"]
    assert (points - frame.points.xyz).abs().max() > 10
    assert torch.equal(jittered.preprocess(frame)["inputs"][0], points)      # the same frame, the same numbers


def test_no_checkpoint_gives_the_initial_weights():
    assert isinstance(load_model(CONFIG, None).model, ToyModel)


def test_a_checkpoint_of_another_width_is_refused(checkpoint: Path):
    with pytest.raises(CheckpointError, match=r"iter_12\.pth: made for another architecture than ToyModel: .*encode"):
        load_model(load_config(CONFIG, ["model.width=16"]), checkpoint)


def test_a_config_without_a_test_pipeline_is_refused():
    with pytest.raises(ConfigError, match=r"inference needs model and test_dataloader\.dataset\.transforms"):
        load_model(load_config(CONFIG, ["test_dataloader=None"]), None)
