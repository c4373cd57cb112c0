"""The order of the frames: seeded, endless, and the same for any number of processes."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.engine.sampler import EpochSampler
from perception.errors import ConfigError


class Frames:
    """A data set of which only the length and the objects by class are known."""

    def __init__(self, counts: list[list[int]]) -> None:
        self.counts = counts

    def __len__(self) -> int:
        return len(self.counts)

    def class_counts(self, index: int) -> list[int]:
        return self.counts[index]


def sampler_of(length: int, rank: int = 0, world_size: int = 1, **kwargs: object) -> EpochSampler:
    sampler = EpochSampler(Frames([[1]] * length), **kwargs)     # type: ignore[arg-type]
    sampler.rank, sampler.world_size = rank, world_size
    return sampler


def test_in_order_when_not_shuffled():
    keys = islice(sampler_of(3, shuffle=False), 5)
    assert list(keys) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


def test_each_epoch_has_every_frame_once_in_an_order_of_its_own():
    keys = list(islice(sampler_of(20, seed=3), 40))
    first, second = [index for _, index in keys[:20]], [index for _, index in keys[20:]]
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert {epoch for epoch, _ in keys[20:]} == {1}


@pytest.mark.parametrize(("one", "other", "same"), [(5, 5, True), (5, 6, False), (None, 0, True)])
def test_the_seed_decides_the_order(one: int | None, other: int, same: bool):
    orders = [sampler_of(30, seed=seed).order(2) for seed in (one, other)]
    assert np.array_equal(*orders) == same


@given(length=st.integers(1, 30), world_size=st.integers(1, 4), batch=st.integers(1, 5), steps=st.integers(1, 6))
def test_batches_of_all_processes_together_do_not_depend_on_their_number(length, world_size, batch, steps):
    per_rank = [
        list(islice(sampler_of(length, rank, world_size, seed=1), steps * batch)) for rank in range(world_size)
    ]
    alone = list(islice(sampler_of(length, seed=1), steps * batch * world_size))
    for step in range(steps):
        together = [key for keys in per_rank for key in keys[step * batch : (step + 1) * batch]]
        assert sorted(together) == sorted(alone[step * batch * world_size : (step + 1) * batch * world_size])


@given(length=st.integers(1, 20), position=st.integers(0, 100), infinite=st.booleans())
def test_skipping_continues_where_the_stream_was_left(length, position, infinite):
    fresh, resumed = sampler_of(length, infinite=infinite), sampler_of(length, infinite=infinite)
    resumed.skip_to(position)
    stream = list(islice(epochs(fresh), position + 5))
    assert list(islice(epochs(resumed), 5)) == stream[position:]


def epochs(sampler: EpochSampler):
    """Keys without end, as the training loop draws them."""
    while True:
        yield from sampler
        sampler.set_epoch(sampler.epoch + 1)


def test_finite_epochs_give_all_processes_as_many_keys():
    per_rank = [list(sampler_of(7, rank, 3, infinite=False, shuffle=False)) for rank in range(3)]
    assert [[index for _, index in keys] for keys in per_rank] == [[0, 3, 6], [1, 4, 0], [2, 5, 1]]
    assert len(sampler_of(7, 0, 3)) == 3


def test_class_balance_gives_each_class_an_equal_share():
    frames = Frames([[1, 0]] * 9 + [[0, 4]])       # the second class is seen in one frame of ten
    sampler = EpochSampler(frames, seed=0, class_balanced=True)
    drawn = np.bincount(sampler.order(0), minlength=10)
    assert drawn.sum() == 10
    assert drawn[9] == 5
    assert set(drawn[:9]) == {0, 1}
    assert not np.array_equal(sampler.order(0), sampler.order(1))


def test_class_balance_leaves_frames_without_objects_out():
    sampler = EpochSampler(Frames([[2, 0], [0, 0], [1, 1]]), class_balanced=True)
    assert 1 not in sampler.order(0)


def test_class_balance_takes_counts_by_name():
    frames = Frames([{"car": 1, "bus": 0}, {"car": 0, "bus": 2}])     # type: ignore[list-item]
    assert sorted(EpochSampler(frames, class_balanced=True).order(0)) == [0, 1]


def test_an_empty_dataset_is_refused():
    with pytest.raises(ConfigError, match="the training dataset is empty"):
        EpochSampler(Frames([]))


def test_class_balance_without_any_object_is_refused():
    with pytest.raises(ConfigError, match="no frame of the dataset has an annotated object"):
        EpochSampler(Frames([[0, 0]]), class_balanced=True)


def test_class_balance_needs_counts():
    with pytest.raises(ConfigError, match=r"class_balanced: list has no class_counts\(index\)"):
        EpochSampler([1, 2], class_balanced=True)
