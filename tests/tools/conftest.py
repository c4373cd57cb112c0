"""What the tests of tools share."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from perception.engine.cli import run_tool
from perception.engine.inference import load_model

ROOT = Path(__file__).resolve().parents[2]
Scored = dict[str, Any]


@pytest.fixture(scope="session")
def load_tool() -> Callable[[str], ModuleType]:
    """The module of a tool by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / f"tools/{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def untrained_detector(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """Weights for a config of a detector that nothing has trained; it finds objects all over the place."""

    def save(config: Path) -> Path:
        torch.manual_seed(0)
        model = load_model(config, None).model
        torch.nn.init.constant_(model.head.task_heads[0]["heatmap"][-1].bias, 0.0)
        path = tmp_path_factory.mktemp("weights") / "untrained.pth"
        torch.save({"state_dict": model.state_dict()}, path)
        return path

    return save


@pytest.fixture(scope="session")
def evaluate(load_tool: Callable[[str], ModuleType]) -> ModuleType:
    """The tool."""
    return load_tool("evaluate")


@pytest.fixture
def scored(evaluate: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Scored]:
    """Scores files and gives what was written, after a look that it was printed."""

    def run(metric: str, predictions: Path, truth: Path, *options: str) -> Scored:
        file = tmp_path / "scores.json"
        assert evaluate.main([metric, str(predictions), str(truth), *options, "--json", str(file)]) == 0
        printed, content = capsys.readouterr().out, json.loads(file.read_text())
        assert content["metric"] == metric
        assert f"wrote {file}" in printed.splitlines()
        assert all(note in printed for note in content["notes"])
        return content

    return run


@pytest.fixture
def told(evaluate: ModuleType, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The line of an expected error."""

    def run(metric: str, predictions: Path, truth: Path, *options: str) -> str:
        assert run_tool(evaluate.main, [metric, str(predictions), str(truth), *options]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run
