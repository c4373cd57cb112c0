"""The metric class of vector maps, its table and its results file; two ranks give what one process gives."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from map_cases import random_map, straight
from rich.console import Console

from perception.errors import DataError
from perception.evaluation.maps.elements import MapElements
from perception.evaluation.vector_map import VectorMapMetric, vector_map_table
from perception.evaluation.vector_map_results import read_vector_map_results, write_vector_map_results
from perception.registry import METRICS
from perception.structures import Frame, MapPredictions, Polylines, VectorMap
from perception.structures.vector_map import MAP_CLASSES

REGION = (-30.0, -15.0, 30.0, 15.0)


def frame(token: str, *offsets: float, label: int = 1) -> Frame:
    """A frame with true lines of one class at lateral offsets [m]."""
    labels = torch.full((len(offsets),), label)
    return Frame(token, 0, vector_map=VectorMap(lines(*offsets), labels))


def sample(token: str, *offsets: float, label: int = 1, classes: tuple[str, ...] = MAP_CLASSES) -> MapPredictions:
    """Predictions likewise, the first one surest."""
    labels = torch.full((len(offsets),), label)
    return MapPredictions(token, 0, lines(*offsets), torch.linspace(0.9, 0.1, 9)[: len(offsets)], labels, classes)


def lines(*offsets: float) -> Polylines:
    return Polylines.from_lines([torch.tensor(straight(y)) for y in offsets])


def scored(frames: list[Frame], samples: list[MapPredictions], folder: Path, **options: object) -> dict[str, float]:
    metric = METRICS.build({"type": "VectorMapMetric", "output_dir": str(folder), **options})
    metric.process(frames, samples)
    return metric.evaluate(size=len(frames))


def test_the_metric_is_built_by_its_name_and_writes_both_files(tmp_path: Path):
    flat = scored([frame("a", 0.0), frame("b", 0.0)], [sample("a", 0.6), sample("b")], tmp_path)
    assert flat["map/divider_AP_0.5m"] == 0.0
    assert flat["map/divider_AP_1.0m"] == pytest.approx(0.5)
    assert flat["map/mAP"] == pytest.approx(1 / 9)
    assert {path.name for path in tmp_path.iterdir()} == {"results_map.json", "metrics_map.json"}
    assert json.loads((tmp_path / "metrics_map.json").read_text())["mAP"] == flat["map/mAP"]


def test_labels_of_model_and_map_are_joined_by_the_names_of_their_classes(tmp_path: Path):
    classes = ("boundary", "divider", "ped_crossing")
    assert scored([frame("a", 0.0, label=2)], [sample("a", 0.0, label=0, classes=classes)], tmp_path)[
        "map/boundary_AP"
    ] == 1.0
    only = scored([frame("a", 0.0, label=2)], [sample("a", 0.0)], tmp_path, classes=["divider"])
    assert "map/boundary_AP" not in only


def test_elements_are_clipped_to_the_region_that_is_asked_for(tmp_path: Path):
    """A line from x = 0 to 10 and one to 40 are the same within 10 m."""
    long = replace(sample("a", 0.0), lines=Polylines.from_lines([torch.tensor(straight(0.0, length=40.0))]))
    assert scored([frame("a", 0.0)], [long], tmp_path)["map/divider_AP"] == 0.0
    assert scored([frame("a", 0.0)], [long], tmp_path, region=(-5, -5, 10, 5))["map/divider_AP"] == 1.0


def test_the_published_frame_brings_lines_nearer_together(tmp_path: Path):
    """0.52 m across are 0.52 * 30 / 32 = 0.49 m in the shrunken frame."""
    frames, samples = [frame("a", 0.0)], [sample("a", 0.52)]
    assert scored(frames, samples, tmp_path, region=REGION)["map/divider_AP_0.5m"] == 0.0
    assert scored(frames, samples, tmp_path, region=REGION, frame="shrunken")["map/divider_AP_0.5m"] == 1.0


def test_the_table_has_a_line_a_class_and_a_column_a_threshold(tmp_path: Path):
    buffer = io.StringIO()
    table = vector_map_table(scored([frame("a", 0.0)], [sample("a", 0.6)], tmp_path))
    Console(file=buffer, width=100).print(table)
    row = next(line for line in buffer.getvalue().splitlines() if "divider" in line)
    assert row.replace("│", " ").split() == ["divider", "0.000", "1.000", "1.000", "0.667"]


def test_what_was_written_is_read_again(tmp_path: Path):
    rng = np.random.default_rng(0)
    frames = {"a": random_map(rng, 5, scored=True), "b": MapElements.from_lines([], [], [])}
    path = write_vector_map_results(frames, tmp_path / "results.json", MAP_CLASSES)
    read, classes = read_vector_map_results(path)
    assert (list(read), classes) == (["a", "b"], MAP_CLASSES)
    np.testing.assert_allclose(read["a"].vertices, frames["a"].vertices, rtol=0, atol=5e-7)    # six decimals
    for column in ("counts", "labels", "scores"):
        np.testing.assert_array_equal(getattr(read["a"], column), getattr(frames["a"], column))


def run_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    metric = VectorMapMetric(output_dir=str(folder / "out"))
    token = "ab"[rank]
    for _ in range(2):                                     # padded: every frame comes twice
        metric.process([frame(token, 0.0, 4.0)], [sample(token, 0.3 + rank, 5.0)])
    (folder / f"rank{rank}.json").write_text(json.dumps(metric.evaluate(size=2)))
    dist.destroy_process_group()


def test_two_ranks_give_what_one_process_gives(tmp_path: Path):
    mp.spawn(run_rank, args=(tmp_path,), nprocs=2)
    frames, samples = [frame(token, 0.0, 4.0) for token in "ab"], [sample("a", 0.3, 5.0), sample("b", 1.3, 5.0)]
    single = scored(frames, samples, tmp_path / "single")
    assert 0 < single["map/mAP"] < 1 / 3
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == single


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"region": (0, 0, -1, 1)}, r"region must be x0, y0, x1, y1 \[m\]"),
        ({"frame": "shrunken"}, 'frame "shrunken" needs the region that it is shrunken about, got None'),
        ({"frame": "published"}, 'frame must be "true" or "shrunken", got \'published\''),
        ({"convention": "maptr2"}, r"convention must be one of .*, got 'maptr2' \(did you mean"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], match: str):
    with pytest.raises(ValueError, match=match):
        VectorMapMetric(**options)                         # type: ignore[arg-type]


def test_frames_and_predictions_that_cannot_be_scored_are_refused(tmp_path: Path):
    metric = VectorMapMetric(output_dir=str(tmp_path))
    with pytest.raises(ValueError, match="frame 'a' has no vector_map to score against"):
        metric.process([replace(frame("a"), vector_map=None)], [sample("a")])
    with pytest.raises(ValueError, match="predictions of frame 'b' came with frame 'a'"):
        metric.process([frame("a")], [sample("b")])
    with pytest.raises(ValueError, match=r"frame 'a': there is no class 'ped_crossing' among divider, boundary"):
        metric.process([frame("a")], [sample("a", classes=("divider", "boundary"))])
    with pytest.raises(ValueError, match="frame 'a': vertices must be finite, got 2 numbers that are not"):
        metric.process([frame("a")], [sample("a", float("nan"))])
    with pytest.raises(ValueError, match="predictions of 'a' must have scores, got None"):
        write_vector_map_results({"a": MapElements.from_lines([], [])}, tmp_path / "results.json", MAP_CLASSES)
    elements = MapElements.from_lines([straight(0.0)], [1], [0.5])
    with pytest.raises(ValueError, match=r"labels of 'a' must lie in \[0, 1\), got 1"):
        write_vector_map_results({"a": elements}, tmp_path / "results.json", ("divider",))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[", "file: expected a JSON file of map elements"),
        ("[]", "frames: expected elements by frame token"),
        ('{"frames": {}}', "classes: expected a list of names, got None"),
        ('{"classes": ["a"], "frames": {"f": 3}}', "frame f: elements: expected a list of objects, got int"),
        ('{"classes": ["a"], "frames": {"f": [{"class": "a"}]}}', 'element 0: expected a field "score", got class'),
        (
            '{"classes": ["a"], "frames": {"f": [{"class": "b", "score": 1, "points": []}]}}',
            "element 0: class: expected one of a, got b",
        ),
        (
            '{"classes": ["a"], "frames": {"f": [{"class": "a", "score": 1, "points": [[0, NaN]]}]}}',
            "frame f: points: expected lines of finite numbers",
        ),
    ],
)
def test_a_file_that_is_no_results_file_is_refused(tmp_path: Path, text: str, match: str):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(DataError, match=match):
        read_vector_map_results(tmp_path / "results.json")
