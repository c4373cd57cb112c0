"""The whole road with a real detector: config, plugin, training, resuming, inference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from toy_task import ToyStreet

from perception.engine.build import build_runner
from perception.engine.checkpoint import load_checkpoint
from perception.engine.config import load_config
from perception.engine.inference import load_model

CONFIG = Path(__file__).with_name("toy_detector.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    build_runner(load_config(CONFIG), folder).train()
    return folder


def test_a_detector_trains_with_finite_losses_and_is_evaluated(trained: Path):
    rows = [json.loads(line) for line in (trained / "scalars.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if "loss" in row]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    assert "val/objects" in rows[-1]


def test_a_detector_resumes_to_the_bit(trained: Path, tmp_path: Path):
    build_runner(load_config(CONFIG), tmp_path, resume=trained / "iter_4.pth").train()
    whole, resumed = (load_checkpoint(folder / "iter_8.pth") for folder in (trained, tmp_path))
    for part in ("state_dict", "train_state_dict"):
        different = [key for key, value in whole[part].items() if not torch.equal(value, resumed[part][key])]
        assert different == []


def test_a_trained_detector_predicts_a_frame_in_stages(trained: Path):
    model = load_model(CONFIG, trained / "iter_8.pth")
    frame = ToyStreet().load(0)
    batch = model.preprocess(frame)
    predictions = model.decode(model.network(batch), batch)
    assert predictions.token == "frame-0"
    assert model.classes == predictions.classes == ToyStreet.classes
    assert torch.equal(predictions.scores, model.predict(frame).scores)
    assert (predictions.scores.diff() <= 0).all()
