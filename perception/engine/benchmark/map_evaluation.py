"""The map evaluation against the same evaluation pair by pair, on seeded maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import shapely
from scipy.spatial.distance import cdist

from perception.evaluation.maps.conventions import CONVENTIONS, THRESHOLDS, Convention
from perception.evaluation.maps.elements import MapElements
from perception.evaluation.maps.matching import area_under_curve
from perception.evaluation.maps.vector_map_ap import evaluate_vector_map
from perception.structures.vector_map import MAP_CLASSES

from .rows import Row, compared
from .setting import Setting
from .timing import interleaved_ms

HALF_EXTENT_M = np.array([30.0, 15.0])
TRUE_ELEMENTS = 12                                         # of a sample: what nuScenes has on average in this region
TIMED = ("maptr", "streammapnet")                          # conventions with and without the filter by dilated lines
Frames = list[MapElements]


def benchmark_map_evaluation(
    setting: Setting, samples: int = 500, predictions: int = 50, *, repeats: int = 3, seed: int = 0
) -> Iterator[Row]:
    """Time `evaluate_vector_map` and `evaluate_pair_by_pair` in turn, after a look whether they agree.

    Args:
        setting: threads; nothing here runs elsewhere than on the CPU.
        samples: frames.
        predictions: elements that are predicted in each.
        repeats: rounds.
        seed: of the maps.

    Yields:
        A row a convention; its size is the number of predictions, its score the mean AP.
    """
    frames = seeded_maps(samples, predictions, seed)
    for name in TIMED:
        at_once, by_pairs = (
            partial(evaluate_vector_map, *frames, convention=name), partial(evaluate_pair_by_pair, *frames, name)
        )
        ours, reference = at_once().ap, by_pairs()
        times = interleaved_ms([at_once, by_pairs], repeats, setting.device)                           # (rounds, 2)
        row = setting.row(
            f"map_evaluation/{name}", samples * predictions, **compared(*times.T), samples=samples,
            score=float(ours.mean()), reference_score=float(reference.mean()),
            identical=bool(np.allclose(ours, reference, rtol=0, atol=1e-9)),
        )
        yield replace(row, dtype="float64")


def seeded_maps(samples: int, predictions: int, seed: int = 0) -> tuple[Frames, Frames]:
    """Truth and predictions: curves of 2 to 60 m in the region; some found well, some badly, the rest invented."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(samples):
        true_lines = [_curve(rng) for _ in range(TRUE_ELEMENTS)]
        true_labels = rng.integers(0, len(MAP_CLASSES), TRUE_ELEMENTS)
        sources = rng.integers(0, 2 * TRUE_ELEMENTS, predictions)                        # the second half is invented
        lines = [
            _moved(true_lines[source], rng) if source < TRUE_ELEMENTS else _curve(rng, 20) for source in sources
        ]
        labels = np.where(sources < TRUE_ELEMENTS, true_labels[sources % TRUE_ELEMENTS], sources % len(MAP_CLASSES))
        truth.append(MapElements.from_lines(true_lines, true_labels))
        found.append(MapElements.from_lines(lines, labels, rng.random(predictions)))
    return truth, found


def evaluate_pair_by_pair(truth: Frames, predictions: Frames, convention: str = "maptr") -> np.ndarray:
    """(C, T) average precisions at the standard thresholds, one line and one pair of lines after the other."""
    rules, thresholds = CONVENTIONS[convention], THRESHOLDS["standard"]
    ap = np.zeros((len(MAP_CLASSES), len(thresholds)))
    for label in range(len(MAP_CLASSES)):
        scores: list[float] = []
        hits: list[list[bool]] = [[] for _ in thresholds]
        num_truth = 0
        for true, found in zip(truth, predictions, strict=True):
            assert found.scores is not None
            true_lines = _lines_of(true, label, rules)
            found_lines = _lines_of(found, label, rules)
            frame_scores = found.scores[found.labels == label]
            distances = [[_pair_distance(a, b, rules) for b in true_lines] for a in found_lines]
            for column, threshold in enumerate(thresholds):
                hits[column] += _match(distances, frame_scores, threshold)
            scores += frame_scores.tolist()
            num_truth += len(true_lines)
        for column in range(len(thresholds)):
            ap[label, column] = area_under_curve(np.array(scores), np.array(hits[column], bool), num_truth, rules.dtype)
    return ap


Line = tuple[np.ndarray, shapely.Geometry | None]          # sampled points, and their dilated form where it is needed


def _lines_of(elements: MapElements, label: int, rules: Convention) -> list[Line]:
    lines: list[Line] = []
    for vertices, own in zip(elements.lines(), elements.labels.tolist(), strict=True):
        if own == label:
            points = _sample(vertices, rules.num_points)
            polygon = None
            if rules.prefilter_m is not None:
                line = shapely.LineString(points)
                polygon = line.buffer(rules.prefilter_m, cap_style="flat", join_style="mitre")
            lines.append((points, polygon))
    return lines


def _sample(vertices: np.ndarray, num_points: int) -> np.ndarray:
    """(V, 2) -> (num_points, 2)."""
    way = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(vertices, axis=0), axis=1))])
    stops = np.linspace(0.0, way[-1], num_points)
    return np.stack([np.interp(stops, way, vertices[:, axis]) for axis in range(2)], axis=1)


def _pair_distance(found: Line, true: Line, rules: Convention) -> float:
    if found[1] is not None and not found[1].intersects(true[1]):
        return np.inf
    distances = cdist(found[0], true[0])
    return 0.5 * float(distances.min(axis=1).mean() + distances.min(axis=0).mean())


def _match(distances: Sequence[Sequence[float]], scores: np.ndarray, threshold: float) -> list[bool]:
    """Whether each prediction takes a true line."""
    hits, taken = [False] * len(scores), set()
    for row in np.argsort(-scores, kind="stable").tolist():
        if not distances[row]:
            continue
        nearest = int(np.argmin(distances[row]))
        if distances[row][nearest] <= threshold and nearest not in taken:
            taken.add(nearest)
            hits[row] = True
    return hits


def _curve(rng: np.random.Generator, vertices: int | None = None) -> np.ndarray:
    """(V, 2) a gently bent line from somewhere in the region."""
    count = vertices or int(rng.integers(2, 21))
    length, bend = rng.uniform(2.0, 60.0), rng.normal(0.0, 0.5)
    heading = rng.uniform(-np.pi, np.pi) + bend * np.linspace(0.0, 1.0, count)
    steps = np.stack([np.cos(heading), np.sin(heading)], axis=1) * length / max(count - 1, 1)
    line = np.cumsum(steps, axis=0) - steps[0] + rng.uniform(-HALF_EXTENT_M, HALF_EXTENT_M)
    return np.clip(line, -HALF_EXTENT_M, HALF_EXTENT_M)


def _moved(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(20, 2) the line as a model might find it: a little beside, by 0.1 to 3 m."""
    offset = rng.normal(0.0, 10.0 ** rng.uniform(-1.0, 0.5), 2)
    return _sample(line, 20) + offset + rng.normal(0.0, 0.05, (20, 2))
