"""tools/demonstrate_width.py: the table, the picture and the numbers."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image

TOOL = Path(__file__).resolve().parents[2] / "tools/demonstrate_width.py"


def test_error_and_bound_are_printed_written_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    main = runpy.run_path(str(TOOL))["main"]
    picture, table = tmp_path / "width.png", tmp_path / "width.json"
    options = ["--widths", "4", "8", "--samples", "500", "--out", str(picture), "--json", str(table)]
    assert main(options) == 0
    rows = json.loads(table.read_text())
    assert [row["segments"] for row in rows] == [4, 8]
    assert all(0 < row["error"] <= row["bound"] for row in rows)
    assert f"{rows[1]['error']:.3e}" in capsys.readouterr().out
    assert Image.open(picture).size == (840, 570)
