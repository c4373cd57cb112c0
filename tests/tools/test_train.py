"""The training tool: what it prints, where results go, and how it fails."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests/engine/toy_config.py"


@pytest.fixture(scope="module")
def train() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_tool", ROOT / "tools/train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def toy_task_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY.parent))


def test_training_writes_a_work_directory_named_after_the_config(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert train.main([str(TOY), "--seed", "3", "--cfg-options", "train_cfg.max_iters=6"]) == 0
    work_dir = tmp_path / "work_dirs/toy_config"
    names = {path.name for path in work_dir.iterdir()}
    assert {"iter_6.pth", "last_checkpoint", "config.py", "scalars.jsonl"} <= names
    assert "'seed': 3" in (work_dir / "config.py").read_text() or "seed=3" in (work_dir / "config.py").read_text()
    assert (tmp_path / "work_dirs/latest").resolve() == work_dir
    assert capsys.readouterr().out.splitlines()[-1] == "wrote work_dirs/toy_config"


def test_the_written_config_makes_the_same_run(train: ModuleType, tmp_path: Path):
    from perception.engine.checkpoint import load_checkpoint

    train.main([str(TOY), "--work-dir", str(tmp_path / "a"), "--cfg-options", "train_cfg.max_iters=6"])
    train.main([str(tmp_path / "a/config.py"), "--work-dir", str(tmp_path / "b")])
    first, second = (load_checkpoint(tmp_path / run / "iter_6.pth")["state_dict"] for run in ("a", "b"))
    assert all((first[key] == second[key]).all() for key in first)


@pytest.mark.parametrize("resume", [["--resume"], ["--resume", "RUN/iter_6.pth"]], ids=["newest", "named"])
def test_resume_goes_on_from_a_checkpoint(
    train: ModuleType, tmp_path: Path, resume: list[str], capsys: pytest.CaptureFixture[str]
):
    run = ["--work-dir", str(tmp_path)]
    train.main([str(TOY), *run, "--cfg-options", "train_cfg.max_iters=6"])
    train.main([str(TOY), *run, *[word.replace("RUN", str(tmp_path)) for word in resume]])
    assert "iter_6.pth after iteration 6" in capsys.readouterr().out
    assert (tmp_path / "last_checkpoint").read_text() == "iter_12.pth\n"


def test_latest_leaves_a_folder_of_that_name_alone(train: ModuleType, tmp_path: Path):
    (tmp_path / "latest").mkdir()
    train.point_latest(tmp_path / "run")
    assert not (tmp_path / "latest").is_symlink()


def test_latest_moves_from_run_to_run(train: ModuleType, tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train.point_latest(tmp_path / name)
    assert (tmp_path / "latest").resolve() == tmp_path / "two"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "one", "two"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["gone.py"], "error: gone.py: no such config file"),
        ([str(TOY), "--cfg-options", "modle.width=1"], 'has no such key (did you mean "model"?)'),
        ([str(TOY), "--work-dir", "/proc/run"], "error: /proc/run: the work directory cannot be written"),
        ([str(TOY), "--work-dir", "WORK", "--resume", "gone.pth"], "error: gone.pth: no such checkpoint"),
        ([str(TOY), "--work-dir", "WORK", "--device", "tpu"], "error: device: expected"),
    ],
)
def test_a_slip_is_told_in_one_line_with_status_1(
    train: ModuleType, tmp_path: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
):
    from perception.engine.cli import run_tool

    assert run_tool(train.main, [argument.replace("WORK", str(tmp_path)) for argument in arguments]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert told in line


def test_bad_usage_ends_with_status_2(train: ModuleType, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        train.main([str(TOY), "--launcher", "mpi"])
    assert "invalid choice: 'mpi'" in capsys.readouterr().err


def test_help_shows_commands_and_loads_no_torch(train: ModuleType, capsys: pytest.CaptureFixture[str]):
    import subprocess

    code = "import sys; sys.argv = ['train.py', '--help']\ntry:\n    import runpy; runpy.run_path({!r}, run_name='x')['parse_args'](None)\nfinally:\n    print('torch' in sys.modules)"     # noqa: E501
    result = subprocess.run(
        [sys.executable, "-c", code.format(str(ROOT / "tools/train.py"))], capture_output=True, text=True, check=True
    )
    assert "torchrun --nproc-per-node 2 tools/train.py CONFIG --launcher pytorch" in result.stdout
    assert result.stdout.splitlines()[-1] == "False"
