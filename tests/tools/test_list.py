"""tools/list.py prints the zoo, writes its tables, shows broken plugins as such and ends as a tool should."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from perception.engine.cli import run_tool
from perception.errors import DataError
from perception.registry import load_plugin, plugin_modules
from perception.zoo.entries import installed_entries
from perception.zoo.markdown import BEGIN, END, MIXER_COLUMNS, PLUGIN_COLUMNS, VARIANT_COLUMNS, zoo_tables
from perception.zoo.mixers import registered_mixers
from perception.zoo.model_size import model_size

ROOT = Path(__file__).resolve().parents[2]
TOOL = ROOT / "tools/list.py"
README = (ROOT / "README.md").read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
SMALL = [                                            # what is counted in a moment, of every sort of input
    "configs/flatformer/flatformer_nuscenes.py", "configs/p2at/p2at_m_camvid.py", "configs/drct/drct_x2_df2k.py",
    "configs/poolformer/poolformer_s24.py", "configs/tnt/ptnt_ti_patch16_192.py",
    "configs/ecoformer/pvt_v2_b0_ecoformer.py", "configs/geodecoder/geodecoder_swinb_mp16.py",
    "configs/vectormapnet/vectormapnet_lidar_nuscenes.py",
]


def cells_of(tables: str, columns: Sequence[str]) -> list[dict[str, str]]:
    """The lines of the table that has these columns."""
    heading = f"| {' | '.join(columns)} |"
    lines = tables.partition(heading)[2].partition("\n\n")[0].splitlines()[2:]
    return [dict(zip(columns, line.strip("| ").split(" | "), strict=True)) for line in lines]


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


def test_the_tables_list_every_plugin_and_every_config():
    tables = zoo_tables(installed_entries())
    assert [row["plugin"] for row in cells_of(tables, PLUGIN_COLUMNS)] == [f"`{name}`" for name in plugin_modules()]
    listed = [row["config"] for row in cells_of(tables, VARIANT_COLUMNS)]
    for name in plugin_modules():
        info = load_plugin(name)
        for config in {*info.variants, *info.checkpoints.values()}:
            assert listed.count(f"[`{Path(config).stem}`]({config})") == 1


def test_the_readme_tells_what_the_plugins_do():
    now = zoo_tables(installed_entries(), registered_mixers())
    assert cells_of(README, PLUGIN_COLUMNS) == cells_of(now, PLUGIN_COLUMNS)
    assert cells_of(README, MIXER_COLUMNS) == cells_of(now, MIXER_COLUMNS)
    counts = dict.fromkeys(("parameters", "GFLOP"))
    assert [row | counts for row in cells_of(README, VARIANT_COLUMNS)] == [
        row | counts for row in cells_of(now, VARIANT_COLUMNS)
    ]


@pytest.mark.parametrize("config", SMALL)
def test_the_numbers_of_the_readme_are_those_of_the_models(config):
    (row,) = [row for row in cells_of(README, VARIANT_COLUMNS) if row["config"].endswith(f"({config})")]
    size = model_size(ROOT / config, None if row["picture"] == "-" else [int(n) for n in row["picture"].split(" x ")])
    assert row["parameters"] == f"{size.parameters:,}"
    if size.flops is None:
        assert row["GFLOP"] == "-"
    else:
        assert float(row["GFLOP"].replace(",", "")) == pytest.approx(size.flops / 1e9, rel=0.005)


@pytest.mark.slow
def test_the_readme_is_as_the_tool_writes_it(tmp_path):
    copy = tmp_path / "README.md"
    copy.write_text(f"{BEGIN}\n{END}\n")
    assert tool().main(["--markdown", str(copy)]) == 0
    assert copy.read_text(encoding="utf-8") == f"{BEGIN}{README}{END}\n"


def test_a_broken_plugin_is_shown_with_its_reason_and_the_status_is_0(tmp_path):
    (tmp_path / "acme_bad").mkdir()
    (tmp_path / "acme_bad" / "__init__.py").write_text("PLUGIN = 1 / 0\n")
    info = tmp_path / "acme_bad-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-bad\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[perception.plugins]\nacme_bad = acme_bad\n")
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    result = subprocess.run(
        [sys.executable, str(TOOL), "--json", str(tmp_path / "zoo.json")],
        env={**os.environ, "PYTHONPATH": path},
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
