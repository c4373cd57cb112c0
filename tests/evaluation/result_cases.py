"""Detections of a few frames that the tests of result files share."""

from __future__ import annotations

import math

import numpy as np
import torch

from perception.evaluation.result_formats.frame_results import FramePlace, FrameResults
from perception.structures import SE3, Boxes3D, Predictions
from perception.structures.boxes3d import wrap_angle

DRIVE = "drive-1"
MAX_TILT = 0.02                                            # of the vehicle against the ground [rad]


def random_pose(rng: np.random.Generator, tilt: float = MAX_TILT) -> SE3:
    """A vehicle some kilometres from the origin, on nearly level ground."""
    axis = np.append(rng.normal(size=2), 0.0)
    half = 0.5 * rng.uniform(0, tilt)
    tilted = SE3.from_quaternion([math.cos(half), *(math.sin(half) * axis / np.linalg.norm(axis))], [0.0, 0.0, 0.0])
    return SE3.about_z(rng.uniform(-math.pi, math.pi), tuple(rng.uniform(-2000, 2000, 3))) @ tilted


def random_frames(
    seed: int, counts: list[int], classes: tuple[str, ...], columns: int = 9, tilt: float = MAX_TILT
) -> list[FrameResults]:
    """Frames of one drive, a tenth of a second apart; the scores of a frame all differ."""
    rng = np.random.default_rng(seed)
    frames = []
    for number, count in enumerate(counts):
        boxes = np.column_stack([
            rng.uniform(-60, 60, (count, 2)), rng.uniform(-2, 3, count), rng.uniform(0.3, 12, (count, 3)),
            rng.uniform(-math.pi, math.pi, count), rng.normal(0, 8, (count, 2)),
        ])[:, :columns]
        scores = torch.from_numpy(rng.permutation(np.linspace(0.01, 0.99, max(count, 2)))[:count])
        place = FramePlace(f"frame-{number}", DRIVE, (1 + number) * 100_000_000, random_pose(rng, tilt))
        labels = torch.from_numpy(rng.integers(0, len(classes), count))
        frames.append(place.with_boxes(Boxes3D(torch.from_numpy(boxes)), scores, labels, classes))
    return frames


def one_frame(rows: list[list[float]], names: list[str], classes: tuple[str, ...], pose: SE3 | None) -> FrameResults:
    """A frame of the drive with some boxes, best first."""
    boxes = Boxes3D(torch.tensor(rows, dtype=torch.float64))
    scores = torch.linspace(0.9, 0.5, len(rows), dtype=torch.float64)
    return FramePlace("a", DRIVE, 100_000, pose).with_boxes(
        boxes, scores, torch.tensor([classes.index(name) for name in names]), classes
    )


def best_first(predictions: Predictions) -> Predictions:
    """As files may have them."""
    return predictions[torch.argsort(predictions.scores, descending=True, stable=True)]


def assert_same_detections(
    got: Predictions, wanted: Predictions, *, atol: float, yaw_atol: float | None = None, score_atol: float = 0.0
) -> None:
    """The same boxes in the same frame, whatever their order; a heading may be given a turn further."""
    got, wanted = best_first(got), best_first(wanted)
    assert got.names() == wanted.names()
    torch.testing.assert_close(got.scores.double(), wanted.scores.double(), rtol=0, atol=score_atol)
    mine, other = got.boxes.tensor.double(), wanted.boxes.tensor.double()
    torch.testing.assert_close(mine[:, :6], other[:, :6], rtol=0, atol=atol)
    turned = wrap_angle(mine[:, 6] - other[:, 6]).abs()
    torch.testing.assert_close(turned, torch.zeros_like(turned), rtol=0, atol=yaw_atol or atol)
    if mine.shape[1] == 9:
        torch.testing.assert_close(mine[:, 7:], other[:, 7:], rtol=0, atol=atol, equal_nan=True)
