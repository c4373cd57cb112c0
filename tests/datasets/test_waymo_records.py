"""TFRecord files: what TensorFlow writes, what is damaged, and what is made whole again."""

from __future__ import annotations

import pickle
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.datasets.waymo.records import (
    RecordFile,
    masked_crc32c,
    read_record_at,
    read_records,
    write_records,
)
from perception.errors import DataError

PAYLOADS = [b"front", b"", bytes(range(256)) * 50, b"rear"]
SMALL = [b"one", b"four", b"nine!"]                   # records of 19, 20 and 21 bytes
OFFSETS = (0, 19, 39)


def file_of(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def written(path: Path, payloads: list[bytes], *, compress: bool = False) -> bytes:
    return write_records(path, payloads, compress=compress).read_bytes()


def flipped(content: bytes, byte: int, bit: int = 0) -> bytes:
    return content[:byte] + bytes([content[byte] ^ 1 << bit]) + content[byte + 1 :]


def read_until_error(path: Path) -> tuple[list[bytes], DataError | None]:
    records: list[bytes] = []
    try:
        for payload in read_records(path):
            records.append(payload)
    except DataError as error:
        return records, error
    return records, None


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        ("5119020000000000", 0xB02D600F),             # headers of two files that TensorFlow wrote
        ("cc1f000000000000", 0x5EB10811),
    ],
)
def test_checksums_are_those_of_tensorflow(data: str, checksum: int):
    assert masked_crc32c(bytes.fromhex(data)) == checksum


def test_a_record_is_length_checksum_bytes_checksum(tmp_path: Path):
    length = struct.pack("<Q", 5)
    expected = length + struct.pack("<I", masked_crc32c(length)) + b"front" + struct.pack("<I", masked_crc32c(b"front"))
    assert written(tmp_path / "a.tfrecord", [b"front"]) == expected


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_records_come_back_in_their_order(tmp_path: Path, compress: bool):
    path = write_records(tmp_path / "a.tfrecord", PAYLOADS, compress=compress)
    assert list(read_records(path)) == PAYLOADS
    assert (path.read_bytes()[:2] == b"\x1f\x8b") is compress


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_records_are_read_in_any_order_and_after_pickling(tmp_path: Path, compress: bool):
    path = write_records(tmp_path / "a.tfrecord", PAYLOADS, compress=compress)
    records = pickle.loads(pickle.dumps(RecordFile(path)))
    order = random.Random(0).choices(range(len(PAYLOADS)), k=20)
    assert [records[number] for number in order] == [PAYLOADS[number] for number in order]
    assert records[-1] == PAYLOADS[-1]
    assert records[1:3] == PAYLOADS[1:3]
    assert list(records) == PAYLOADS
    with pytest.raises(IndexError):
        records[len(PAYLOADS)]


@settings(deadline=None, max_examples=40)      # files are synced, which takes its time
@given(payloads=st.lists(st.binary(max_size=40), max_size=6), compress=st.booleans())
def test_any_bytes_come_back(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], compress: bool):
    path = tmp_path_factory.getbasetemp() / "any.tfrecord"
    write_records(path, payloads, compress=compress)
    assert list(read_records(path)) == list(RecordFile(path)) == payloads


def test_a_gzipped_file_is_read_back_and_forth_over_its_marks(tmp_path: Path):
    payloads = [bytes([number]) * (3 << 20) for number in range(7)]          # 21 MiB, a mark every 8
    records = RecordFile(write_records(tmp_path / "a.tfrecord", payloads, compress=True))
    for number in (6, 0, 3, 5, 4, 1, 6, 2):
        assert records[number] == payloads[number]


def test_members_of_a_gzip_file_follow_one_another(tmp_path: Path):
    parts = [written(tmp_path / "a.tfrecord", [payload], compress=True) for payload in PAYLOADS]
    path = file_of(tmp_path / "all.tfrecord", b"".join(parts))
    assert list(read_records(path)) == list(RecordFile(path)) == PAYLOADS


def test_a_record_that_begins_like_a_gzip_file_is_a_record(tmp_path: Path):
    payload = bytes(0x088B1F)                          # its length is written as 1f 8b 08
    content = written(tmp_path / "a.tfrecord", [payload])
    assert content.startswith(b"\x1f\x8b\x08")
    assert list(read_records(tmp_path / "a.tfrecord")) == [payload]


def test_places_tell_where_records_lie(tmp_path: Path):
    path = write_records(tmp_path / "a.tfrecord", SMALL)
    records = RecordFile(path)
    assert [(place.number, place.offset) for place in records.places] == [(0, 0), (1, 19), (2, 39)]
    assert [place.length for place in records.places] == [3, 4, 5]
    assert [read_record_at(path, place.offset) for place in records.places] == SMALL
    reader = read_records(path)
    next(reader)
    assert reader.place == records.places[0]


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_an_empty_file_has_no_record(tmp_path: Path, compress: bool):
    path = write_records(tmp_path / "a.tfrecord", [], compress=compress)
    assert list(read_records(path)) == []
    assert len(RecordFile(path)) == 0


@pytest.mark.parametrize("cut", range(60))
def test_a_file_cut_anywhere_gives_its_whole_records_and_names_the_broken_one(tmp_path: Path, cut: int):
    path = file_of(tmp_path / "a.tfrecord", written(tmp_path / "whole.tfrecord", SMALL)[:cut])
    whole = sum(cut >= end for end in (19, 39, 60))
    records, error = read_until_error(path)
    assert records == SMALL[:whole]
    if cut in OFFSETS:
        assert error is None
        return
    assert f"a.tfrecord: record {whole} at byte {OFFSETS[whole]}: " in str(error)
    assert "before the file ends" in str(error)
    with pytest.raises(DataError, match=f"record {whole} at byte {OFFSETS[whole]}"):
        RecordFile(path)
    skipping = read_records(path, skip_corrupt=True)
    assert list(skipping) == SMALL[:whole]
    assert skipping.skipped == 1


def test_a_gzipped_file_cut_anywhere_is_told(tmp_path: Path):
    content = written(tmp_path / "whole.tfrecord", SMALL, compress=True)
    for cut in range(1, len(content)):
        path = file_of(tmp_path / "a.tfrecord", content[:cut])
        records, error = read_until_error(path)
        assert records == SMALL[: len(records)]
        assert f"record {len(records)} at byte" in str(error)
        skipping = read_records(path, skip_corrupt=True)
        assert list(skipping) == records
        assert skipping.skipped == 1


def test_every_flipped_bit_is_noticed(tmp_path: Path):
    content = written(tmp_path / "whole.tfrecord", SMALL)
    for place in range(8 * len(content)):
        path = file_of(tmp_path / "a.tfrecord", flipped(content, *divmod(place, 8)))
        records, error = read_until_error(path)
        assert records == SMALL[: len(records)]
        assert error is not None, f"bit {place}"
        assert f"record {len(records)} at byte {OFFSETS[len(records)]}" in str(error)


@pytest.mark.parametrize(
    ("byte", "match", "left"),
    [
        (19, "expected the length's checksum to be", SMALL[:1]),
        (19 + 9, "no record can be found from here on", SMALL[:1]),
        (19 + 12, "expected the checksum of its 4 bytes to be", [SMALL[0], SMALL[2]]),
        (19 + 17, "expected the checksum of its 4 bytes to be", [SMALL[0], SMALL[2]]),
    ],
    ids=["length", "checksum of the length", "bytes", "checksum of the bytes"],
)
def test_corrupt_records_are_named_and_passed_over_if_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, byte: int, match: str, left: list[bytes]
):
    path = file_of(tmp_path / "a.tfrecord", flipped(written(tmp_path / "whole.tfrecord", SMALL), byte))
    with pytest.raises(DataError, match=rf"a.tfrecord: record 1 at byte 19: .*{match}"):
        list(read_records(path))
    reader = read_records(path, skip_corrupt=True)
    assert list(reader) == left
    assert reader.skipped == 1
    assert "skipped a corrupt record" in caplog.text
    assert "record 1 at byte 19" in caplog.text
    records = RecordFile(path, skip_corrupt=True)
    assert list(records) == left
    assert records.skipped == 1


def test_an_index_without_skipping_checks_bytes_when_they_are_read(tmp_path: Path):
    path = file_of(tmp_path / "a.tfrecord", flipped(written(tmp_path / "whole.tfrecord", SMALL), 19 + 12))
    records = RecordFile(path)
    assert (records[0], records[2]) == (SMALL[0], SMALL[2])
    with pytest.raises(DataError, match="record 1 at byte 19: expected the checksum of its 4 bytes"):
        records[1]


def test_a_length_beyond_all_memory_is_a_file_that_ends_early(tmp_path: Path):
    length = struct.pack("<Q", 1 << 62)
    path = file_of(tmp_path / "a.tfrecord", length + struct.pack("<I", masked_crc32c(length)) + b"abc")
    with pytest.raises(DataError, match="record 0 at byte 0: expected 4611686018427387908 bytes at 12, got 3 before"):
        list(read_records(path))


def test_a_damaged_gzip_file_ends_where_it_is_damaged(tmp_path: Path):
    noise = [random.Random(number).randbytes(1 << 16) for number in range(3)]
    content = written(tmp_path / "whole.tfrecord", noise, compress=True)
    middle = len(content) // 2
    path = file_of(tmp_path / "a.tfrecord", content[:middle] + bytes(64) + content[middle + 64 :])
    reader = read_records(path, skip_corrupt=True)
    left = list(reader)
    assert left[0] == noise[0]
    assert set(left) < set(noise)
    assert reader.skipped >= 1


def test_files_that_cannot_be_opened_are_told(tmp_path: Path):
    for path in (tmp_path / "none.tfrecord", tmp_path):
        with pytest.raises(DataError, match="file: expected a readable TFRecord file"):
            read_records(path)
        with pytest.raises(DataError, match="file: expected a readable TFRecord file"):
            RecordFile(path)


@pytest.mark.parametrize(("offset", "match"), [(60, "expected a record, got the end of the file"), (7, "checksum")])
def test_a_place_without_a_record_is_told(tmp_path: Path, offset: int, match: str):
    path = write_records(tmp_path / "a.tfrecord", SMALL)
    with pytest.raises(DataError, match=f"record at byte {offset}: .*{match}"):
        read_record_at(path, offset)


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path):
    def failing() -> Iterator[bytes]:
        yield b"new"
        raise RuntimeError("no more")

    path = write_records(tmp_path / "a.tfrecord", SMALL)
    with pytest.raises(RuntimeError, match="no more"):
        write_records(path, failing())
    assert list(read_records(path)) == SMALL
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.tfrecord"]


def test_errors_survive_the_way_out_of_a_worker(tmp_path: Path):
    path = file_of(tmp_path / "a.tfrecord", written(tmp_path / "whole.tfrecord", SMALL)[:30])
    _, error = read_until_error(path)
    copied: Any = pickle.loads(pickle.dumps(error))
    assert isinstance(copied, DataError)
    assert str(copied) == str(error)
