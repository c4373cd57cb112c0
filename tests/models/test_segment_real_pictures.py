"""Segmentors on real pictures of three vendors' cameras, in their own sizes, and their scores against real masks."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from perception.datasets.kitti import KittiDataset
from perception.datasets.picture_dataset import CAMERA
from perception.datasets.picture_folder import PictureFolder
from perception.datasets.waymo_pictures import WaymoPictures
from perception.engine.build import build_model
from perception.engine.checkpoint import save_checkpoint
from perception.engine.config import load_config
from perception.evaluation.panoptic_metric import PanopticSegmentationMetric
from perception.evaluation.semantic_metric import SemanticSegmentationMetric
from perception.models.segmentor import Segmentor
from perception.registry import DATASETS
from perception.structures import Frame, PanopticPrediction, SegmentationPredictions
from perception.structures.segmentation import IGNORE_LABEL

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs/waymo_pictures"
LOAD = ({"type": "LoadImages"},)
SIZES = [(900, 1600)] * 6 + [(375, 1242)] + [(1280, 1920)] * 3 + [(886, 1920)] * 2
SLIM = {"model.backbone.depth": 18, "model.backbone.base_channels": 8, "model.backbone.stem_channels": 8}
SMALL: dict[str, dict[str, Any]] = {                # makes the models of the configs small; any mask will do
    "p2at_s_synthetic": {**SLIM, "model.head.width": 16},
    "p2at_s_cityscapes": {**SLIM, "model.head.width": 16},
    "daformer_mitb5_cityscapes": {
        "model.backbone.variant": "b0", "model.head.channels": 16, "model.head.embed_channels": 16,
    },
    "kmax_r50_cityscapes": {
        **SLIM, "model.head.num_queries": 6, "model.head.max_instances": 4,
        "model.head.pixel_decoder.layers": (1, 1, 1, 1, 1), "model.head.pixel_decoder.channels": (16, 8, 8, 4, 4),
        "model.head.pixel_decoder.heads": 2,
        "model.head.decoder": {
            "layers": (1, 1, 1), "channels": 16, "base_channels": 8, "heads": 2, "hidden": 32, "mask_channels": 8,
        },
        "model.head.panoptic": {"pixel": 0.0, "thing": 0.0, "stuff": 0.0, "overlap": 0.0},
    },
    "kmax_small_synthetic": {
        **SLIM, "model.head.panoptic": {"pixel": 0.0, "thing": 0.0, "stuff": 0.0, "overlap": 0.0},
    },
    "pem_small_synthetic": {**SLIM, "model.head.object_threshold": 0.0, "model.head.overlap_threshold": 0.0},
    "pem_r50_cityscapes": {
        **SLIM, "model.head.pixel_decoder.channels": 8, "model.head.pixel_decoder.mask_channels": 8,
        "model.head.decoder": {"channels": 16, "num_queries": 6, "layers": 2, "heads": 4, "hidden": 16},
        "model.head.object_threshold": 0.0, "model.head.overlap_threshold": 0.0, "model.head.max_instances": 4,
    },
}
FIT = {"model.data_preprocessor": {"type": "ImageDataPreprocessor", "pad_divisor": 32, "fit": (96, 160)}}


def waymo_root(shared_data: Path) -> Path:
    root = shared_data / "waymo/camera_segmentation"
    if not root.is_dir():
        pytest.skip(f"no pictures of Waymo at {root}")
    return root


@pytest.fixture
def frames(shared_data: Path) -> list[Frame]:
    """Twelve pictures: a keyframe of nuScenes, one of KITTI with its calibration, and a frame of Waymo."""
    folders = shared_data / "nuscenes/keyframe_scene0061", shared_data / "kitti/object_root"
    for folder in folders:
        if not folder.is_dir():
            pytest.skip(f"no pictures at {folder}")
    datasets = (
        PictureFolder(folders[0], pictures=".", masks=None, transforms=LOAD),
        KittiDataset(folders[1], split="val", cameras=("image_2",), transforms=LOAD),
        WaymoPictures(waymo_root(shared_data), labelled=False, transforms=LOAD),
    )
    return [dataset[index] for dataset in datasets for index in range(len(dataset))]


def small_model(name: str) -> Segmentor:
    """The model of a config in few channels, with random weights."""
    torch.manual_seed(0)
    model = build_model(load_config(CONFIGS / f"{name}.py", {**SMALL[name], **FIT}).model)
    assert isinstance(model, Segmentor)
    return model.eval()


@torch.no_grad()
def predictions(model: Segmentor, frames: Sequence[Frame]) -> list[SegmentationPredictions]:
    return model(**model.data_preprocessor(frames), mode="predict")


def assert_consistent(found: SegmentationPredictions, frame: Frame, model: Segmentor) -> None:
    """Sizes are those of the picture, numbers those of classes and of regions that have pixels."""
    (camera,) = frame.cameras.values()
    assert camera.image is not None
    size, labels = camera.image.shape[1:], range(len(model.classes))
    assert (found.token, found.class_names) == (frame.token, model.classes)
    assert found.classes.shape == size
    assert set(found.classes.unique().tolist()) <= set(labels)
    assert (found.panoptic is None) == (found.instances is None) == (model.things is None)
    if found.panoptic is None or found.instances is None or model.things is None:
        return
    numbers, regions = found.panoptic.ids.unique().tolist(), found.panoptic.labels.tolist()
    assert found.panoptic.ids.shape == found.instances.masks.shape[1:] == size
    assert [number for number in numbers if number] == list(range(1, len(regions) + 1))
    assert regions
    assert set(regions) <= set(labels)
    stuff = [label for label in regions if label not in model.things]
    assert len(stuff) == len(set(stuff))
    assert set(found.instances.labels.tolist()) <= set(model.things)
    scores = torch.cat([found.panoptic.scores, found.instances.scores])
    assert bool(((scores >= 0) & (scores <= 1)).all())


def test_every_config_for_real_pictures_is_tested():
    assert {path.stem for path in CONFIGS.glob("*.py")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_every_picture_comes_back_in_its_own_size(frames: list[Frame], name: str):
    model = small_model(name)
    assert [tuple(next(iter(frame.cameras.values())).image.shape[1:]) for frame in frames] == SIZES
    for frame in frames:
        (found,) = predictions(model, [frame])
        assert_consistent(found, frame, model)


@pytest.mark.parametrize("name", ["p2at_s_synthetic", "kmax_r50_cityscapes"])
def test_pictures_of_two_vendors_share_a_batch(frames: list[Frame], name: str):
    model, mixed = small_model(name), [frames[6], frames[10]]
    for found, frame in zip(predictions(model, mixed), mixed, strict=True):
        assert_consistent(found, frame, model)


def test_windows_give_every_pixel_of_a_large_picture_a_class(frames: list[Frame]):
    window = {"size": (640, 640), "stride": (640, 640)}
    cfg = load_config(CONFIGS / "p2at_s_synthetic.py", {**SMALL["p2at_s_synthetic"], "model.window": window})
    model = build_model({**cfg.model, "data_preprocessor": None}).eval()
    frame, camera = frames[7], frames[7].cameras[CAMERA]
    assert camera.image is not None
    (found,) = predictions(model, [frame])
    assert_consistent(found, frame, model)
    model.window = None
    corner = replace(camera, image=camera.image[:, :640, :640])
    (alone,) = predictions(model, [replace(frame, cameras={CAMERA: corner})])
    differs = found.classes[:640, :640] != alone.classes
    assert differs.float().mean() < 1e-4                                 # two classes score alike but for rounding


@pytest.mark.parametrize(("loader", "num_classes"), [("waymo_as_nuscenes", 10), ("waymo_as_cityscapes", 12)])
def test_true_labels_have_perfect_scores_against_the_real_masks(
    shared_data: Path, tmp_path: Path, loader: str, num_classes: int
):
    cfg = load_config(CONFIGS / "p2at_s_synthetic.py", {"waymo_root": str(waymo_root(shared_data))})
    dataset = DATASETS.build(cfg[loader].dataset)
    metrics = [kind(output_dir=str(tmp_path)) for kind in (SemanticSegmentationMetric, PanopticSegmentationMetric)]
    for metric in metrics:
        metric.dataset_meta = dataset.metainfo
    for token in ("FRONT", "SIDE_LEFT"):                               # all classes occur in the first
        frame = dataset.load(dataset.index_of(token))
        predicted = as_predicted(frame, dataset)
        for metric in metrics:
            metric.process([frame], [predicted])
    semantic, panoptic = (metric.evaluate(2) for metric in metrics)
    assert semantic["semantic/mIoU"] == panoptic["panoptic/PQ"] == 1.0
    assert semantic["semantic/num_classes"] == num_classes


def as_predicted(frame: Frame, dataset: WaymoPictures) -> SegmentationPredictions:
    """The labels of a frame as a model would tell them; what is ignored there is guessed."""
    labels = frame.cameras[CAMERA].labels
    assert labels is not None
    segments = labels.segments([dataset.classes.index(name) for name in dataset.metainfo["things"]])
    ids = torch.zeros_like(labels.classes)
    for number, mask in enumerate(segments.masks, start=1):
        ids[mask] = number
    panoptic = PanopticPrediction(ids, segments.labels, torch.ones(len(segments)))
    classes = torch.where(labels.classes == IGNORE_LABEL, 0, labels.classes)
    return SegmentationPredictions(frame.token, frame.timestamp_ns, classes, panoptic, None, dataset.classes)


@pytest.mark.parametrize("name", SMALL)
def test_the_tool_scores_a_checkpoint_on_the_real_masks(shared_data: Path, tmp_path: Path, name: str):
    spec = importlib.util.spec_from_file_location("test_tool", ROOT / "tools/test.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    save_checkpoint({"state_dict": small_model(name).state_dict()}, tmp_path / "weights.pth")
    options = {**SMALL[name], **FIT, "waymo_root": str(waymo_root(shared_data)), "test_dataloader.num_workers": 0}
    texts = [f"{key}={value}" for key, value in options.items()]
    files = ["--work-dir", str(tmp_path / "log"), "--json", str(tmp_path / "scores.json")]
    command = [str(CONFIGS / f"{name}.py"), str(tmp_path / "weights.pth"), *files, "--device", "cpu"]
    assert tool.main([*command, "--cfg-options", *texts]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["semantic/num_classes"] == (10 if name.endswith("synthetic") else 12)
    assert 0.0 <= scores["semantic/mIoU"] < 0.2                          # it has learned nothing
    assert {"semantic/car_IoU", "semantic/sky_IoU"} <= scores.keys()
    assert ("panoptic/PQ" in scores) == name.startswith(("kmax", "pem"))
