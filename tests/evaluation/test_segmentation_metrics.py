"""The metric classes of pictures: names, files, classes by name, agreement with the functions beneath, refusals."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from cityscapes_cases import labels_of_instances, random_instances, random_masks, random_predictions

from perception.datasets.cityscapes_labels import CLASSES, ID_OF_CLASS, THINGS, train_id_table
from perception.datasets.cityscapes_panoptic import panoptic_truth
from perception.evaluation.segmentation.cityscapes_iou import CityscapesIoU
from perception.evaluation.segmentation.instance_ap import CLASS_IDS, InstanceAP
from perception.evaluation.segmentation.panoptic_quality import PanopticQuality, SegmentTable
from perception.evaluation.segmentation_metric import SegmentationMetric
from perception.evaluation.semantic_metric import SemanticSegmentationMetric
from perception.registry import METRICS
from perception.structures import (
    Camera,
    Frame,
    InstancePrediction,
    PanopticPrediction,
    PixelLabels,
    SegmentationPredictions,
)
from perception.structures.segmentation import IGNORE_LABEL

NAMES = ("road", "car", "sky")
TRUTH = torch.tensor([[0, 0, 0, 0], [1, 1, 1, IGNORE_LABEL]])
INSTANCES = torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]])
TRAIN_IDS = train_id_table()


def frame(token: str = "a", classes: torch.Tensor = TRUTH, instances: torch.Tensor | None = INSTANCES) -> Frame:
    return Frame(token, 0, cameras={"front": Camera(None, 0, labels=PixelLabels(classes, instances))})


def sample(token: str = "a", classes: torch.Tensor | None = None, **parts: Any) -> SegmentationPredictions:
    """By default the truth with one wrong pixel of the road, and something where it is ignored."""
    if classes is None:
        classes = torch.tensor([[0, 0, 0, 1], [1, 1, 1, 0]])
    return SegmentationPredictions(token, 0, classes, **parts)


def metric(kind: str, folder: Path, **options: Any) -> SegmentationMetric[Any]:
    return METRICS.build({"type": kind, "output_dir": str(folder), "classes": NAMES, **options})


def scored(metric: SegmentationMetric[Any], *pairs: tuple[Frame, SegmentationPredictions]) -> dict[str, float]:
    metric.process(*zip(*pairs, strict=True))
    return metric.evaluate(size=len(pairs))


def cityscapes_pair(rng: np.random.Generator, token: str) -> tuple[np.ndarray, Frame, SegmentationPredictions]:
    """An instance file, and the same picture as a frame with predictions of all kinds."""
    regions = random_instances(rng)
    labels = labels_of_instances(regions)
    numbers = np.where(regions >= 1000, regions % 1000 + 1 + 5 * labels, 0)     # distinct over the classes
    labelled = PixelLabels(torch.from_numpy(TRAIN_IDS[labels]), torch.from_numpy(numbers))
    predicted = TRAIN_IDS[random_predictions(rng, labels)]
    predicted[predicted == IGNORE_LABEL] = 0
    masks, mask_labels, scores = random_masks(rng, regions)
    known = np.isin(mask_labels, CLASS_IDS)
    ids = np.unique(predicted)
    found = SegmentationPredictions(
        token, 0, torch.from_numpy(predicted),
        PanopticPrediction(
            torch.from_numpy(np.searchsorted(ids, predicted) + 1), torch.from_numpy(ids), torch.ones(len(ids))
        ),
        InstancePrediction(
            torch.from_numpy(masks[known]), torch.from_numpy(TRAIN_IDS[mask_labels[known]]),
            torch.from_numpy(scores[known]),
        ),
    )
    return regions, Frame(token, 0, cameras={"front": Camera(None, 0, labels=labelled)}), found


def test_semantic_scores_by_name(tmp_path: Path):
    flat = scored(metric("SemanticSegmentationMetric", tmp_path), (frame(), sample()))
    assert flat == pytest.approx({
        "semantic/mIoU": (3 / 4 + 3 / 4) / 2, "semantic/fwIoU": 3 / 4, "semantic/mACC": (3 / 4 + 1) / 2,
        "semantic/pACC": 6 / 7, "semantic/num_classes": 2, "semantic/road_IoU": 3 / 4, "semantic/car_IoU": 3 / 4,
    })
    assert json.loads((tmp_path / "metrics_semantic.json").read_text())["mIoU"] == flat["semantic/mIoU"]


def test_boundary_scores_come_on_request(tmp_path: Path):
    """The rims of a road all of whose pixels are at the border are the road itself."""
    flat = scored(metric("SemanticSegmentationMetric", tmp_path, boundary=True), (frame(), sample()))
    assert flat["semantic/road_BIoU"] == flat["semantic/mBIoU"] == pytest.approx(3 / 4)


def test_classes_of_a_model_are_found_by_name(tmp_path: Path):
    """The model knows bus and sea beside; where it sees them, no class of the metric is predicted."""
    names = ("bus", "sky", "car", "road", "sea")
    flat = scored(
        metric("SemanticSegmentationMetric", tmp_path),
        (frame(), sample(classes=torch.tensor([[3, 3, 3, 0], [2, 2, 4, 0]]), class_names=names)),
    )
    assert (flat["semantic/road_IoU"], flat["semantic/car_IoU"]) == pytest.approx((3 / 4, 2 / 3))


def test_classes_and_things_are_those_of_the_data_set_unless_given(tmp_path: Path):
    own = metric("PanopticSegmentationMetric", tmp_path, classes=None)
    own.dataset_meta = {"classes": NAMES}
    with pytest.raises(ValueError, match="PanopticSegmentationMetric needs things: give them"):
        own.process([frame()], [sample(panoptic=PanopticPrediction(TRUTH * 0, TRUTH[0, :0], torch.zeros(0)))])
    own.dataset_meta = {"classes": NAMES, "things": ("car",)}
    assert (own.classes, own.things) == (NAMES, ("car",))
    with pytest.raises(ValueError, match="SemanticSegmentationMetric needs classes: give them"):
        SemanticSegmentationMetric(output_dir=str(tmp_path)).process([frame()], [sample()])


def test_panoptic_scores_by_name(tmp_path: Path):
    """The road is found with an IoU of 3/4, the car whole; what lies on the third pixel of cars is a crowd."""
    ids = torch.tensor([[1, 1, 1, 0], [2, 2, 3, 3]])
    found = PanopticPrediction(ids, torch.tensor([0, 1, 1, 2]), torch.ones(4))          # the sky has no pixel
    flat = scored(metric("PanopticSegmentationMetric", tmp_path, things=["car"]), (frame(), sample(panoptic=found)))
    assert flat["panoptic/road_PQ"] == pytest.approx(3 / 4)
    assert flat["panoptic/car_PQ"] == flat["panoptic/things_PQ"] == 1.0
    assert flat["panoptic/PQ"] == pytest.approx(7 / 8)
    assert (flat["panoptic/num_classes"], flat["panoptic/stuff_num_classes"]) == (2, 1)


def test_instance_scores_by_name(tmp_path: Path):
    masks = torch.stack([INSTANCES == 1, TRUTH == 0])
    found = InstancePrediction(masks, torch.tensor([1, 1]), torch.tensor([0.4, 0.9]))
    options = {"things": ["car"], "min_region": 1}
    flat = scored(metric("InstanceSegmentationMetric", tmp_path, **options), (frame(), sample(instances=found)))
    assert flat == pytest.approx({
        "instance/AP": 0.25, "instance/AP50": 0.25, "instance/num_classes": 1, "instance/car_AP": 0.25,
        "instance/car_AP50": 0.25,
    })


@pytest.mark.parametrize("seed", range(2))
def test_frames_score_as_the_files_they_are_made_of(seed: int, tmp_path: Path):
    rng = np.random.default_rng(seed)
    pixels, precision = CityscapesIoU(), InstanceAP()
    quality = PanopticQuality({label: name in THINGS for label, name in enumerate(CLASSES)})
    triples = [cityscapes_pair(rng, token) for token in "abc"]
    ids = np.array([ID_OF_CLASS[name] for name in CLASSES])
    for regions, _, found in triples:
        pixels.update(labels_of_instances(regions), regions, ids[found.classes])
        truth = panoptic_truth(regions)
        segments = SegmentTable(truth.segment_ids, truth.train_ids, truth.is_crowd)
        labels = found.panoptic.labels.numpy()
        predicted = SegmentTable(np.arange(len(labels)) + 1, labels)
        quality.update(truth.ids, segments, found.panoptic.ids.numpy(), predicted)
        objects = found.instances
        precision.update(regions, objects.masks.numpy(), ids[objects.labels], objects.scores.numpy())
    pairs = [(labelled, found) for _, labelled, found in triples]
    options = {"classes": CLASSES, "things": THINGS}
    flat = scored(metric("CityscapesPixelMetric", tmp_path, classes=CLASSES), *pairs)
    flat |= scored(metric("PanopticSegmentationMetric", tmp_path, **options), *pairs)
    flat |= scored(metric("InstanceSegmentationMetric", tmp_path, **options), *pairs)
    names = ("mIoU", "miIoU", "category_mIoU", "category_miIoU")
    np.testing.assert_allclose([flat[f"cityscapes/{name}"] for name in names], pixels.compute().averages(), rtol=1e-12)
    assert flat["panoptic/PQ"] == pytest.approx(quality.compute().averages["all"].pq, rel=1e-12)
    assert flat["instance/AP"] == pytest.approx(precision.compute().mean, rel=1e-12)


def run_rank(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    own = metric("SemanticSegmentationMetric", folder / "out")
    for _ in range(2):                                     # padded: every frame comes twice
        own.process([frame("ab"[rank])], [sample("ab"[rank], TRUTH.clamp(max=rank))])
    (folder / f"rank{rank}.json").write_text(json.dumps(own.evaluate(size=2)))
    dist.destroy_process_group()


def test_two_ranks_give_what_one_process_gives(tmp_path: Path):
    mp.spawn(run_rank, args=(tmp_path,), nprocs=2)
    pairs = [(frame(token), sample(token, TRUTH.clamp(max=rank))) for rank, token in enumerate("ab")]
    single = scored(metric("SemanticSegmentationMetric", tmp_path / "single"), *pairs)
    assert 0 < single["semantic/mIoU"] < 1
    for rank in (0, 1):
        assert json.loads((tmp_path / f"rank{rank}.json").read_text()) == single


@pytest.mark.parametrize(
    ("pair", "match"),
    [
        ((frame(), sample("b")), "predictions of frame 'b' came with frame 'a'"),
        ((Frame("a", 0), sample()), "frame 'a': camera must name one of no cameras, got None"),
        ((replace(frame(), cameras={"front": Camera(None, 0)}), sample()), "camera 'front' has no labels to score"),
        ((frame(), sample(classes=torch.zeros(2, 5).long())), r"are \(2, 5\), the labels \(2, 4\)"),
        ((frame(classes=TRUTH + 5), sample()), r"labels other than 255 must lie in \[0, 2\], got 5"),
        ((frame(), sample(classes=TRUTH)), r"predicted classes must lie in \[0, 2\], got 255"),
        ((frame(), sample(class_names=("road", "cars"))), r"the model has no class 'car' \(did you mean \"cars\"\?\)"),
    ],
)
def test_pictures_that_cannot_be_scored_are_refused(pair, match, tmp_path: Path):
    with pytest.raises(ValueError, match=match):
        scored(metric("SemanticSegmentationMetric", tmp_path), pair)


@pytest.mark.parametrize(
    ("kind", "options", "pair", "match"),
    [
        ("PanopticSegmentationMetric", {"things": ["car"]}, (frame(), sample()), "have no panoptic regions"),
        ("InstanceSegmentationMetric", {"things": ["car"]}, (frame(), sample()), "have no instances"),
        ("CityscapesPixelMetric", {}, (frame(instances=None), sample()), "the labels have no instances to score"),
        ("CityscapesPixelMetric", {"classes": ("road", "boat", "sky")}, (frame(), sample()), "got 'boat'"),
        ("InstanceSegmentationMetric", {"things": ["cars"]},
         (frame(), sample(instances=InstancePrediction(TRUTH[None] > 9, TRUTH[0, :1], torch.zeros(1)))),
         r"there is no class 'cars' \(did you mean \"car\"\?\)"),
    ],
)
def test_predictions_of_another_kind_are_refused(kind, options, pair, match, tmp_path: Path):
    with pytest.raises(ValueError, match=match):
        scored(metric(kind, tmp_path, **options), pair)


def test_a_boundary_without_width_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="dilation_ratio must be > 0"):
        metric("SemanticSegmentationMetric", tmp_path, dilation_ratio=0.0)
