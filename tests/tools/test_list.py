"""tools/list.py prints the zoo, shows broken plugins as such and ends as a tool should."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from perception.engine.cli import run_tool
from perception.errors import DataError

TOOL = Path(__file__).resolve().parents[2] / "tools" / "list.py"


def tool():
    spec = importlib.util.spec_from_file_location("list_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_zoo_is_printed_and_written(tmp_path, capsys):
    assert tool().main(["--json", str(tmp_path / "zoo.json")]) == 0
    zoo = json.loads((tmp_path / "zoo.json").read_text())
    (flatformer,) = [row for row in zoo["plugins"] if row["name"] == "flatformer"]
    assert flatformer["broken"] is None
    assert flatformer["year"] == 2023
    assert "lidar_backbone" in flatformer["roles"]
    printed = capsys.readouterr().out
    assert "flatformer" in printed
    assert f"wrote {tmp_path / 'zoo.json'}" in printed


def test_parameters_of_a_model_are_counted_without_allocating_it(tmp_path):
    config = tmp_path / "model.py"
    config.write_text("model = dict(type='torch.nn.Linear', in_features=10**6, out_features=10**6)\n")
    assert tool().parameters_of(str(config)) == 10**12 + 10**6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model = dict(type='NoSuchModel')", 'unknown type "NoSuchModel"'),
        ("model = dict(type='torch.nn.Linear', in_features=1)", "out_features"),
        ("train_cfg = None", "it has no model"),
    ],
)
def test_a_config_that_cannot_be_built_says_why(tmp_path, text, reason):
    config = tmp_path / "model.py"
    config.write_text(text + "\n")
    answer = tool().parameters_of(str(config))
    assert answer.startswith("cannot be built: ")
    assert reason in answer


def test_a_broken_plugin_is_shown_with_its_reason_and_the_status_is_0(tmp_path):
    (tmp_path / "acme_bad").mkdir()
    (tmp_path / "acme_bad" / "__init__.py").write_text("PLUGIN = 1 / 0\n")
    info = tmp_path / "acme_bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[perception.plugins]\nacme_bad = acme_bad\n")
    result = subprocess.run(
        [sys.executable, str(TOOL), "--json", str(tmp_path / "zoo.json")],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert "broken: plugin \"acme_bad\" (acme_bad) cannot be imported: ZeroDivisionError" in result.stdout
    rows = {row["name"]: row for row in json.loads((tmp_path / "zoo.json").read_text())["plugins"]}
    assert "ZeroDivisionError" in rows["acme_bad"]["broken"]
    assert rows["flatformer"]["broken"] is None


def test_help_shows_examples_and_bad_usage_has_status_2(capsys):
    with pytest.raises(SystemExit) as stopped:
        tool().main(["--help"])
    assert stopped.value.code == 0
    assert "python tools/list.py --params" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        tool().main(["--wrong"])
    assert stopped.value.code == 2


def raises(error: BaseException):
    def main(argv):
        raise error

    return main


def test_an_expected_error_is_one_line_and_status_1(capsys):
    assert run_tool(raises(DataError("a.json", "field", "a number", "text"))) == 1
    assert capsys.readouterr().err == "error: a.json: field: expected a number, got text\n"


def test_an_interrupt_has_status_130(capsys):
    assert run_tool(raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_tool(raises(ZeroDivisionError()))


def test_the_status_and_the_arguments_pass_through():
    assert run_tool(lambda argv: len(argv or ()), ["a", "b"]) == 2
