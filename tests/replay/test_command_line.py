"""Options of a source, as words of a command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.errors import ConfigError
from perception.replay.command_line import source_options


def test_source_options_are_read_as_what_they_look_like():
    words = ["ego_height=1.73", "topic=/lidar", "columns=x,y,z", "keyframes=true", "base_frame=a=b"]
    assert source_options(words) == {
        "ego_height": 1.73, "topic": "/lidar", "columns": ("x", "y", "z"), "keyframes": True, "base_frame": "a=b",
    }


@given(number=st.floats(allow_nan=False))
def test_any_number_survives_as_an_option(number: float):
    assert source_options([f"a={number!r}"]) == {"a": number}


@pytest.mark.parametrize("word", ["topic", "=1", ""])
def test_an_option_without_key_or_value_is_refused(word: str):
    with pytest.raises(ConfigError, match=f'--source-options takes KEY=VALUE, got "{word}"'):
        source_options([word])
