"""Frames of the training data that a trained model is looked at with."""

from __future__ import annotations

import numpy as np
from mmengine.config import Config

from ..errors import ConfigError
from ..registry import DATASETS
from ..structures import Frame
from .config_mistakes import told_as_config_error


def calibration_frames(cfg: Config, count: int) -> list[Frame]:
    """Frames evenly spread over the training split, with the transforms of the test.

    Of clips they are the frames by themselves. They are of the test split where there is no other whose transforms can
    be exchanged.

    Raises:
        ConfigError: the config has no data set.
    """
    train, test = ((cfg.get(f"{stage}_dataloader") or {}).get("dataset") for stage in ("train", "test"))
    if train is not None and "transforms" not in train:
        train = train.get("dataset", train)                # clips of it
    if train is None or (test is not None and "transforms" not in train):
        train = test
    if train is None:
        raise ConfigError(f"{cfg.filename or 'config'}: frames to look at need a train_dataloader or a test_dataloader")
    transforms = (train if test is None else test).get("transforms", [])
    with told_as_config_error("dataset"):
        dataset = DATASETS.build({**train, "transforms": transforms})
    places = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    return [dataset[int(place)] for place in places]
