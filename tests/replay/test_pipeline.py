"""The whole road: what is timed, what is counted, what reaches the sinks."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from cluster_detector import ClusterDetector
from hand_clock import HandClock, ListSource
from rich.console import Console

from perception.errors import DataError
from perception.replay.latency import ReplayReport, StageTimes
from perception.replay.pipeline import Replay
from perception.replay.sinks.json_lines import JsonLinesSink
from perception.replay.sinks.pictures import PictureSink
from perception.replay.source import PendingFrame, open_source
from perception.structures import Boxes3D, Frame, Predictions


class SlowDetector:
    """Finds one constant box; each stage takes its time on a clock that is moved by hand."""

    def __init__(self, clock: HandClock, preprocess: float, network: float, decode: float) -> None:
        self.clock, self.times = clock, (preprocess, network, decode)

    def preprocess(self, frame: Frame) -> Frame:
        self.clock.work(self.times[0])
        return frame

    def network(self, frame: Frame) -> torch.Tensor:
        self.clock.work(self.times[1])
        return torch.tensor([[5.0, 0.0, 1.0, 4.0, 2.0, 1.5, 0.0, 1.0, float("nan")]])

    def decode(self, boxes: torch.Tensor, frame: Frame) -> Predictions:
        self.clock.work(self.times[2])
        one = torch.zeros(1, dtype=torch.int64)
        return Predictions(frame.token, frame.timestamp_ns, Boxes3D(boxes), torch.tensor([0.75]), one, ("car",))


def play(clock: HandClock, detector: SlowDetector, times: list[float], **options) -> ReplayReport:
    return Replay(detector, clock=clock).run(ListSource(times), **options)


def test_each_stage_is_timed_apart_and_the_total_is_their_sum():
    clock = HandClock()
    report = play(clock, SlowDetector(clock, 0.010, 0.030, 0.005), [0.0, 0.1, 0.2])
    p50 = {stage: figures["p50"] for stage, figures in report.latency_ms.items()}
    assert p50 == pytest.approx({"load": 0.0, "preprocess": 10.0, "network": 30.0, "decode": 5.0, "total": 45.0})
    assert (report.frames, report.dropped, report.recorded_s) == (3, 0, pytest.approx(0.2))


def test_frames_that_come_while_the_detector_is_busy_are_dropped_and_counted():
    clock = HandClock()
    report = play(clock, SlowDetector(clock, 0.05, 0.15, 0.05), [i / 10 for i in range(7)])
    assert (report.frames, report.dropped) == (4, 3)


@pytest.mark.parametrize(("limit", "frames"), [(1, 1), (3, 3), (99, 7)])
def test_the_number_of_frames_can_be_limited(limit: int, frames: int):
    clock = HandClock()
    assert play(clock, SlowDetector(clock, 0, 0, 0), [i / 10 for i in range(7)], max_frames=limit).frames == frames


@pytest.mark.parametrize(
    ("options", "match"),
    [({"rate": -1.0}, "rate must be finite"), ({"max_frames": 0}, "max_frames must be >= 1, got 0")],
)
def test_options_out_of_range_are_refused(options: dict, match: str):
    clock = HandClock()
    with pytest.raises(ValueError, match=match):
        play(clock, SlowDetector(clock, 0, 0, 0), [0.0], **options)


def test_warming_up_shows_the_detector_the_first_frame_and_leaves_no_trace():
    clock, source, detector = HandClock(), ListSource([0.0, 0.1]), ClusterDetector()
    player = Replay(detector, clock=clock)
    player.warm_up(source)
    assert [frame.token for frame in detector.frames] == ["frame-0"]
    assert player.run(source).frames == 2


class Demanding(SlowDetector):
    """A detector that wants the beam of every point."""

    def preprocess(self, frame: Frame) -> Frame:
        frame.points.channel("ring")
        return frame


def test_a_recording_that_lacks_what_the_model_takes_is_told_before_the_replay():
    clock = HandClock()
    with pytest.raises(DataError, match=r"frame frame-0: content: expected .*, got .* no channel 'ring'"):
        Replay(Demanding(clock, 0, 0, 0), clock=clock).warm_up(ListSource([0.0]))


def test_percentiles_are_those_of_numpy_and_an_empty_log_has_none():
    times = StageTimes(HandClock())
    assert times.summary_ms() == {}
    times.seconds["load"] = [i / 1000 for i in range(101)]
    figures = times.summary_ms()["load"]
    assert figures == pytest.approx({"p50": 50.0, "p90": 90.0, "p99": 99.0, "mean": 50.0, "max": 100.0})


def test_the_report_is_saved_as_json_and_shown_as_a_table(tmp_path: Path):
    clock = HandClock()
    report = play(clock, SlowDetector(clock, 0.010, 0.030, 0.005), [i / 20 for i in range(5)])
    saved = json.loads(report.save(tmp_path).read_text())
    assert saved["latency_ms"]["network"]["p90"] == pytest.approx(30.0)
    assert (saved["frames"], saved["dropped"], saved["rate"]) == (5, 0, 1.0)
    text = io.StringIO()
    Console(file=text, width=120).print(report.table())
    assert "5 frames in 0.2 s (1 x the recorded pace), 0 dropped" in text.getvalue()
    assert "p99 (ms)" in text.getvalue()


# Sinks.

def test_a_line_a_frame_is_written_and_an_unknown_velocity_is_null(tmp_path: Path):
    clock = HandClock()
    with JsonLinesSink(tmp_path / "deep/predictions.jsonl") as sink:
        Replay(SlowDetector(clock, 0, 0, 0), [sink], clock=clock).run(ListSource([0.0, 0.1]))
    lines = [json.loads(line) for line in sink.path.read_text().splitlines()]
    assert [line["token"] for line in lines] == ["frame-0", "frame-1"]
    assert lines[1] == {
        "token": "frame-1", "timestamp_ns": 100_000_000, "scores": [0.75], "names": ["car"],
        "boxes": [[5.0, 0.0, 1.0, 4.0, 2.0, 1.5, 0.0, 1.0, None]],
    }


class Breaking(ListSource):
    """A recording whose third frame cannot be read."""

    def pending(self) -> Iterator[PendingFrame]:
        for index, entry in enumerate(super().pending()):
            if index == 2:
                raise DataError("drive", "frame 2", "points", "a hole")
            yield entry


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_what_came_before_a_failure_stands_in_whole_lines_at_once(tmp_path: Path, rate: float):
    clock, sink = HandClock(), JsonLinesSink(tmp_path / "predictions.jsonl")
    with pytest.raises(DataError, match="frame 2: expected points, got a hole"):
        Replay(SlowDetector(clock, 0, 0, 0), [sink], clock=clock).run(Breaking([0.0, 0.1, 0.2, 0.3]), rate)
    text = sink.path.read_text()                           # the sink is not closed, as after a kill
    sink.close()
    assert text.endswith("\n")
    assert [json.loads(line)["token"] for line in text.splitlines()] == ["frame-0", "frame-1"]


def test_pictures_are_drawn_of_every_nth_frame_up_to_their_number(tmp_path: Path):
    from PIL import Image

    clock, sink = HandClock(), PictureSink(tmp_path / "pictures", count=2, every=3)
    Replay(SlowDetector(clock, 0, 0, 0), [sink], clock=clock).run(ListSource([i / 10 for i in range(9)]))
    assert [path.name for path in sink.paths] == ["0000_bev.png", "0003_bev.png"]
    assert Image.open(sink.paths[0]).size == (800, 800)


def test_a_frame_with_cameras_gets_a_picture_of_them(tmp_path: Path, shared_data: Path):
    detector, sink = ClusterDetector(), PictureSink(tmp_path, count=1)
    Replay(detector, [sink]).run(open_source(shared_data / "mcap/kitti_3frames.mcap", ego_height=1.73), rate=0)
    assert [path.name for path in sink.paths] == ["0000_bev.png", "0000_cameras.png"]


@pytest.mark.parametrize(("count", "every"), [(0, 1), (1, 0)])
def test_a_picture_sink_that_draws_nothing_is_refused(tmp_path: Path, count: int, every: int):
    with pytest.raises(ValueError, match="count and every must be >= 1"):
        PictureSink(tmp_path, count, every)


# A real drive.

def test_a_kitti_drive_at_10_hz_is_played_at_its_pace(shared_data: Path, tmp_path: Path):
    clock, detector = HandClock(), ClusterDetector()
    source = open_source(shared_data / "kitti/raw_2011_09_26_sequence")
    with JsonLinesSink(tmp_path / "predictions.jsonl") as sink:
        report = Replay(detector, [sink], clock=clock, num_sweeps=3).run(source, rate=1.0, max_frames=5)
    assert (report.frames, report.dropped) == (5, 0)
    assert clock.now() == pytest.approx(100.4)             # five frames span 0.4 s
    assert [len(frame.sweeps) for frame in detector.frames] == [0, 1, 2, 3, 3]
    assert all(len(json.loads(line)["boxes"]) > 10 for line in sink.path.read_text().splitlines())
