"""Replays of detectors with a memory: what is carried from frame to frame, and going on after a stop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hand_clock import HandClock, ListSource

from perception.replay.pipeline import Replay
from perception.structures import Boxes3D, Frame, Predictions

TENTHS = [number / 10 for number in range(5)]              # seconds


class Counting:
    """Says as many objects as it has seen frames; None is a memory of none."""

    streams = True

    def preprocess(self, frame: Frame) -> Frame:
        return frame

    def network(self, batch: Frame) -> int:
        raise AssertionError("a detector with a memory is streamed")

    def stream(self, batch: Frame, state: Any = None) -> tuple[int, int]:
        seen = (state or 0) + 1
        return seen, seen

    def decode(self, maps: int, batch: Frame) -> Predictions:
        boxes, scores, labels = Boxes3D(torch.ones(maps, 7)), torch.ones(maps), torch.zeros(maps, dtype=torch.int64)
        return Predictions(batch.token, batch.timestamp_ns, boxes, scores, labels, ("car",))


class Heard:
    """Keeps how many objects each frame had."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def write(self, frame: Frame, predictions: Predictions) -> None:
        self.counts.append(len(predictions))


def test_the_state_is_carried_from_frame_to_frame():
    heard = Heard()
    player = Replay(Counting(), [heard], clock=HandClock())
    player.run(ListSource(TENTHS[:4]), rate=0)
    assert heard.counts == [1, 2, 3, 4]
    assert player.state == 4


def test_a_replay_that_was_stopped_goes_on_behind_its_last_frame():
    heard = Heard()
    first = Replay(Counting(), [heard], clock=HandClock())
    first.run(ListSource(TENTHS), rate=0, max_frames=2)
    second = Replay(Counting(), [heard], clock=HandClock(), state=first.state)
    assert second.run(ListSource(TENTHS), rate=0, after_ns=100_000_000).frames == 3
    assert heard.counts == [1, 2, 3, 4, 5]


def test_warming_up_leaves_no_memory():
    player = Replay(Counting(), clock=HandClock())
    assert len(player.warm_up(ListSource(TENTHS[:2]))) == 1
    assert player.state is None


def test_a_detector_that_could_stream_but_has_no_memory_is_not_streamed():
    class Forgetful(Counting):
        streams = False

        def network(self, batch: Frame) -> int:
            return 1

    player = Replay(Forgetful(), [heard := Heard()], clock=HandClock())
    player.run(ListSource(TENTHS[:3]), rate=0)
    assert heard.counts == [1, 1, 1]
    assert player.state is None


@pytest.mark.parametrize("after_ns", [400_000_000, 10**12])
def test_nothing_is_played_behind_the_end(after_ns):
    assert Replay(Counting(), clock=HandClock()).run(ListSource(TENTHS), rate=0, after_ns=after_ns).frames == 0
