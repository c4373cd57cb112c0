"""Errors say the place, the field and the cure, and survive the way out of a data worker."""

import pickle

import pytest

from perception.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MissingExtraError,
    PerceptionError,
    PluginError,
    suggestion,
)


def test_a_data_error_names_file_field_expected_and_got():
    error = DataError("v1.0-mini/sample.json", "num_lidar_pts", "an integer >= 0", -3)
    assert str(error) == "v1.0-mini/sample.json: num_lidar_pts: expected an integer >= 0, got -3"


def test_a_missing_extra_names_the_command():
    assert str(MissingExtraError("rerun", "the Rerun sink")) == (
        "the Rerun sink needs an optional dependency: pip install 'perception[rerun]'"
    )


@pytest.mark.parametrize(
    "error",
    [
        DataError("a.json", "field", "a number", "text"),
        MissingExtraError("rerun", "the Rerun sink"),
        ConfigError("no such key"),
        PluginError("broken"),
        CheckpointError("unsafe"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_error_is_a_perception_error_and_survives_pickling(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert isinstance(back, PerceptionError)


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("flatfomer", ["flatformer", "maptr"], ' (did you mean "flatformer"?)'),
        ("zzz", ["flatformer", "maptr"], ""),
        ("anything", [], ""),
    ],
)
def test_the_nearest_known_name_is_suggested(name, known, expected):
    assert suggestion(name, known) == expected
