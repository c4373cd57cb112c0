"""A file is the old one or the whole new one."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from perception.atomic_write import atomic_path, write_json, write_json_entries


def test_an_exception_leaves_the_old_content_and_no_leftover(tmp_path: Path):
    path = write_json(tmp_path / "deep" / "a.json", {"old": 1})
    with pytest.raises(UnicodeEncodeError, match="surrogates"), atomic_path(path) as temporary:
        temporary.write_text("half" * 10_000 + "\ud800", encoding="utf-8")
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["a.json"]


def test_the_new_content_appears_only_at_the_end_and_the_suffix_is_kept(tmp_path: Path):
    path = tmp_path / "a.feather"
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.suffix == ".feather"
    assert path.read_text() == "new"


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path):
    plain = tmp_path / "plain"
    plain.touch()
    written = write_json(tmp_path / "a.json", [])
    assert stat.S_IMODE(written.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_what_json_cannot_hold_writes_nothing(tmp_path: Path):
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {1, 2})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("entries", [{}, {"a": [1.5, None]}, {'"quoted"': [], "ü": {"b": 0.1}}])
@pytest.mark.parametrize("head", [{}, {"meta": {"use_lidar": True}}])
def test_entries_one_by_one_give_the_text_of_the_whole(
    tmp_path: Path, head: dict[str, object], entries: dict[str, object]
):
    path = write_json_entries(tmp_path / "a.json", head, "results", iter(entries.items()))
    assert path.read_text() == json.dumps({**head, "results": entries})


def test_an_entry_that_cannot_be_made_writes_nothing(tmp_path: Path):
    with pytest.raises(ZeroDivisionError):
        write_json_entries(tmp_path / "a.json", {}, "results", ((str(number), 1 / number) for number in (1, 0)))
    assert list(tmp_path.iterdir()) == []
