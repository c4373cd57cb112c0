"""What was appended is read again, whatever was flushed when, by whom, and whoever died."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.errors import DataError
from perception.evaluation.frame_file import Column
from perception.evaluation.frame_store import FrameStore

COLUMNS = {
    "label": Column("int8"),
    "is_sure": Column("bool"),
    "score": Column("float64"),
    "count": Column("int64"),
    "box": Column("float32", (2, 3)),
    "vertices": Column("float64", (2,), counted_by="count"),
}


def rows_of(number: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Rows of a frame that differ with the seed."""
    rng = np.random.default_rng(seed)
    count = rng.integers(0, 4, number)
    return {
        "label": rng.integers(-5, 5, number).astype(np.int8),
        "is_sure": rng.random(number) < 0.5,
        "score": rng.random(number),
        "count": count,
        "box": rng.random((number, 2, 3)).astype(np.float32),
        "vertices": rng.random((count.sum(), 2)),
    }


def assert_same_rows(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def write(folder: Path, frames: Mapping[str, dict[str, np.ndarray]], **options: Any) -> FrameStore:
    with FrameStore(folder, COLUMNS, **options) as store:
        for token, rows in frames.items():
            store.append(token, rows)
    return store


def test_frames_of_unequal_length_come_back_with_their_rows_and_vertices(tmp_path: Path):
    columns = {"count": Column("int64"), "vertices": Column("float32", (2,), counted_by="count")}
    lines = np.arange(10, dtype=np.float32).reshape(5, 2)
    with FrameStore(tmp_path, columns) as store:
        store.append("a", {"count": np.array([2, 0, 1]), "vertices": lines[:3]})
        store.append("b", {"count": np.array([2]), "vertices": lines[3:]})
    frames = FrameStore.read(tmp_path)
    assert frames.tokens == ("a", "b")
    assert frames.offsets.tolist() == [0, 3, 4]
    assert frames.columns["count"].tolist() == [2, 0, 1, 2]
    np.testing.assert_array_equal(frames.columns["vertices"], lines)
    np.testing.assert_array_equal(frames["b"]["vertices"], lines[3:])


def test_ranks_take_turns_and_a_token_that_came_twice_counts_once(tmp_path: Path):
    """Five frames dealt out to two ranks; the second has frame 0 again, to have as many as the first."""
    for rank, tokens in enumerate((["0", "2", "4"], ["1", "3", "0"])):
        write(tmp_path, {token: rows_of(2, seed=10 * rank + int(token)) for token in tokens}, rank=rank, run="x")
    frames = FrameStore.read(tmp_path)
    assert frames.tokens == ("0", "1", "2", "3", "4")
    assert_same_rows(frames["0"], rows_of(2, seed=0))
    assert_same_rows(frames["3"], rows_of(2, seed=13))


ranks = st.lists(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3), st.booleans()), max_size=6),
    min_size=1, max_size=3,
)


@settings(max_examples=40)                                 # a file takes some milliseconds to reach the disk
@given(ranks=ranks, memory_mb=st.sampled_from([0.0, 1e-3, 16.0]))
def test_what_is_read_does_not_depend_on_when_it_was_written(
    ranks: list[list[tuple[str, int, bool]]], memory_mb: float
):
    expected: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for rank, appended in enumerate(ranks):
            with FrameStore(folder, COLUMNS, memory_mb=memory_mb, rank=rank, run="x") as store:
                for place, (token, number, is_flushed) in enumerate(appended):
                    store.append(token, rows_of(number, seed=100 * rank + place))
                    if is_flushed:
                        store.flush()
        for place in range(6):
            for rank, appended in enumerate(ranks):
                if place < len(appended):
                    token, number, _ = appended[place]
                    expected.setdefault(token, rows_of(number, seed=100 * rank + place))
        frames = FrameStore.read(folder)
        assert list(frames) == list(expected)
        for token, rows in expected.items():
            assert_same_rows(frames[token], rows)
        together = {name: np.concatenate([rows_of(0)[name], *(rows[name] for rows in expected.values())])
                    for name in COLUMNS}
        assert_same_rows(frames.columns, together)
        assert np.diff(frames.offsets).tolist() == [len(rows["score"]) for rows in expected.values()]


# Memory.

def test_memory_never_holds_more_than_it_may(tmp_path: Path):
    with FrameStore(tmp_path, COLUMNS, memory_mb=0.01) as store:
        held = []
        for number in range(50):
            store.append(str(number), rows_of(20, seed=number))
            held.append(store.pending_bytes)
    assert max(held) <= 10_000
    assert 5 < len(store.files) < 50
    assert len(FrameStore.read(tmp_path)) == 50


def test_without_memory_every_frame_has_its_file(tmp_path: Path):
    assert len(write(tmp_path, {token: rows_of(1) for token in "abc"}, memory_mb=0).files) == 3


def test_rows_are_copied_and_what_is_read_cannot_be_changed(tmp_path: Path):
    rows = rows_of(3)
    with FrameStore(tmp_path, COLUMNS) as store:
        store.append("a", rows)
        rows["score"][:] = 7.0
    frames = FrameStore.read(tmp_path)
    assert_same_rows(frames["a"], rows_of(3))
    with pytest.raises(ValueError, match="read-only"):
        frames.columns["score"][0] = 1.0


def test_files_that_are_mapped_are_not_open(tmp_path: Path):
    """A process may have a thousand files open, and a long test writes more."""
    write(tmp_path, {str(number): rows_of(1) for number in range(20)}, memory_mb=0)
    before = len(os.listdir("/dev/fd"))
    frames = FrameStore.read(tmp_path)
    assert len(os.listdir("/dev/fd")) < before + 5
    assert_same_rows(frames["19"], rows_of(1))


def test_any_reader_of_arrow_opens_the_files(tmp_path: Path):
    rows = rows_of(3)
    store = write(tmp_path, {"a": rows})
    with pa.OSFile(str(tmp_path / store.files[0])) as source:
        (frame,) = pa.ipc.open_file(source).read_all().to_pylist()
    assert (frame["token"], frame["label"]) == ("a", rows["label"].tolist())
    assert frame["vertices"] == rows["vertices"].tolist()


# Nothing there.

def test_a_frame_without_rows_is_still_a_frame(tmp_path: Path):
    write(tmp_path, {"a": rows_of(0), "b": rows_of(2), "c": rows_of(0)})
    frames = FrameStore.read(tmp_path)
    assert frames.tokens == ("a", "b", "c")
    assert frames.offsets.tolist() == [0, 0, 2, 2]
    assert_same_rows(frames["c"], rows_of(0))


def test_a_rank_without_frames_leaves_a_file_that_says_so(tmp_path: Path):
    assert write(tmp_path, {}).files == ["rank0000-00000.arrow"]
    frames = FrameStore.read(tmp_path)
    assert (len(frames), frames.offsets.tolist()) == (0, [0])
    assert_same_rows(frames.columns, rows_of(0))


def test_a_folder_without_files_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="files: expected rows of frames, as FrameStore writes them, got no complete"):
        FrameStore.read(tmp_path / "absent")


# Crashes.

def append_and_die(folder: Path) -> None:
    store = FrameStore(folder, COLUMNS, rank=1, run="x")
    for number in range(3):
        store.append(f"flushed-{number}", rows_of(4, seed=number))
    store.flush()
    store.append("in memory", rows_of(4))
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_process_loses_nothing_that_was_flushed(tmp_path: Path):
    write(tmp_path, {"other": rows_of(2)}, rank=0, run="x")
    process = multiprocessing.get_context("spawn").Process(target=append_and_die, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    frames = FrameStore.read(tmp_path)
    assert frames.tokens == ("other", "flushed-0", "flushed-1", "flushed-2")
    assert frames.left_out == ()
    assert_same_rows(frames["flushed-2"], rows_of(4, seed=2))


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    return folder / write(folder, {"a": rows_of(3), "b": rows_of(5)}, rank=1, run="x").files[0]


@settings(max_examples=60)
@given(share=st.floats(0.0, 1.0, exclude_max=True))
def test_a_file_that_breaks_off_anywhere_is_left_out_by_name_and_the_others_count(whole_file: Path, share: float):
    content = whole_file.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), {"c": rows_of(1)}, rank=0, run="x")
        half = Path(folder) / whole_file.name
        half.write_bytes(content[: int(share * len(content))])
        frames = FrameStore.read(folder)
        assert (frames.tokens, frames.left_out) == (("c",), (half,))


def test_a_file_that_was_being_written_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = write(tmp_path, {"a": rows_of(1)})
    begun = tmp_path / f".{store.files[0].removesuffix('.arrow')}.k3y_.arrow"
    begun.touch()
    with caplog.at_level(logging.WARNING):
        assert FrameStore.read(tmp_path).left_out == (begun,)
    assert f"{begun} is not complete: its frames are left out" in caplog.text


def test_a_file_that_is_missing_between_others_is_named(tmp_path: Path):
    store = write(tmp_path, {token: rows_of(1) for token in "abc"}, memory_mb=0)
    lost = tmp_path / store.files[1]
    lost.unlink()
    frames = FrameStore.read(tmp_path)
    assert (frames.tokens, frames.left_out) == (("a", "c"), (lost,))


# Earlier runs.

def test_files_of_another_run_are_refused_until_they_are_cleared(tmp_path: Path):
    write(tmp_path, {"a": rows_of(1)}, run="old")
    with pytest.raises(DataError, match=r"got rank 0 of run 'old'"):
        FrameStore(tmp_path, COLUMNS, rank=1, run="new")
    assert FrameStore.clear(tmp_path) == 1
    write(tmp_path, {"b": rows_of(1)}, rank=1, run="new")
    assert FrameStore.read(tmp_path).tokens == ("b",)


def test_a_rank_is_refused_that_has_written_already(tmp_path: Path):
    write(tmp_path, {"a": rows_of(1)}, rank=0, run="x")
    with pytest.raises(DataError, match=r"none but those of other ranks of run 'x' .*, got rank 0 of run 'x'"):
        FrameStore(tmp_path, COLUMNS, rank=0, run="x")


def test_what_an_earlier_run_was_writing_is_refused_too(tmp_path: Path):
    (tmp_path / "rank0003-00000.arrow").write_bytes(b"ARROW1")
    with pytest.raises(DataError, match="got a file that is not complete"):
        FrameStore(tmp_path, COLUMNS)


def test_clearing_leaves_the_files_of_others(tmp_path: Path):
    write(tmp_path, {"a": rows_of(1)})
    (tmp_path / "notes.txt").touch()
    FrameStore.clear(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_files_of_two_runs_are_not_read_together(tmp_path: Path):
    write(tmp_path / "one", {"a": rows_of(1)}, rank=0, run="x")
    store = write(tmp_path / "two", {"b": rows_of(1)}, rank=1, run="y")
    (tmp_path / "two" / store.files[0]).rename(tmp_path / "one" / store.files[0])
    with pytest.raises(DataError, match=r"rank0001-00000.arrow: run: expected 'x' as in rank0000-00000.arrow, got y"):
        FrameStore.read(tmp_path / "one")


def test_an_arrow_file_of_something_else_is_refused(tmp_path: Path):
    table = pa.table({"token": ["a"]})
    with pa.OSFile(str(tmp_path / "rank0000-00000.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="schema: expected an Arrow file of frames as FrameStore writes them"):
        FrameStore.read(tmp_path)


# Refusals.

@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"score": np.zeros(2, np.float32)}, r"rows of frame 'a': score must be float64 \(N,\), got float32 \(2,\)"),
        ({"box": np.zeros((2, 6), np.float32)}, r"box must be float32 \(N, 2, 3\), got float32 \(2, 6\)"),
        ({"score": np.array(0.5)}, r"score must be float64 \(N,\), got float64 \(\)"),
        ({"label": np.zeros(3, np.int8)}, "must be equally long in all columns, got label 3, is_sure 2, score 2"),
        ({"count": np.array([1, 1])}, "count must be >= 0 and add up to the 3 values of vertices, got 2, the least 0"),
        ({"count": np.array([4, -1])}, "add up to the 3 values of vertices, got 3, the least -1"),
        ({"extra": np.zeros(2)}, "must have the columns label, is_sure, score, count, box, vertices, got .*, extra"),
    ],
)
def test_rows_that_are_not_as_the_columns_say_are_refused(tmp_path: Path, change: dict[str, Any], match: str):
    rows = {**rows_of(2), "count": np.array([1, 2]), "vertices": np.zeros((3, 2)), **change}
    store = FrameStore(tmp_path, COLUMNS)
    with pytest.raises(ValueError, match=match):
        store.append("a", rows)
    assert store.num_frames == 0


def test_a_missing_column_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"must have the columns label, .*, got none"):
        FrameStore(tmp_path, COLUMNS).append("a", {})


def test_a_closed_store_and_a_frame_without_name_are_refused(tmp_path: Path):
    store = FrameStore(tmp_path, COLUMNS)
    with pytest.raises(ValueError, match="token must name the frame, got an empty text"):
        store.append("", rows_of(1))
    store.close()
    with pytest.raises(ValueError, match="is closed; frame 'a' comes too late"):
        store.append("a", rows_of(1))


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({}, "columns must be one or more, none called \"token\", got none"),
        ({"token": Column("int64")}, 'none called "token", got token'),
        ({"a": Column("int8", counted_by="b")}, "column 'a' must be counted by a column Column.*, got 'b'"),
        ({"a": Column("int8", counted_by="b"), "b": Column("int32")}, "got 'b'"),
    ],
)
def test_columns_that_do_not_go_together_are_refused(tmp_path: Path, columns: dict[str, Column], match: str):
    with pytest.raises(ValueError, match=match):
        FrameStore(tmp_path, columns)


@pytest.mark.parametrize("dtype", ["U8", "O", "datetime64[ns]", "complex64", ">f8"])
def test_columns_of_other_types_are_refused(dtype: str):
    with pytest.raises(ValueError, match="dtype must be a bool, an integer or a float of at most 64 bits, got"):
        Column(dtype)


def test_a_shape_of_no_numbers_and_negative_numbers_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"shape must have lengths >= 1, got \(3, 0\)"):
        Column("int8", (3, 0))
    with pytest.raises(ValueError, match="memory_mb and rank must be >= 0, got -1 and 0"):
        FrameStore(tmp_path, COLUMNS, memory_mb=-1)
