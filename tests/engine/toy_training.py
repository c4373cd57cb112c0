"""Runs the training tool on the toy task, in this process or in one of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from perception.engine.build import build_runner
from perception.engine.config import load_config
from perception.engine.runner import Runner

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CONFIG = HERE / "toy_config.py"


def toy_runner(work_dir: Path, *options: str, **kwargs: object) -> Runner:
    """A runner of the toy task with some keys of its config changed."""
    return build_runner(load_config(CONFIG, options), work_dir, **kwargs)      # type: ignore[arg-type]


def run_tool(
    tool: str, *arguments: str | Path, processes: int = 1, options: tuple[str, ...] = (), timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``tools/TOOL.py CONFIG ARGUMENTS`` in one or several new processes."""
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [str(ROOT / "tools" / f"{tool}.py"), str(CONFIG), *map(str, arguments)]
    command += ["--launcher", "pytorch"] if processes > 1 else []
    command += ["--cfg-options", *options] if options else []
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
