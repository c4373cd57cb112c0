"""The small adaptation from the synthetic city by day to it in rain: what its configs say, and that it learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.datasets.nuscenes_pictures import PICTURE_CLASSES
from perception.engine.build import build_model
from perception.engine.config import load_config
from perception.structures import Camera, Frame, PixelLabels
from perception_plugins.daformer.pairs import SourceTargetPair

CONFIGS = Path(__file__).resolve().parents[2] / "configs/daformer"
DAY_ONLY, ADAPTED = CONFIGS / "p2at_day_only_synthetic.py", CONFIGS / "p2at_day2rain_synthetic.py"


def street(token: str, brightness: float, *, labelled: bool) -> Frame:
    """Three bands of 64 x 96 pixels: sky, a house, the road."""
    bands = torch.tensor([PICTURE_CLASSES.index(name) for name in ("sky", "manmade", "driveable_surface")])
    classes = bands[torch.arange(64) * 3 // 64][:, None].expand(64, 96).contiguous()
    image = (classes * 12.0 * brightness).to(torch.uint8).expand(3, 64, 96).contiguous()
    labels = PixelLabels(classes) if labelled else None
    return Frame(token, 0, cameras={"front": Camera(None, 0, image=image, labels=labels)})


def test_both_trainings_are_of_one_network_and_one_length_and_are_scored_on_the_same_pictures():
    alone, adapted = load_config(DAY_ONLY), load_config(ADAPTED)
    assert adapted.model.student == alone.model
    for key in ("max_iters", "param_scheduler", "optim_wrapper", "val_dataloader", "val_evaluator"):
        assert adapted[key] == alone[key]
    assert adapted.train_dataloader.dataset.source == alone.train_dataloader.dataset


def test_no_label_of_the_target_is_read():
    cfg = load_config(ADAPTED)
    target = cfg.train_dataloader.dataset.target
    assert target.labelled is False
    assert (target.root, target.split) == (cfg.val_dataloader.dataset.root, "train")
    assert cfg.val_dataloader.dataset.split == "val"


@pytest.mark.parametrize("without", [{}, {"model.feature_distance": None}, {"model.momentum": 0}])
def test_an_iteration_teaches_the_student_with_or_without_its_parts(without):
    torch.manual_seed(0)
    model = build_model(load_config(ADAPTED, without).model).train()
    pairs = [
        SourceTargetPair(street(f"day-{number}", 1.0, labelled=True), street("rain", 0.6, labelled=False))
        for number in range(2)
    ]
    losses = model(**model.data_preprocessor(pairs, True), mode="loss")
    assert ("src.loss_imnet_feat_dist" in losses) == ("model.feature_distance" not in without)
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(parameter.grad is not None for parameter in model.student.parameters())
