"""Scores of points equal the devkit's on whole data sets; frames add up; what does not fit is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nuscenes.eval.lidarseg.utils import ConfusionMatrix
from nuscenes.eval.panoptic.panoptic_seg_evaluator import PanopticEval
from rich.console import Console
from safetensors.numpy import load_file

from perception.datasets.nuscenes_point_labels import POINT_CLASSES
from perception.evaluation.nuscenes_point_counts import PointCounts, sum_counts
from perception.evaluation.nuscenes_points import NuScenesPointMetric, count_points, point_table
from perception.evaluation.nuscenes_points_official import flat_officially
from perception.structures import Frame, PointCloud, PointLabels, PointPredictions
from perception.structures.segmentation import IGNORE_LABEL

CAR, ROAD = POINT_CLASSES.index("car"), POINT_CLASSES.index("driveable_surface")


def of_codes(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and instances of the devkit's panoptic codes."""
    return np.where(codes < 1000, IGNORE_LABEL, codes // 1000 - 1), codes % 1000


def random_codes(seed: int, points: int = 500, classes: int = 17) -> tuple[np.ndarray, np.ndarray]:
    """True and predicted codes that agree on most points; classes above ``classes`` never occur."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, points) * 1000
    truth += np.where((truth > 0) & (truth < 11_000), rng.integers(1, 3, points), 0)
    other = rng.integers(1, classes, points) * 1000 + 1
    return truth, np.where((rng.random(points) < 0.7) & (truth > 0), truth, other)


def counts_of(codes: tuple[np.ndarray, np.ndarray]) -> PointCounts:
    (truth, true_instances), (found, found_instances) = of_codes(codes[0]), of_codes(codes[1])
    return count_points(truth, found, true_instances, found_instances)


def test_counts_worked_by_hand():
    truth = np.array([CAR] * 6 + [ROAD] * 3 + [IGNORE_LABEL])
    found = np.array([CAR] * 5 + [ROAD] * 4 + [CAR])
    flat = count_points(truth, found, np.array([1] * 3 + [2] * 3 + [0] * 4), np.array([1] * 5 + [0] * 5), 1).flat()
    assert flat["car_IoU"] == pytest.approx(5 / 6)
    assert flat["driveable_surface_IoU"] == pytest.approx(3 / 4)
    assert flat["mIoU"] == pytest.approx((5 / 6 + 3 / 4) / 2)
    assert "bus_IoU" not in flat                           # neither true nor predicted
    # the predicted car holds 3 of the first car's 3 points among 5: IoU 0.6; the second car is missed
    assert [flat[f"car_{name}"] for name in ("PQ", "SQ", "RQ")] == pytest.approx([0.6 / 1.5, 0.6, 1 / 1.5])
    assert flat["PQ"] == pytest.approx((0.4 + 0.75) / 16)


@pytest.mark.parametrize("classes", [17, 9])
def test_scores_of_a_set_are_those_of_the_devkit_fed_frame_by_frame(classes):
    confusion, panoptic = ConfusionMatrix(17, ignore_idx=0), PanopticEval(17, ignore=[0], min_points=15)
    frames = [random_codes(seed, classes=classes) for seed in range(4)]
    for truth, found in frames:
        confusion.update(truth // 1000, found // 1000)
        panoptic.addBatch(found // 1000, found, truth // 1000, truth)
    flat = sum_counts(counts_of(codes) for codes in frames).flat()
    assert flat["mIoU"] == pytest.approx(confusion.get_mean_iou())
    assert flat["fwIoU"] == pytest.approx(confusion.get_freqweighted_iou())
    mean_pq, mean_sq, mean_rq, pq, _, _ = panoptic.getPQ()
    assert [flat["PQ"], flat["SQ"], flat["RQ"]] == pytest.approx([mean_pq, mean_sq, mean_rq])
    assert [flat[f"{name}_PQ"] for name in POINT_CLASSES] == pytest.approx(pq[1:].tolist())


def same_counts(*columns: Any, **options: Any) -> PointCounts:
    """Of the fast backend, after a look that the devkit's code gives the same, down to the last bit."""
    fast, official = (count_points(*columns, **options, backend=name) for name in ("fast", "official"))
    for name in ("confusion", "matched", "extra", "missed", "iou"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(official, name), strict=True, err_msg=name)
    assert fast.flat() == flat_officially(official)
    return fast


@pytest.mark.parametrize("spread", [1, 97, 1 << 20])
@pytest.mark.parametrize("seed", range(3))
def test_both_backends_give_the_same_bits(seed: int, spread: int):
    """With instances 0, 1 and 2, with numbers that leave gaps, and with numbers too high for a table."""
    truth, found = (of_codes(codes) for codes in random_codes(seed, points=3000))
    both = same_counts(truth[0], found[0], truth[1] * spread, found[1] * spread, min_points=seed)
    assert both.matched is not None
    assert both.matched.sum() > 0


def test_many_segments_of_a_class_are_added_in_the_devkits_order():
    """Three hundred cars: the devkit's sum of their IoUs is that of numpy, in pairs beyond eight."""
    rng = np.random.default_rng(0)
    cars = rng.permutation(np.repeat(np.arange(300), 20))
    found = np.where(rng.random(len(cars)) < 0.1, rng.permutation(cars), cars)
    counts = same_counts(np.full(len(cars), CAR), np.full(len(cars), CAR), cars, 1000 - found)
    assert counts.matched is not None
    assert counts.matched[CAR + 1] > 250


def test_both_backends_agree_where_nothing_matches_or_nothing_is_there():
    road, cars = np.full(40, ROAD), np.full(40, CAR)
    numbers = np.arange(40) // 20
    same_counts(road, cars, numbers, numbers)
    same_counts(road, cars)
    same_counts(road[:0], cars[:0], numbers[:0], numbers[:0])
    same_counts(np.full(40, IGNORE_LABEL), cars, numbers, numbers)


@pytest.mark.parametrize("number", [-1, 2**32 - 1])
def test_instances_that_the_devkit_cannot_tell_apart_are_refused(number: int):
    truth, numbers = np.full(3, CAR), np.array([0, 1, number])
    with pytest.raises(ValueError, match=rf"predicted_instances must lie in \[0, 4294967295\), got .*{abs(number)}"):
        count_points(truth, truth, np.zeros(3, np.int64), numbers)


@pytest.mark.parametrize("backend", ["fast", "official"])
def test_the_metric_scores_alike_with_either_backend(tmp_path: Path, backend: str):
    metric = NuScenesPointMetric(output_dir=str(tmp_path), backend=backend)
    metric.process(*([part] for part in frame_and_sample(0)))
    assert metric.evaluate(size=1) == {f"points/{k}": v for k, v in counts_of(random_codes(0)).flat().items()}


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match="backend must be one of fast, official, got 'slow'"):
        NuScenesPointMetric(backend="slow")


@pytest.mark.golden_files("seg_eval", pattern="nuscenes_lidarseg*.safetensors")
def test_lidarseg_equals_the_golden_file(golden_file: Path):
    content = load_file(golden_file)
    frames = range(sum(key.startswith("in.gt") for key in content))
    counts = sum_counts(
        count_points(*(of_codes(content[f"in.{kind}{frame}"] * 1000)[0] for kind in ("gt", "pred"))) for frame in frames
    )
    flat = counts.flat()
    np.testing.assert_array_equal(counts.confusion, content["out.confusion"])
    np.testing.assert_allclose([flat["mIoU"], flat["fwIoU"]], content["out.miou_fwiou"], atol=1e-9)
    np.testing.assert_allclose(by_class(flat, "IoU", absent=-1.0), content["out.iou"][1:], atol=1e-9)


@pytest.mark.golden_files("seg_eval", pattern="nuscenes_panoptic.safetensors")
def test_panoptic_equals_the_golden_file(golden_file: Path):
    content = load_file(golden_file)
    frames = range(sum(key.startswith("in.gt") for key in content))
    counts = sum_counts(counts_of((content[f"in.gt{frame}"], content[f"in.pred{frame}"])) for frame in frames)
    flat = counts.flat()
    np.testing.assert_array_equal([counts.matched, counts.extra, counts.missed], content["out.tp_fp_fn"])
    expected = dict(zip(("PQ", "SQ", "RQ", "mIoU", "PQ_dagger"), content["out.mean"], strict=True))
    for name in ("PQ", "SQ", "RQ", "PQ_dagger"):
        assert flat[name] == pytest.approx(expected[name], abs=1e-9)
    for row, name in enumerate(("PQ", "SQ", "RQ")):
        np.testing.assert_allclose(by_class(flat, name), content["out.per_class"][row, 1:], atol=1e-9)


def by_class(flat: dict[str, float], name: str, absent: float = 0.0) -> list[float]:
    return [flat.get(f"{label}_{name}", absent) for label in POINT_CLASSES]


def test_without_instances_on_both_sides_only_classes_are_scored():
    truth, found = (of_codes(codes) for codes in random_codes(0))
    assert "PQ" not in count_points(truth[0], found[0], truth[1]).flat()
    both = counts_of(random_codes(1)) + count_points(truth[0], found[0])
    assert "PQ" not in both.flat()
    assert both.confusion.sum() == (truth[0] != IGNORE_LABEL).sum() + counts_of(random_codes(1)).confusion.sum()


def test_a_set_without_a_labelled_point_has_no_score():
    ignored = np.full(4, IGNORE_LABEL)
    assert count_points(ignored, ignored).flat() == {}
    assert count_points(ignored[:0], ignored[:0]).flat() == {}


def frame_and_sample(seed: int, **changes: Any) -> tuple[Frame, PointPredictions]:
    (truth, true_instances), (found, found_instances) = (
        tuple(torch.from_numpy(column) for column in of_codes(codes)) for codes in random_codes(seed)
    )
    labels = PointLabels(truth, true_instances, POINT_CLASSES)
    frame = Frame(str(seed), 0, points=PointCloud(torch.zeros(len(truth), 3)), point_labels=labels)
    sample = {"token": str(seed), "classes": found, "names": POINT_CLASSES, "instances": found_instances, **changes}
    return frame, PointPredictions(timestamp_ns=0, **sample)


def test_the_metric_scores_batches_once_a_frame_and_writes_what_it_says(tmp_path):
    metric = NuScenesPointMetric(output_dir=str(tmp_path))
    for seeds in ((0, 1), (2, 0)):
        frames, samples = zip(*(frame_and_sample(seed) for seed in seeds), strict=True)
        metric.process(frames, samples)
    flat = metric.evaluate(size=4)
    expected = sum_counts(counts_of(random_codes(seed)) for seed in range(3)).flat()
    assert flat["points/PQ"] == pytest.approx(expected["PQ"])
    assert json.loads((tmp_path / "metrics_points.json").read_text())["PQ"] == flat["points/PQ"]


def test_the_table_has_a_line_a_class_and_the_means():
    flat = counts_of(random_codes(0)).flat()
    text = io.StringIO()
    Console(file=text, width=100).print(point_table({f"points/{name}": value for name, value in flat.items()}))
    lines = text.getvalue().splitlines()
    assert sum(any(name in line for name in POINT_CLASSES) for line in lines) == 16
    (mean,) = [line for line in lines if "mean" in line]
    assert f"{flat['mIoU']:.3f}" in mean
    assert f"{flat['PQ']:.3f}" in mean


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"token": "other"}, "predictions of frame 'other' came with frame '0'"),
        ({"names": ("car",)}, "frame '0': classes of the model must be barrier, .*, got car"),
        ({"classes": torch.zeros(3, dtype=torch.int64), "instances": None}, r"predicted must be \(500,\) as the truth"),
        ({"classes": torch.full((500,), IGNORE_LABEL)}, r"predicted must lie in \[0, 16\) .*, got 255 to 255"),
    ],
)
def test_predictions_that_do_not_fit_are_refused(changes, message):
    frame, sample = frame_and_sample(0, **changes)
    with pytest.raises(ValueError, match=message):
        NuScenesPointMetric().process([frame], [sample])


def test_a_frame_without_labels_is_refused():
    with pytest.raises(ValueError, match="frame '0' has no point_labels to score against"):
        NuScenesPointMetric().process([Frame("0", 0)], [frame_and_sample(0)[1]])
