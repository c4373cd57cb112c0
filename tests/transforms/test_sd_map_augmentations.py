"""Forgetting and misplacing the SD map."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_frames import scene

from perception.structures import Frame, Polylines, SDMap
from perception.transforms.drop_sd_map import DropSDMap
from perception.transforms.jitter_sd_map import JitterSDMap


def frame_with_map() -> Frame:
    line = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    sd_map = SDMap(Polylines.from_lines([line]), torch.zeros(1, dtype=torch.int64), torch.ones(1, dtype=torch.int64))
    return replace(scene(), sd_map=sd_map)


@pytest.mark.parametrize(("prob", "share"), [(0.0, 0.0), (0.1, 0.1), (1.0, 1.0)])
def test_the_map_is_dropped_as_often_as_asked(prob, share):
    rng, frame = np.random.default_rng(0), frame_with_map()
    dropped = [DropSDMap(prob)(frame, rng).sd_map is None for _ in range(2000)]
    assert np.mean(dropped) == pytest.approx(share, abs=0.02)                      # three sigma of 2,000 draws


def test_the_jitter_is_a_rigid_move_of_the_asked_size():
    frame, rng = frame_with_map(), np.random.default_rng(1)
    ends = torch.stack([JitterSDMap(1.0, 1.0)(frame, rng).sd_map.lines.vertices for _ in range(4000)])   # (T, 2, 2)
    np.testing.assert_allclose(ends[:, 0].std(dim=0), [1.0, 1.0], rtol=0.05)
    step = ends[:, 1] - ends[:, 0]
    np.testing.assert_allclose(step.norm(dim=1), 10.0, atol=1e-4)                  # float32 at 10 m
    assert torch.rad2deg(torch.atan2(step[:, 1], step[:, 0])).std().item() == pytest.approx(1.0, rel=0.05)


def test_nothing_but_the_map_is_jittered():
    frame = frame_with_map()
    jittered = JitterSDMap()(frame, np.random.default_rng(0))
    assert jittered.points is frame.points
    assert jittered.global_from_ego is frame.global_from_ego
    assert frame.sd_map.lines.vertices.tolist() == [[0.0, 0.0], [10.0, 0.0]]


def test_a_mirrored_frame_drives_on_the_other_side():
    mirrored = frame_with_map().mirrored_y().sd_map
    assert not mirrored.right_hand
    assert mirrored.mirrored_y().right_hand


@pytest.mark.parametrize(("kind", "arguments"), [
    (DropSDMap, {"prob": 1.5}), (DropSDMap, {"prob": -0.1}), (JitterSDMap, {"sigma_m": -1.0}),
    (JitterSDMap, {"sigma_deg": float("inf")}),
])
def test_arguments_out_of_range_are_refused(kind, arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))} must"):
        kind(**arguments)
