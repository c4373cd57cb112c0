"""Which frames a trained model is looked at with."""

from __future__ import annotations

from typing import Any

import pytest
from mmengine.config import Config

from perception.engine import calibration
from perception.engine.calibration import calibration_frames
from perception.errors import ConfigError

TRAIN = {"type": "Drives", "split": "train", "transforms": ["augment"]}
TEST = {"type": "Drives", "split": "val", "transforms": ["plain"]}


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configs of the data sets that were built, each of ten frames."""
    configs: list[Any] = []

    def build(cfg: Any) -> list[int]:
        configs.append(cfg)
        return list(range(10))

    monkeypatch.setattr(calibration.DATASETS, "build", build)
    return configs


def config(**splits: Any) -> Config:
    return Config({f"{stage}_dataloader": {"dataset": dataset} for stage, dataset in splits.items()})


@pytest.mark.parametrize(("splits", "expected"), [
    ({"train": TRAIN, "test": TEST}, {**TRAIN, "transforms": ["plain"]}),
    ({"train": {"type": "ClipDataset", "dataset": TRAIN}, "test": TEST}, {**TRAIN, "transforms": ["plain"]}),
    ({"train": {"type": "Pairs", "datasets": [TRAIN]}, "test": TEST}, TEST),
    ({"test": TEST}, TEST),
    ({"train": TRAIN}, TRAIN),
], ids=["both", "clips", "pairs", "test alone", "training alone"])
def test_they_are_of_the_training_with_the_transforms_of_the_test(built: list[Any], splits: Any, expected: Any):
    assert calibration_frames(config(**splits), 4) == [0, 3, 6, 9]
    assert built == [expected]
    assert calibration_frames(config(**splits), 99) == list(range(10))


def test_a_config_without_data_is_told():
    with pytest.raises(ConfigError, match="frames to look at need a train_dataloader or a test_dataloader"):
        calibration_frames(config(), 4)
