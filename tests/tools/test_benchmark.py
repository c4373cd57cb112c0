"""The benchmark: everything is timed, what is printed is written, nothing is asserted about speed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from perception_ops import native_kernels

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_tool", ROOT / "tools/benchmark.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ops_and_stages_are_timed_and_written(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = ROOT / "configs/flatformer/flatformer_tiny.py"
    words = ["all", "--config", str(config), "--points", "2000", "--repeats", "1", "--device", "cpu"]
    assert tool.main([*words, "--json", str(tmp_path / "times.json")]) == 0
    printed = capsys.readouterr().out
    written = json.loads((tmp_path / "times.json").read_text())
    ops = {row["name"]: row for row in written["ops"]}
    stages = [row["name"] for row in written["flatformer_tiny, one frame"]]
    assert {"window_partition", "rotated_nms"} <= set(ops)
    assert {name for name in ops if ops[name]["reference_ms"] is not None} == set(ops) & set(native_kernels())
    assert stages[-2:] == ["whole prediction", "training step"]
    assert all(name in printed for name in (*ops, *stages))
    assert all(row["ms"] > 0 for row in ops.values())


@pytest.mark.parametrize("words", [["ops", "--repeats", "0"], ["ops", "--points", "-1"], ["speed"]])
def test_bad_usage_is_refused(tool: ModuleType, words: list[str]):
    with pytest.raises(SystemExit, match="2"):
        tool.main(words)
