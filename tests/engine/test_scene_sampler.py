"""The order in which a model with a memory is tested."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from perception.engine import scene_sampler
from perception.engine.scene_sampler import SceneSampler

DRIVES = SimpleNamespace(scenes=["a", "a", "b", "b", "b", "c", "d"])


def test_one_process_takes_all_drives_in_order():
    sampler = SceneSampler(DRIVES)
    assert list(sampler) == list(range(7))
    assert len(sampler) == 7


@pytest.mark.parametrize("world_size", [2, 3, 5])
def test_several_processes_share_whole_drives(monkeypatch, world_size):
    shares = []
    for rank in range(world_size):
        monkeypatch.setattr(scene_sampler, "get_dist_info", lambda rank=rank: (rank, world_size))
        shares.append(list(SceneSampler(DRIVES)))
    assert sorted(index for share in shares for index in share) == list(range(7))
    assert all(share == sorted(share) for share in shares)
    homes = [{DRIVES.scenes[index] for index in share} for share in shares]
    assert sum(map(len, homes)) == 4                       # no drive is in two shares
