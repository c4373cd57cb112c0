"""The boxes of a whole validation set through a `FrameStore`: how long it takes, and how much memory.

By default few frames; those of nuScenes are for
    FRAMES=6019 pytest tests/benchmarks/test_frame_store_benchmark.py --benchmark-enable
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perception.evaluation.frame_file import Column
from perception.evaluation.frame_store import FrameStore
from perception.evaluation.stored_frames import StoredFrames

FRAMES = int(os.environ.get("FRAMES", 50))
BOXES = 500                                                # of a frame: what nuScenes takes at most
VALIDATION_FRAMES, LIMIT_KIB = 6019, 1.5 * 2**20
COLUMNS = {
    "translation": Column("float64", (3,)), "size": Column("float64", (3,)), "rotation": Column("float64", (4,)),
    "velocity": Column("float64", (2,)), "label": Column("int8"), "score": Column("float64"),
}


def write(folder: Path, frames: int) -> None:
    """Random boxes of so many frames."""
    rng = np.random.default_rng(0)
    with FrameStore(folder, COLUMNS) as store:
        for number in range(frames):
            rows = {name: rng.random((BOXES, *column.shape)) for name, column in COLUMNS.items()}
            store.append(str(number), {**rows, "label": rng.integers(0, 10, BOXES).astype(np.int8)})


def read(folder: Path) -> StoredFrames:
    """All rows, and the frames one by one."""
    frames = FrameStore.read(folder)
    assert len(frames.columns["score"]) == sum(len(rows["score"]) for rows in frames.values())
    return frames


def test_rows_are_written(benchmark: Any, tmp_path: Path):
    folders = (tmp_path / str(number) for number in range(10**6))
    benchmark(lambda: write(next(folders), FRAMES))
    assert len(read(tmp_path / "0")) == FRAMES


def test_rows_are_read(benchmark: Any, tmp_path: Path):
    write(tmp_path, FRAMES)
    assert len(benchmark(read, tmp_path)) == FRAMES


@pytest.mark.slow
def test_a_whole_validation_set_needs_less_than_one_and_a_half_gibibytes(tmp_path: Path):
    """With all that a metric imports, and every column gathered for the score."""
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "import perception.evaluation.nuscenes_detection\n"
        "from test_frame_store_benchmark import VALIDATION_FRAMES, read, write\n"
        "write(Path(sys.argv[1]), VALIDATION_FRAMES)\n"
        "read(Path(sys.argv[1]))\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=Path(__file__).parent, check=True, capture_output=True,
        text=True,
    )
    peak_kib = int(told.stdout)
    assert peak_kib < LIMIT_KIB
