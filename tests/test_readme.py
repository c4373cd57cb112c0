"""The README's commands parse, its files exist, and its plugin trains as it stands there."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip()
    for kind, text in BLOCKS if kind == "bash"
    for line in text.splitlines() if "tools/" in line
]
IN_THIS_REPOSITORY = [command for command in COMMANDS if "flatformer_mean.py" not in command]

TRAIN = """
import torch
from perception.engine.config import load_config
from perception.registry import MODELS
from perception.structures import Annotations, Boxes3D, Frame, PointCloud

torch.manual_seed(0)
model = MODELS.build(load_config("flatformer_mean.py").model)
names = ("x", "y", "z", "intensity", "time")
points = PointCloud(torch.rand(300, 5) * torch.tensor([20.0, 20.0, 2.0, 1.0, 0.0]), names)
boxes = Boxes3D(torch.tensor([[10.0, 10.0, 0.0, 4.0, 2.0, 1.5, 0.3, 0.0, 0.0]]))
frame = Frame("a", 0, points=points, annotations=Annotations(boxes, torch.tensor([0]), model.classes))
mixer = model.lidar_backbone.blocks[0].layers[0].mixer
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
before = mixer.proj.weight.detach().clone()
sum(model(**model.data_preprocessor([frame], True), mode="loss").values()).backward()
optimizer.step()
assert not torch.equal(before, mixer.proj.weight)
print("trained", type(mixer).__module__)
"""


def example_file(name: str) -> str:
    """The block that begins with ``# name``."""
    (text,) = [text for _, text in BLOCKS if text.startswith(f"# {name}\n")]
    return text


def test_the_example_plugin_trains_from_its_config(tmp_path: Path):
    entry_points = example_file("pyproject.toml").partition('[project.entry-points."perception.plugins"]\n')[2]
    metadata = tmp_path / "mean_mixer-0.1.dist-info"       # what pip leaves behind
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mean-mixer\nVersion: 0.1\n")
    (metadata / "entry_points.txt").write_text("[perception.plugins]\n" + entry_points.replace('"', ""))
    (tmp_path / "mean_mixer.py").write_text(example_file("mean_mixer.py"))
    config = example_file("flatformer_mean.py").replace('"configs/', f'"{ROOT}/configs/')
    (tmp_path / "flatformer_mean.py").write_text(config)
    result = subprocess.run(
        [sys.executable, "-c", TRAIN], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "trained mean_mixer" in result.stdout


def test_the_example_plugin_is_about_thirty_lines():
    lines = [line for line in example_file("mean_mixer.py").splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.parametrize("command", IN_THIS_REPOSITORY)
def test_a_command_of_the_readme_parses(command: str):
    words = shlex.split(command)
    script = next(position for position, word in enumerate(words) if word.startswith("tools/"))
    spec = importlib.util.spec_from_file_location("readme_tool", ROOT / words[script])
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.parse_args(words[script + 1:])                    # exits with status 2 if the command is wrong
    for config in (word for word in words if word.startswith("configs/")):
        assert (ROOT / config).is_file()


def test_every_picture_and_folder_that_the_readme_names_is_there():
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    folders = re.findall(r"`(perception/\w+|plugins|ops)`", README)
    assert pictures
    assert len(folders) > 8
    for name in (*pictures, *folders):
        assert (ROOT / name).exists(), name
