"""The seeded drive has Waymo's sizes, and both ways of reading it give the same points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from perception.datasets.waymo.frames import read_frames
from perception.datasets.waymo.names import LASERS
from perception.datasets.waymo.records import RecordFile
from perception.engine.benchmark.setting import Setting
from perception.engine.benchmark.waymo_drive import write_drive
from perception.engine.benchmark.waymo_reading import benchmark_waymo_reading, check_same_points, read_plainly
from perception.errors import PerceptionError

SIZES = {"FRONT": (20, 60), "TOP": (64, 265), "REAR": (20, 60), "SIDE_LEFT": (20, 60), "SIDE_RIGHT": (20, 60)}


def test_a_drive_has_the_points_of_a_street(tmp_path: Path):
    path = write_drive(tmp_path / "drive.tfrecord", 1, sizes=SIZES)
    (frame,) = read_frames(path)
    returns = frame.returns(projections=True)
    assert [found.laser for found in returns[:5]] == list(LASERS[1:])
    assert 10_000 < len(returns[0]) < 16_960               # of the TOP laser's pixels: more than one turn
    plain = read_plainly(RecordFile(path)[0])
    for found, points in zip(returns, plain, strict=True):
        np.testing.assert_allclose(found.xyz, points, atol=1e-5, rtol=0)       # float32 has steps of 8e-6 at 75 m
        if found.return_number == 1:                       # second returns lie behind, below the road too
            assert np.quantile(points[:, 2], 0.01) > -0.5
    seen = returns[0].projections
    assert seen is not None
    assert set(np.unique(seen[:, 0])) == {0, 1, 2, 3, 4, 5}


def test_there_is_a_row_with_projections_and_one_without():
    setting = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)
    rows = list(benchmark_waymo_reading(setting, samples=1, repeats=1, sizes=SIZES))
    assert [row.name for row in rows] == ["waymo_reading/points", "waymo_reading/points and projections"]
    assert all(row.ratio is not None and row.ratio > 0 for row in rows)
    assert len({row.size for row in rows}) == 1


@pytest.mark.parametrize(
    ("ours", "match"),
    [([[0.0, 0.0, 0.0]], "points lie 1 m from those"), ([], r"\[0\] points of the lasers, read plainly \[1\]")],
)
def test_points_that_are_not_those_read_plainly_are_an_error(ours: list[list[float]], match: str):
    with pytest.raises(PerceptionError, match=match):
        check_same_points([np.array(ours, np.float32).reshape(-1, 3)], [np.array([[0.0, -1.0, 0.5]])])
