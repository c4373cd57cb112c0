"""What a detector's run comes to, on one page and in one file: scores, curves, latencies and pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from perception.errors import DataError
from perception.evaluation.nuscenes_detection import ERRORS
from perception.evaluation.nuscenes_results import DETECTION_NAMES

from .curves import latency_figure, loss_figure, precision_recall_figure
from .report import Report

CURVE_DISTANCE = "2.0"                           # metres; the match that the curves are drawn for
COLUMNS = ("AP", *ERRORS.values())


@dataclass(frozen=True)
class DetectionRun:
    """The files of a run, read.

    Args:
        metrics: NDS, mAP, car_AP ... by name, as `NuScenesScores.flat`, without prefix.
        curves: the devkit's ``metrics_details.json``: samples of precision by "class:distance".
        scalars: rows of ``scalars.jsonl``.
        latency: ``latency.json`` of a replay.
        seconds: how long each step took [s].
        pictures: PNG files to show, in order; the file name is the caption.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, Any]
    scalars: Sequence[Mapping[str, Any]]
    latency: Mapping[str, Any]
    seconds: Mapping[str, float]
    pictures: Sequence[Path]

    @classmethod
    def read(
        cls, metrics: Path, evaluation: Path, training: Path, replay: Path, pictures: Path, seconds: Mapping[str, float]
    ) -> DetectionRun:
        """Gather what the tools left behind.

        Args:
            metrics: file that ``tools/test.py --json`` wrote.
            evaluation: the metric's ``output_dir``.
            training: work directory of the training.
            replay: folder of the replay.
            pictures: folder of PNG files.
            seconds: how long each step took [s].

        Raises:
            DataError: a file is absent or malformed.
        """
        flat = {name.rsplit("/", 1)[-1]: value for name, value in _json(metrics).items()}
        scalars = [json.loads(line) for line in _text(training / "scalars.jsonl").splitlines()]
        latency, curves = _json(replay / "latency.json"), _json(evaluation / "metrics_details.json")
        return cls(flat, curves, scalars, latency, seconds, sorted(pictures.glob("*.png")))

    def summary(self) -> dict[str, Any]:
        """Plain values for ``summary.json``: scores, scores by class, times and latencies."""
        by_class = {
            name: {column: self.metrics.get(f"{name}_{column}") for column in COLUMNS} for name in DETECTION_NAMES
        }
        means = {name: self.metrics[name] for name in ("NDS", "mAP", *(f"m{error}" for error in ERRORS.values()))}
        replay = {key: value for key, value in self.latency.items() if key != "samples_ms"}
        return {"metrics": means, "classes": by_class, "seconds": dict(self.seconds), "replay": replay}

    def report(self, title: str) -> Report:
        """The page."""
        report = Report(title)
        self._scores(report)
        self._curves(report)
        self._latencies(report)
        report.section("Pictures", "Annotated boxes are green, predicted ones have the colour of their class.")
        for path in self.pictures:
            report.picture(np.asarray(Image.open(path).convert("RGB")), path.stem, width=560)
        return report

    def _scores(self, report: Report) -> None:
        report.section("nuScenes detection", f"NDS {self.metrics['NDS']:.3f}, mAP {self.metrics['mAP']:.3f}")
        nothing = float("nan")
        rows = [
            [name, *(self.metrics.get(f"{name}_{column}", nothing) for column in COLUMNS)] for name in DETECTION_NAMES
        ]
        means = ["mean", *(self.metrics.get(f"m{column}", nothing) for column in COLUMNS)]
        report.table(("class", *COLUMNS), [*rows, means])

    def _curves(self, report: Report) -> None:
        report.section("Curves")
        curves = {name: self.curves.get(f"{name}:{CURVE_DISTANCE}") for name in DETECTION_NAMES}
        precision = {name: curve["precision"] for name, curve in curves.items() if curve}
        report.figure(precision_recall_figure(precision, f"precision over recall, centres within {CURVE_DISTANCE} m"))
        rows = [row for row in self.scalars if "loss" in row]
        names = sorted({name for row in rows for name in row if "loss" in name})
        losses = {name: [_number(row.get(name)) for row in rows] for name in names}
        report.figure(loss_figure([row["step"] for row in rows], losses))

    def _latencies(self, report: Report) -> None:
        latency = self.latency
        pace = f"{latency['rate']:g} x the sensor's pace" if latency["rate"] else "as fast as it goes"
        text = f"{latency['frames']} frames {pace} in {latency['wall_s']:.1f} s, {latency['dropped']} dropped"
        report.section("Replay", text)
        columns = list(latency["latency_ms"]["total"])
        rows = [[stage, *(figures[name] for name in columns)] for stage, figures in latency["latency_ms"].items()]
        report.table(("stage", *(f"{name} (ms)" for name in columns)), rows)
        report.figure(latency_figure(latency["samples_ms"]))
        report.table(("step", "seconds"), [[name, seconds] for name, seconds in self.seconds.items()])


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(path, "file", "what an earlier step writes", error.strerror or error) from error


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise DataError(path, "content", "JSON", error) from error
