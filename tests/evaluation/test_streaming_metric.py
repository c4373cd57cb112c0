"""Ranks write their rows, the first one scores them all; what was written outlives a rank that dies."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from perception.errors import DataError, PerceptionError
from perception.evaluation.frame_file import Column
from perception.evaluation.frame_store import FrameStore
from perception.evaluation.stored_frames import StoredFrames
from perception.evaluation.streaming_metric import StreamingMetric, with_predictions
from perception.structures import Frame

TOKENS = ("a", "b", "c", "d", "e")
OF_RANK = {0: ("a", "c", "e"), 1: ("b", "d", "a")}         # dealt out in turn; the second is filled up with "a"


class Scored(NamedTuple):
    """Predictions of the toy below."""

    token: str
    scores: np.ndarray


class MeanScore(StreamingMetric):
    """Sum and mean of all scores; the sum depends on the order of the frames by its last bits."""

    default_prefix = "toy"
    columns = {"scores": Column("float64")}

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Scored]) -> None:
        for frame, sample in with_predictions(data_batch, data_samples):
            self.keep(frame.token, {"scores": sample.scores})

    def compute_metrics(self, frames: StoredFrames) -> dict[str, float]:
        scores = frames.columns["scores"].tolist()
        if not scores:
            raise ValueError("there are no scores")
        return {"sum": sum(scores), "mean": sum(scores) / len(scores), "frames": float(len(frames))}


def after(metric: MeanScore, tokens: Iterable[str]) -> MeanScore:
    """The metric after the frames of these names, which have one score, two, three ..."""
    for token in tokens:
        scores = np.random.default_rng(ord(token)).random(TOKENS.index(token) + 1)
        metric.process([Frame(token, 0)], [Scored(token, scores)])
    return metric


def single(folder: Path, tokens: Iterable[str] = TOKENS) -> dict[str, float]:
    return after(MeanScore(str(folder)), tokens).evaluate(size=5)


# In one process.

def test_scores_get_the_prefix_and_the_rows_are_gone_when_they_are_known(tmp_path: Path):
    flat = single(tmp_path)
    assert set(flat) == {"toy/sum", "toy/mean", "toy/frames"}
    assert flat["toy/frames"] == 5
    assert list(tmp_path.iterdir()) == []


def test_every_evaluation_begins_anew(tmp_path: Path):
    metric = after(MeanScore(str(tmp_path), prefix="again"), "ab")
    metric.evaluate(size=2)
    assert after(metric, "cde").evaluate(size=3)["again/frames"] == 3


def test_the_bound_of_the_memory_changes_nothing(tmp_path: Path):
    assert after(MeanScore(str(tmp_path), memory_mb=0), TOKENS).evaluate(size=5) == single(tmp_path)


def test_frames_that_were_not_predicted_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING):
        single(tmp_path, "ab")
    assert "2 of 5 frames were predicted: only they are scored" in caplog.text


def test_a_test_that_was_interrupted_is_told_and_can_be_scored(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    after(MeanScore(str(tmp_path), memory_mb=0), TOKENS)              # no evaluation follows
    (folder,) = tmp_path.iterdir()
    with caplog.at_level(logging.WARNING):
        later = single(tmp_path)
    assert f"{folder} holds rows of another test" in caplog.text
    assert MeanScore(str(tmp_path)).evaluate_stored(folder) == later
    assert folder.is_dir()


def test_rows_stay_when_scoring_fails(tmp_path: Path):
    metric = MeanScore(str(tmp_path))
    metric.process([Frame("a", 0)], [Scored("a", np.zeros(0))])
    with pytest.raises(ValueError, match="there are no scores"):
        metric.evaluate(size=1)
    (folder,) = tmp_path.iterdir()
    assert FrameStore.read(folder).tokens == ("a",)


# In two processes.

def outcome(metric: MeanScore) -> Any:
    """Scores, or the text of the error."""
    try:
        return metric.evaluate(size=5)
    except (PerceptionError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def join(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2, timeout=timedelta(minutes=2)
    )


def run_rank(rank: int, folder: Path) -> None:
    join(rank, folder)
    shared, own = str(folder / "shared"), str(folder / f"disk{rank}")
    metric = MeanScore(shared, memory_mb=0)
    outcomes = {f"round {number}": outcome(after(metric, OF_RANK[rank])) for number in (1, 2)}
    outcomes["one has no frames"] = outcome(after(MeanScore(shared), TOKENS if rank else ""))
    outcomes["no scores"] = outcome(MeanScore(shared))
    outcomes["sent"] = outcome(after(MeanScore(own, collect_device="gpu", memory_mb=0), OF_RANK[rank]))
    outcomes["apart"] = outcome(after(MeanScore(own), OF_RANK[rank]))
    (folder / f"rank{rank}.json").write_text(json.dumps(outcomes))
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder of two processes and what came out in each."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(run_rank, args=(folder,), nprocs=2)
    return folder, [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.parametrize("way", ["round 1", "round 2", "one has no frames", "sent"])
def test_two_ranks_give_what_one_process_gives(two_ranks: Any, tmp_path: Path, way: str):
    expected = single(tmp_path)
    for outcomes in two_ranks[1]:
        assert outcomes[way] == expected


def test_rows_that_the_first_rank_cannot_see_are_told_of_and_stay(two_ranks: Any):
    folder, outcomes = two_ranks
    expected = "the rows of rank 1; output_dir must lie on a file system that all ranks share, or collect_device be"
    assert outcomes[0]["apart"].startswith("DataError: ")
    assert expected in outcomes[0]["apart"]
    assert outcomes[1]["apart"].startswith("PerceptionError: the first rank could not score the frames: DataError(")
    for rank in (0, 1):
        (rows,) = (folder / f"disk{rank}").iterdir()       # those that were sent are gone
        assert FrameStore.read(rows).tokens == OF_RANK[rank]


def test_a_failure_of_the_first_rank_reaches_the_other(two_ranks: Any):
    _, outcomes = two_ranks
    assert outcomes[0]["no scores"] == "ValueError: there are no scores"
    assert "the first rank could not score the frames: ValueError('there are no scores')" in outcomes[1]["no scores"]


def die_midway(rank: int, folder: Path) -> None:
    join(rank, folder)
    metric = after(MeanScore(str(folder / "rows"), memory_mb=0), OF_RANK[rank])
    dist.barrier()
    if rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    metric.evaluate(size=5)


def test_the_rows_of_a_killed_rank_survive(tmp_path: Path):
    with pytest.raises((mp.ProcessExitedException, mp.ProcessRaisedException)):      # the other one waits in vain
        mp.spawn(die_midway, args=(tmp_path,), nprocs=2)
    (folder,) = (tmp_path / "rows").iterdir()
    assert MeanScore(str(tmp_path)).evaluate_stored(folder) == single(tmp_path)


# Refusals.

def test_rows_of_another_metric_are_refused(tmp_path: Path):
    with FrameStore(tmp_path / "rows", {"labels": Column("int8")}) as store:
        store.append("a", {"labels": np.zeros(1, np.int8)})
    with pytest.raises(DataError, match="columns: expected those of MeanScore, got labels"):
        MeanScore(str(tmp_path)).evaluate_stored(tmp_path / "rows")


def test_predictions_of_another_frame_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="predictions of frame 'b' came with frame 'a'"):
        MeanScore(str(tmp_path)).process([Frame("a", 0)], [Scored("b", np.zeros(1))])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"collect_device": "tpu"}, 'collect_device must be "cpu" or "gpu", got \'tpu\''),
        ({"memory_mb": -1}, "memory_mb must be >= 0, got -1"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path: Path, options: dict[str, Any], match: str):
    with pytest.raises(ValueError, match=match):
        MeanScore(str(tmp_path), **options)
