"""The data of the published picture configs: from files in the published layout to batches and scores."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from picture_roots import (
    SIZE,
    write_ade20k,
    write_camvid,
    write_cityscapes,
    write_coco_panoptic,
    write_gta,
    write_synthia,
)

from perception.datasets.commands import add_counts_arguments, make_counts
from perception.engine.build import build_runner
from perception.engine.config import load_config
from perception.errors import ConfigError, DataError
from perception.evaluation.segmentation_metric import SegmentationMetric
from perception.registry import DATASETS, METRICS, MODELS
from perception.structures import Frame
from perception_plugins.daformer.pairs import SourceTargetPair

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PATHS = [
    path for family in ("p2at", "kmax", "pem", "daformer") for path in sorted((CONFIGS / family).glob("*.py"))
    if "_synthetic" not in path.stem                                                   # of the city, not published
]
VARIANT = re.compile("(?<=p2at_)[ml]|(?<=kmax_)convnext_(tiny|small|base|large)|(?<=pem_)stdc[12]")
FIRST = [path for path in PATHS if not VARIANT.search(path.stem)]                     # the others have their data
TRAINED = [path for path in FIRST if path.stem != "daformer_mitb5_cityscapes"]
WRITERS: dict[str, Callable[[Path], None]] = {
    "cityscapes": write_cityscapes, "camvid": write_camvid, "coco": write_coco_panoptic, "ade20k": write_ade20k,
}
PUBLISHED = {                                        # height and width of training pictures, and how many a batch
    ("p2at", "camvid"): ((720, 960), 4), ("p2at", "cityscapes"): ((1024, 1024), 4),
    ("kmax", "coco"): ((1281, 1281), 2), ("kmax", "ade20k"): ((1281, 1281), 2),
    ("kmax", "cityscapes"): ((1025, 2049), 1), ("pem", "cityscapes"): ((512, 1024), 4),
    ("pem", "ade20k"): ((512, 512), 4), ("daformer", "cityscapes"): ((512, 512), 2),
}
PIXELS = "SemanticSegmentationMetric"
PANOPTIC, INSTANCES = "PanopticSegmentationMetric", "InstanceSegmentationMetric"


def data_of(path: Path) -> str:
    """Which data set a config is of."""
    return next(name for name in WRITERS if name in path.stem)


def opened(path: Path, root: Path, **variables: Any) -> Config:
    """The config with its data in a folder, which they are written to."""
    WRITERS[data_of(path)](root / "data")
    if "gta2" in path.stem:
        write_gta(root / "source")
    if "synthia2" in path.stem:
        write_synthia(root / "source")
    changes = {"data_root": str(root / "data"), **variables}
    if "2cityscapes" in path.stem:
        changes |= {"source_root": str(root / "source"), "train_dataloader.dataset.counts": str(root / "counts.json")}
    return load_config(path, changes)


def preprocessor_of(cfg: Config) -> Any:
    return MODELS.build(cfg.model.get("student", cfg.model).data_preprocessor)


def labels_of(frame: Frame) -> torch.Tensor:
    labels = frame.cameras["image"].labels
    assert labels is not None
    return labels.classes


@pytest.mark.parametrize("path", TRAINED, ids=lambda path: path.stem)
def test_training_frames_have_the_published_size_and_the_models_classes(path: Path, tmp_path: Path):
    cfg = opened(path, tmp_path)
    dataset: Any = DATASETS.build(cfg.train_dataloader.dataset)
    model = cfg.model.get("student", cfg.model)
    things = [] if model.get("things") is None else list(model.things)
    assert tuple(dataset.classes) == tuple(model.classes)
    assert [dataset.classes.index(name) for name in dataset.metainfo["things"]] in (things, [*range(11, 19)])
    frame = dataset[1, 0]
    size, batch_size = PUBLISHED[path.parent.name, data_of(path)]
    size = (640, 640) if path.stem == "pem_r50_ade20k_panoptic" else size
    assert cfg.train_dataloader.batch_size == batch_size
    if isinstance(frame, SourceTargetPair):
        assert frame.target.cameras["image"].image.shape == (3, *size)
        assert frame.target.cameras["image"].labels is None
        frame = frame.source
    batch = preprocessor_of(cfg)([frame], True)
    assert batch["inputs"]["images"].shape == (1, 3, *size)
    assert labels_of(frame).shape == size
    assert (labels_of(frame) != 255).any()
    assert int(labels_of(frame)[labels_of(frame) != 255].max()) < len(model.classes)
    if things:
        segments = preprocessor_of(cfg).labels([frame])[0].segments(things)
        assert len(segments) > 0
        assert frame.cameras["image"].labels.instances is not None


@pytest.mark.parametrize("path", [path for path in PATHS if path not in FIRST], ids=lambda path: path.stem)
def test_a_variant_has_the_data_of_the_first_one(path: Path):
    first = path.with_name(VARIANT.sub("s" if path.parent.name == "p2at" else "r50", path.name))
    own, others = (load_config(one) for one in (path, first))
    for key in ("train_dataloader", "val_dataloader", "test_dataloader", "val_evaluator", "test_evaluator"):
        assert own[key] == others[key]
    assert (own.model.classes, own.model.get("things")) == (others.model.classes, others.model.get("things"))
    assert own.model.data_preprocessor == others.model.data_preprocessor


@pytest.mark.parametrize("path", FIRST, ids=lambda path: path.stem)
def test_tested_frames_have_labels_of_their_own_size_and_metrics_that_know_the_classes(path: Path, tmp_path: Path):
    cfg = opened(path, tmp_path)
    kinds = [one.type for one in (cfg.val_evaluator if isinstance(cfg.val_evaluator, list) else [cfg.val_evaluator])]
    if "kmax" in path.stem:
        assert kinds == ([PANOPTIC, INSTANCES, PIXELS] if "cityscapes" in path.stem else [PANOPTIC])
    else:
        assert (PANOPTIC in kinds) == ("panoptic" in path.stem)
        assert (kinds == [PIXELS]) != ("panoptic" in path.stem)
    for stage in ("val", "test"):
        dataset: Any = DATASETS.build(cfg[f"{stage}_dataloader"].dataset)
        frame = dataset[0]
        assert labels_of(frame).shape == frame.cameras["image"].image.shape[1:] == SIZE
        for kind in kinds:
            metric: SegmentationMetric[Any] = METRICS.build({"type": kind})
            metric.dataset_meta = dataset.metainfo
            assert tuple(metric.classes) == tuple(cfg.model.get("student", cfg.model).classes)
            if kind != PIXELS:
                assert metric.labels_of(metric.things) == list(cfg.model.things)


@pytest.mark.parametrize(("name", "size"), [
    ("kmax/kmax_r50_coco", (1281, 1281)), ("kmax/kmax_r50_cityscapes", (1025, 2049)),
    ("pem/pem_stdc1_ade20k_semantic", (512, 1024)), ("pem/pem_r50_cityscapes_panoptic", SIZE),
    ("p2at/p2at_s_camvid", SIZE), ("daformer/daformer_mitb5_cityscapes", (512, 1024)),
])
def test_tested_pictures_get_the_published_size(name: str, size: tuple[int, int], tmp_path: Path):
    cfg = opened(CONFIGS / f"{name}.py", tmp_path)
    frame = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert preprocessor_of(cfg)([frame])["inputs"]["images"].shape == (1, 3, *size)


def test_padding_of_kmax_is_all_but_zero_where_segments_are_pasted(tmp_path: Path):
    cfg = opened(CONFIGS / "kmax/kmax_r50_ade20k.py", tmp_path)
    images, labels = [], []
    dataset: Any = DATASETS.build(cfg.train_dataloader.dataset)
    for epoch in range(3):
        frame = dataset[epoch, 0]
        images.append(preprocessor_of(cfg)([frame], True)["inputs"]["images"][0])
        labels.append(labels_of(frame))
    beyond = torch.stack(images).movedim(1, -1)[torch.stack(labels) == 255]
    assert len(beyond)
    assert beyond.abs().max() < 0.004                                  # 128 is half a step from the mean


def test_camvid_learns_from_train_or_from_both_splits_and_is_tested_on_the_third(tmp_path: Path):
    for name, count, val in (("p2at_s_camvid", 2, "val"), ("p2at_m_camvid_trainval", 4, "test")):
        cfg = opened(CONFIGS / f"p2at/{name}.py", tmp_path)
        assert len(DATASETS.build(cfg.train_dataloader.dataset)) == count
        assert (cfg.val_dataloader.dataset.split, cfg.test_dataloader.dataset.split) == (val, "test")


def test_the_counts_of_rare_classes_are_made_by_the_command_and_read_by_the_training(tmp_path: Path):
    cfg = opened(CONFIGS / "daformer/daformer_gta2cityscapes.py", tmp_path)
    parser = argparse.ArgumentParser()
    add_counts_arguments(parser)
    words = [cfg.filename, "--cfg-options", f"source_root={tmp_path / 'source'}"]
    said = make_counts(parser.parse_args([*words, f"train_dataloader.dataset.counts={tmp_path / 'counts.json'}"]))
    assert said == f"wrote {tmp_path / 'counts.json'}"
    kept = json.loads((tmp_path / "counts.json").read_text())
    height, width = SIZE
    assert kept["00000"] == [height * width // 4 if label in (0, 10, 12) else 0 for label in range(19)]
    (tmp_path / "source/labels").rename(tmp_path / "source/gone")
    with pytest.raises(DataError, match=r"gone|labels"):
        DATASETS.build(cfg.train_dataloader.dataset)[0]                # not before a frame is loaded


def test_a_config_without_rare_classes_has_nothing_to_count():
    parser = argparse.ArgumentParser()
    add_counts_arguments(parser)
    config = str(CONFIGS / "p2at/p2at_s_camvid.py")
    with pytest.raises(ConfigError, match=r"expected train_dataloader\.dataset with a source and a file"):
        make_counts(parser.parse_args([config]))
    with pytest.raises(ConfigError, match="--workers must be >= 1, got 0"):
        make_counts(parser.parse_args([config, "--workers", "0"]))


def test_a_published_config_trains_and_is_scored_with_a_smaller_network(tmp_path: Path):
    cfg = opened(CONFIGS / "kmax/kmax_r50_cityscapes.py", tmp_path, image_size=(65, 129))
    cfg.merge_from_dict({
        "model.backbone.depth": 18, "model.backbone.base_channels": 8, "num_threads": 1,
        "model.head.pixel_decoder.layers": (1, 1, 1, 1, 1), "model.head.pixel_decoder.channels": (16, 16, 8, 8, 8),
        "model.head.num_queries": 8, "model.head.semantic_channels": (8, 8, 8),
        "model.head.decoder": {"layers": (1, 1, 1), "channels": 16, "base_channels": 8, "hidden": 32,
                               "mask_channels": 8},
        "train_dataloader.dataset.min_pixels": 16, "train_dataloader.batch_size": 2,
        "train_dataloader.num_workers": 0, "val_dataloader.num_workers": 0, "test_dataloader": None,
        "train_cfg.max_iters": 1, "train_cfg.val_interval": 1,
    })
    cfg.param_scheduler[0].warmup = 0
    for evaluator in cfg.val_evaluator:
        evaluator.output_dir = str(tmp_path / "scores")
    build_runner(cfg, tmp_path / "run", device="cpu").train()
    assert (tmp_path / "run/iter_1.pth").is_file()
    assert "PQ" in json.loads((tmp_path / "scores/metrics_panoptic.json").read_text())
    assert "mIoU" in json.loads((tmp_path / "scores/metrics_semantic.json").read_text())
