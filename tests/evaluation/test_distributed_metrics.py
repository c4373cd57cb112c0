"""Two ranks hand in their halves; what comes out is what one process gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from test_nuscenes_detection import BOXES, predictions, write_root

from perception.evaluation.nuscenes_detection import NuScenesDetectionMetric

FRAMES = {0: [("a", 10.0), ("a", 10.0)], 1: [("b", 20.0), ("b", 20.0)]}      # padded: every frame comes twice


def run_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metric = NuScenesDetectionMetric(str(folder / "root"), output_dir=str(folder / "out"))
    metric.process([], [predictions(token, x) for token, x in FRAMES[rank]])
    flat = metric.evaluate(size=2)
    (folder / f"rank{rank}.json").write_text(json.dumps(flat))
    dist.destroy_process_group()


def test_two_ranks_give_what_one_process_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_root(tmp_path / "root", BOXES)
    mp.spawn(run_rank, args=(tmp_path,), nprocs=2)
    metric = NuScenesDetectionMetric(str(tmp_path / "root"), output_dir=str(tmp_path / "single"))
    metric.process([], [predictions("a", 10.0), predictions("b", 20.0)])
    single = metric.evaluate(size=2)
    for rank in (0, 1):
        flat = json.loads((tmp_path / f"rank{rank}.json").read_text())
        assert flat.keys() == single.keys()
        np.testing.assert_allclose(list(flat.values()), list(single.values()), rtol=0, atol=0)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"root", "out", "single"}
