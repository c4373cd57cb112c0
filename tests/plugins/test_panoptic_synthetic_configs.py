"""The small panoptic models for the synthetic city's cameras: what their configs say, and that they learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.datasets.nuscenes_pictures import PICTURE_CLASSES, NuScenesPictures
from perception.engine.build import build_model
from perception.engine.config import load_config
from perception.structures import Camera, Frame, PixelLabels

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SMALL = ("kmax/kmax_small_synthetic.py", "pem/pem_small_synthetic.py")
SKY, ROAD, CAR = (PICTURE_CLASSES.index(name) for name in ("sky", "driveable_surface", "car"))


def street(token: str, left: int) -> Frame:
    """A dark road below a bright sky, on it a red car."""
    classes = torch.full((60, 90), SKY)
    classes[30:] = ROAD
    classes[24:44, left : left + 24] = CAR
    colours = torch.zeros(len(PICTURE_CLASSES), 3, dtype=torch.uint8)
    colours[SKY], colours[ROAD], colours[CAR] = torch.tensor([[200, 220, 255], [60, 60, 60], [220, 30, 30]]).byte()
    labels = PixelLabels(classes, (classes == CAR).long())
    return Frame(token, 0, cameras={"front": Camera(None, 0, image=colours[classes].permute(2, 0, 1), labels=labels)})


@pytest.mark.parametrize("path", SMALL)
def test_a_small_config_knows_the_classes_and_things_of_the_city(path):
    cfg = load_config(CONFIGS / path)
    assert cfg.model.classes == PICTURE_CLASSES
    assert [cfg.model.classes[thing] for thing in cfg.model.things] == list(NuScenesPictures.METAINFO["things"])
    assert cfg.model.head.things == cfg.model.things
    assert cfg.val_evaluator.type == "PanopticSegmentationMetric"


@pytest.mark.parametrize("path", SMALL)
def test_a_small_config_learns_one_batch_and_predicts_it(path):
    torch.manual_seed(0)
    model = build_model(load_config(CONFIGS / path).model).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    frames = [street("a", 10), street("b", 50)]
    batch = model.data_preprocessor(frames, training=True)
    totals = []
    for _ in range(12):
        losses = model(**batch, mode="loss")
        total = sum(value for name, value in losses.items() if "loss" in name)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.8 * totals[0]
    assert all(parameter.grad is not None for parameter in model.parameters())
    found = model.eval()(**model.data_preprocessor(frames), mode="predict")
    assert [one.token for one in found] == ["a", "b"]
    assert all(one.classes.shape == one.panoptic.ids.shape == (60, 90) for one in found)
