"""A pipeline is built from configs and callables, applied in order, and refuses what is no transform."""

from dataclasses import replace

import numpy as np
import pytest
from scene_frames import scene

from perception.errors import ConfigError
from perception.transforms.compose import Compose


def renamed(token):
    return lambda frame, rng: replace(frame, token=frame.token + token)


def test_transforms_run_in_order_with_one_generator():
    pipeline = Compose([renamed("b"), {"type": "GlobalRotation"}, {"type": "GlobalRotation"}, renamed("c")])
    result = pipeline(scene(), np.random.default_rng(4))
    rng = np.random.default_rng(4)
    assert result.token == "abc"
    twice = sum(rng.uniform(-np.pi / 4, np.pi / 4) for _ in range(2))
    assert result.annotations.boxes.yaws[1].item() == pytest.approx(twice, abs=1e-6)


def test_no_transforms_give_the_frame_itself():
    frame = scene()
    assert Compose([])(frame, np.random.default_rng(0)) is frame


@pytest.mark.parametrize("result", [None, {"points": 1}])
def test_a_transform_that_returns_no_frame_is_told(result):
    with pytest.raises(TypeError, match=f"returned {type(result).__name__}, a transform returns a Frame"):
        Compose([lambda frame, rng: result])(scene(), np.random.default_rng(0))


def test_an_unknown_type_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r'unknown transform "GlobalRotatoin" \(did you mean "GlobalRotation"\?\)'):
        Compose([{"type": "GlobalRotatoin"}])


def test_what_is_no_transform_is_told_by_its_place():
    with pytest.raises(ConfigError, match=r"transforms\[1\]: expected a config or a callable, got 3"):
        Compose([{"type": "PointShuffle"}, 3])
