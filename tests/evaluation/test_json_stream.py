"""JSON read value by value is what json.loads reads at once, however small the pieces are."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.evaluation.detection.json_stream import JsonStream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12,
)


def stream(text: str, chunk: int = 3) -> JsonStream:
    return JsonStream(io.StringIO(text), chunk)


def read_array(source: JsonStream) -> list[Any]:
    values = list(source.items())
    source.end()
    return values


@given(st.lists(VALUES, max_size=4), st.integers(1, 20), st.sampled_from([None, 1]))
def test_items_of_an_array_are_its_values(values: list[Any], chunk: int, indent: int | None):
    assert read_array(stream(json.dumps(values, indent=indent), chunk)) == values


@given(st.dictionaries(st.text(), VALUES, max_size=4), st.integers(1, 20), st.booleans())
def test_members_of_an_object_are_its_keys_and_values(values: dict[str, Any], chunk: int, ascii_only: bool):
    source = stream(json.dumps(values, ensure_ascii=ascii_only), chunk)
    assert {key: source.value() for key in source.members()} == values
    source.end()


def test_numbers_at_the_border_of_a_piece_are_read_whole():
    assert list(stream("[123456, -1.25e-3, 7]", 1).items()) == [123456, -1.25e-3, 7]


def test_a_key_that_comes_twice_is_seen_twice():
    source = stream('{"a": 1, "a": 2}')
    assert [(key, source.value()) for key in source.members()] == [("a", 1), ("a", 2)]


@pytest.mark.parametrize(("text", "message"), [
    ("", "'the end' at character 0 where '\\[' belongs"),
    ("{}", "'{}' at character 0 where '\\[' belongs"),
    ("[1, 2", "'the end' at character 5 where ',' belongs"),
    ("[1 2]", "'2]' at character 3 where ',' belongs"),
    ("[1, ]", "'\\]' at character 4 where a value behind the comma belongs"),
    ("[tru]", "Expecting value: character 1"),
    ('["abc', "Unterminated string starting at: character 1"),
    ('[{"a" 1}]', "Expecting ':' delimiter: character 6"),
    ("[1] 2", "'2' at character 4 where the end of the text belongs"),
])
@pytest.mark.parametrize("chunk", [2, 100])
def test_what_is_not_json_is_refused_with_the_place(text: str, message: str, chunk: int):
    with pytest.raises(ValueError, match=message):
        read_array(stream(text, chunk))


@pytest.mark.parametrize("text", ["[]", '{"a": 1,}', '{"a"}', "{1: 2}", '{"a": 1'])
def test_what_is_no_object_is_refused(text: str):
    source = stream(text)
    with pytest.raises(ValueError, match="belongs"):
        [source.value() for _ in source.members()]


def test_a_fault_is_found_where_it_is_and_not_at_the_end_of_the_file():
    file = io.StringIO("[1, oops " + "x" * 100_000 + "]")
    with pytest.raises(ValueError, match="Expecting value: character 4"):
        list(JsonStream(file, 64).items())
    assert file.tell() < 1000
