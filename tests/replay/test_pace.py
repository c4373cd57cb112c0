"""When frames are released, and which are dropped; the clock moves by hand."""

from __future__ import annotations

import math

import pytest
from hand_clock import HandClock, ListSource
from hypothesis import given
from hypothesis import strategies as st

from perception.replay.pace import Pace, SystemClock


def seen(times: list[float], rate: float, work: float) -> tuple[list[float], list[float], int]:
    """Recorded times that a detector of ``work`` seconds gets, when it gets them, and the number of dropped ones."""
    clock = HandClock()
    pace = Pace(rate, clock)
    recorded, moments = [], []
    for entry in pace(ListSource(times).pending()):
        recorded.append(entry.timestamp_ns / 1e9)
        moments.append(round(clock.now() - 100.0, 6))
        clock.work(work)
    return recorded, moments, pace.dropped


TEN_HZ = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_a_fast_detector_gets_every_frame_at_its_recorded_time():
    recorded, moments, dropped = seen(TEN_HZ, rate=1.0, work=0.03)
    assert recorded == moments == TEN_HZ
    assert dropped == 0


def test_a_detector_of_250_ms_at_10_hz_gets_the_newest_frame_each_time():
    """Busy 0 to 0.25 s: 0.1 is dropped for 0.2, taken at 0.25; busy to 0.5: 0.3 and 0.4 are dropped for 0.5."""
    recorded, moments, dropped = seen(TEN_HZ, rate=1.0, work=0.25)
    assert recorded == [0.0, 0.2, 0.5, 0.6]
    assert moments == [0.0, 0.25, 0.5, 0.75]
    assert dropped == 3


def test_at_rate_0_nothing_waits_and_nothing_is_dropped():
    recorded, moments, dropped = seen(TEN_HZ, rate=0.0, work=0.25)
    assert recorded == TEN_HZ
    assert moments == [pytest.approx(0.25 * i) for i in range(7)]
    assert dropped == 0


@pytest.mark.parametrize(("rate", "last"), [(2.0, 0.3), (0.5, 1.2)])
def test_the_rate_scales_the_pace(rate: float, last: float):
    assert seen(TEN_HZ, rate=rate, work=0.0)[1][-1] == pytest.approx(last)


def test_a_dropped_frame_is_never_read():
    clock, source = HandClock(), ListSource(TEN_HZ)
    for entry in Pace(1.0, clock)(source.pending()):
        entry.load()
        clock.work(0.25)
    assert source.loaded == [0, 2, 5, 6]


@given(
    gaps=st.lists(st.floats(0.0, 0.5), max_size=20),
    work=st.floats(0.0, 1.0),
    rate=st.sampled_from([0.0, 0.5, 1.0, 3.0]),
)
def test_every_frame_is_seen_or_dropped_in_order_and_none_too_early(gaps: list[float], work: float, rate: float):
    times = [sum(gaps[:i]) for i in range(len(gaps) + 1)]
    recorded, moments, dropped = seen(times, rate, work)
    assert len(recorded) + dropped == len(times)
    assert recorded == sorted(recorded)
    assert recorded[-1] == pytest.approx(times[-1], abs=1e-9)                # the last frame is never dropped
    if rate:
        assert all(at >= time / rate - 1e-6 for time, at in zip(recorded, moments, strict=True))


def test_frames_of_one_time_are_handed_out_or_dropped_together():
    recorded, _, dropped = seen([0.0, 0.0, 0.1, 0.1, 0.2, 0.2, 0.9], rate=1.0, work=0.15)
    assert recorded == [0.0, 0.0, 0.2, 0.2, 0.9]           # busy to 0.3 s, when 0.2 is the newest
    assert dropped == 2


def test_no_frames_are_no_error():
    assert seen([], rate=1.0, work=0.1) == ([], [], 0)


@pytest.mark.parametrize("rate", [-1.0, math.nan, math.inf])
def test_a_rate_out_of_range_is_refused(rate: float):
    with pytest.raises(ValueError, match="rate must be finite and >= 0"):
        Pace(rate, HandClock())


def test_the_system_clock_does_not_wait_for_the_past():
    clock = SystemClock()
    before = clock.now()
    clock.wait_until(before - 1e6)
    assert clock.now() >= before
