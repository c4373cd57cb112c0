"""Cityscapes' pixel-level scores and instance AP: by hand, against the official scripts, and their edges."""

from __future__ import annotations

import numpy as np
import pytest
from cityscapes_cases import labels_of_instances, random_instances, random_masks, random_predictions
from PIL import Image

from perception.datasets.cityscapes_labels import CATEGORIES, CLASSES, LABELS, SCORED, train_id_table
from perception.evaluation.segmentation.cityscapes_iou import CityscapesIoU
from perception.evaluation.segmentation.instance_ap import InstanceAP, average_precision, shared_pixels

ROAD, BUILDING, CAR, CARAVAN = 7, 11, 26, 29
ZEROS = np.zeros((2, 2), np.int64)


def scored(*pictures: tuple[np.ndarray, np.ndarray, np.ndarray]) -> CityscapesIoU:
    iou = CityscapesIoU()
    for picture in pictures:
        iou.update(*picture)
    return iou


def random_pictures(seed: int, count: int = 3) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    instances = [random_instances(rng) for _ in range(count)]
    return [(labels_of_instances(r), r, random_predictions(rng, labels_of_instances(r))) for r in instances]


def test_nineteen_classes_are_scored_in_the_order_of_their_train_ids():
    assert len(CLASSES) == 19
    assert [label.id for label in SCORED] == sorted(label.id for label in SCORED)
    assert train_id_table()[[ROAD, CAR, 33, CARAVAN, 0]].tolist() == [0, 13, 18, 255, 255]


def test_unscored_labels_excuse_predictions_but_are_errors_as_predictions():
    truth = np.array([[ROAD, ROAD, ROAD, 0]])
    scores = scored((truth, truth, np.array([[ROAD, ROAD, 0, ROAD]]))).compute()
    assert scores.class_iou[ROAD] == pytest.approx(2 / 3)                  # one pixel missed, none false
    assert np.isnan(scores.class_iou[BUILDING])
    assert scores.category_iou[CATEGORIES.index("flat")] == pytest.approx(2 / 3)


def test_a_small_instance_weighs_as_much_as_a_large_one():
    """Two cars, of 1 and 3 pixels; only the large one is found, so half of the weight is right."""
    truth, instances = np.full((1, 4), CAR), np.array([[26000, 26001, 26001, 26001]])
    scores = scored((truth, instances, np.array([[ROAD, CAR, CAR, CAR]]))).compute()
    assert scores.class_iou[CAR] == pytest.approx(3 / 4)
    assert scores.class_iiou[CAR] == pytest.approx(1 / 2)


def test_a_trailer_predicted_for_a_car_is_right_as_a_vehicle_with_instances():
    truth, instances = np.full((1, 4), CAR), np.full((1, 4), 26000)
    scores = scored((truth, instances, np.full((1, 4), 30))).compute()
    assert scores.class_iiou[CAR] == 0.0
    assert scores.category_iiou[CATEGORIES.index("vehicle")] == 1.0
    assert scores.category_iou[CATEGORIES.index("vehicle")] == 0.0


@pytest.mark.parametrize("seed", range(4))
def test_pixel_scores_equal_the_official_script(seed, tmp_path):
    official = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    pictures = random_pictures(seed)
    found, truth = [], []
    for number, (labels, instances, predictions) in enumerate(pictures):
        stem = f"{tmp_path}/city_{number:06d}_000019_gtFine"
        Image.fromarray(labels.astype(np.uint8)).save(f"{stem}_labelIds.png")
        Image.fromarray(instances.astype(np.uint16)).save(f"{stem}_instanceIds.png")
        Image.fromarray(predictions.astype(np.uint8)).save(f"{stem}_pred.png")
        truth.append(f"{stem}_labelIds.png")
        found.append(f"{stem}_pred.png")
    official.args.quiet, official.args.JSONOutput = True, False
    results = official.evaluateImgLists(found, truth, official.args)
    scores = scored(*pictures).compute()
    for label in SCORED:
        np.testing.assert_allclose(scores.class_iou[label.id], results["classScores"][label.name], rtol=1e-12)
        np.testing.assert_allclose(scores.class_iiou[label.id], results["classInstScores"][label.name], rtol=1e-12)
    for place, category in enumerate(CATEGORIES):
        for ours, theirs in ((scores.category_iou, "categoryScores"), (scores.category_iiou, "categoryInstScores")):
            np.testing.assert_allclose(ours[place], results[theirs].get(category, np.nan), rtol=1e-12)
    names = ("averageScoreClasses", "averageScoreInstClasses", "averageScoreCategories", "averageScoreInstCategories")
    np.testing.assert_allclose(scores.averages(), [results[name] for name in names], rtol=1e-12)


def test_pixel_counts_add_up_over_processes():
    pictures = random_pictures(9, 4)
    whole, halves = scored(*pictures), (scored(*pictures[:2]), scored(*pictures[2:]))
    halves[0].merge(halves[1])
    np.testing.assert_allclose(halves[0].compute().averages(), whole.compute().averages(), rtol=1e-12)


def test_nothing_counted_gives_no_score():
    assert np.isnan(CityscapesIoU().compute().averages()).all()


@pytest.mark.parametrize(
    ("picture", "match"),
    [
        ((ZEROS + 34, ZEROS, ZEROS), r"truth must lie in \[0, 33\], got 34"),
        ((ZEROS, ZEROS, ZEROS - 1), r"predictions must lie in \[0, 33\], got -1"),
        ((ZEROS, ZEROS + 34001, ZEROS), "labels of instances must lie in"),
        ((ZEROS, ZEROS, ZEROS[:1]), r"labels are \(2, 2\), the predicted ones \(1, 2\)"),
        ((ZEROS, ZEROS[:1], ZEROS), r"labels are \(1, 2\), the predicted ones \(2, 2\)"),
        ((ZEROS * 0.5, ZEROS, ZEROS), "labels must be integers, got float64"),
    ],
)
def test_maps_that_are_not_of_cityscapes_labels_are_refused(picture, match):
    with pytest.raises(ValueError, match=match):
        scored(picture)


def boxes(*columns: tuple[int, int]) -> np.ndarray:
    """Masks of 20 rows by 40 columns that span columns [begin, end)."""
    masks = np.zeros((len(columns), 20, 40), np.bool_)
    for mask, (begin, end) in zip(masks, columns, strict=True):
        mask[:, begin:end] = True
    return masks


def one_car(masks: np.ndarray, scores: list[float], regions: np.ndarray | None = None) -> np.ndarray:
    """AP of cars by overlap for a picture whose columns 0 to 9 are one."""
    truth = np.full((20, 40), ROAD)
    truth[:, :10] = 26000
    precision = InstanceAP()
    precision.update(truth if regions is None else regions, masks, [CAR] * len(masks), scores)
    return precision.compute().ap[precision.class_ids.index(CAR)]


def test_an_overlap_at_the_threshold_is_no_match():
    assert one_car(boxes((0, 5)), [0.9])[0] == 0.0                         # IoU 0.5
    assert one_car(boxes((0, 6)), [0.9]).tolist() == [1.0, 1.0] + [0.0] * 8   # IoU 0.6, the third overlap


def test_of_two_predictions_of_one_instance_the_surer_stands():
    """Precision 1/2 at recall 1 for the lower score, 1 at recall 1 for the higher: (1/2 * 0 + 1 * 1 + 1 * 1) / 2."""
    assert one_car(boxes((0, 10), (0, 10)), [0.4, 0.9])[0] == pytest.approx(1.0)
    assert one_car(boxes((0, 10), (20, 30)), [0.4, 0.9])[0] == pytest.approx((0.5 * 1 + 0 * 1 + 1 * 0) / 2)


def test_predictions_on_groups_and_unscored_regions_are_dropped():
    regions = np.full((20, 40), ROAD)
    regions[:, :10], regions[:, 20:30], regions[:, 30:] = 26000, CAR, 4
    clean = one_car(boxes((0, 10)), [0.4], regions)
    np.testing.assert_array_equal(one_car(boxes((0, 10), (20, 30), (30, 40)), [0.4, 0.9, 0.9], regions), clean)
    assert one_car(boxes((0, 10), (10, 20)), [0.4, 0.9], regions)[0] < clean[0]


def test_a_class_without_true_instances_has_no_precision_and_one_without_predictions_none():
    assert np.isnan(one_car(boxes((0, 10)), [0.9], np.full((20, 40), ROAD))).all()
    assert one_car(boxes(), []).tolist() == [0.0] * 10
    tiny = np.full((20, 40), ROAD)
    tiny[:4, :10] = 26000                                                  # 40 pixels
    assert np.isnan(one_car(boxes((0, 10)), [0.9], tiny)).all()


def test_a_class_whose_candidates_are_all_dropped_scores_zero():
    regions = np.full((20, 40), ROAD)
    regions[:, :10], regions[:, 20:30] = 26000, CAR
    assert one_car(boxes((20, 30)), [0.9], regions).tolist() == [0.0] * 10


def test_average_precision_by_hand():
    """Scores 0.2, 0.5, 0.9 with matches at 0.2 and 0.9, one truth missed: recalls 2/3, 1/3, 1/3."""
    found = average_precision(np.array([0.5, 0.9, 0.2]), np.array([False, True, True]), 1)
    assert found == pytest.approx((2 / 3 * (2 / 3 - 1 / 3) + 1 / 2 * (2 / 3 - 1 / 3) + 1 * (1 / 3) + 1 * (1 / 3)) / 2)
    assert average_precision(np.array([0.3, 0.3]), np.array([True, False]), 0) == pytest.approx((0.5 * 1 + 1 * 1) / 2)


@pytest.mark.parametrize("seed", range(4))
def test_instance_ap_equals_the_official_script(seed, tmp_path, monkeypatch):
    official = pytest.importorskip("cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling")
    monkeypatch.chdir(tmp_path)                            # it leaves a matches.json where it runs
    rng = np.random.default_rng(seed)
    precision, found, truth = InstanceAP(), [], []
    for number in range(6):
        regions = random_instances(rng)
        masks, labels, scores = random_masks(rng, regions)
        precision.update(regions, masks, labels, scores)
        truth.append(f"{tmp_path}/{number}_instanceIds.png")
        found.append(f"{tmp_path}/{number}.txt")
        Image.fromarray(regions.astype(np.uint16)).save(truth[-1])
        rows = zip(range(len(masks)), labels, scores, strict=True)
        lines = [f"{number}_{k}.png {label} {score}" for k, label, score in rows]
        (tmp_path / f"{number}.txt").write_text("\n".join(lines))
        for k, mask in enumerate(masks):
            Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / f"{number}_{k}.png")
    args = official.args
    args.quiet, args.JSONOutput, args.predictionPath = True, False, str(tmp_path)
    args.gtInstancesFile = str(tmp_path / "gtInstances.json")
    results = official.evaluateImgLists(found, truth, args)["averages"]
    scores = precision.compute()
    np.testing.assert_allclose([scores.mean, scores.mean50], [results["allAp"], results["allAp50%"]], rtol=1e-12)
    for row, label in enumerate(label for label in LABELS if label.has_instances and label.is_scored):
        expected = results["classes"][label.name]
        np.testing.assert_allclose(scores.ap[row].mean(), expected["ap"], rtol=1e-12)
        np.testing.assert_allclose(scores.ap[row, 0], expected["ap50%"], rtol=1e-12)


def test_instance_counts_add_up_over_processes():
    rng = np.random.default_rng(5)
    whole, halves = InstanceAP(), (InstanceAP(), InstanceAP())
    for number in range(6):
        regions = random_instances(rng)
        picture = (regions, *random_masks(rng, regions))
        whole.update(*picture)
        halves[number % 2].update(*picture)
    halves[0].merge(halves[1])
    np.testing.assert_array_equal(halves[0].compute().ap, whole.compute().ap)
    assert 0 < whole.compute().mean < 1


def test_shared_pixels_are_those_of_each_pair():
    rng = np.random.default_rng(1)
    masks, regions = rng.random((3, 6, 7)) < 0.5, rng.integers(0, 4, (6, 7))
    expected = [[(mask & (regions == region)).sum() for region in range(4)] for mask in masks]
    np.testing.assert_array_equal(shared_pixels(masks, regions, 4), expected)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: one_car(boxes((0, 9)), [float("nan")]), "scores must be finite, got nan"),
        (lambda: one_car(boxes((0, 9)), [0.9, 0.8]), r"masks must be \(P, H, W\) with P labels and scores"),
        (lambda: one_car(boxes((0, 9))[:, :9], [0.9]), r"for a truth of \(H, W\), got \(1, 9, 40\)"),
        (lambda: InstanceAP([1, 2], [2]), "class_ids and ignored_ids must be distinct"),
        (lambda: InstanceAP([1, 1000], []), r"must lie in \[0, 1000\)"),
        (lambda: InstanceAP(overlaps=[0.3]), r"overlaps must be one or more, each 0.5 or more, got \[0.3\]"),
        (lambda: InstanceAP([24]).merge(InstanceAP([25])), "cannot merge classes"),
    ],
)
def test_instances_that_cannot_be_scored_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
