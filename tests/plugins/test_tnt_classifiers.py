"""TNT's classifiers as task models: losses that reach every parameter, and predictions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from tnt_models import PYRAMID_SIZES, TNT_SIZES

from perception.registry import MODELS
from perception.structures import Camera, Frame

CONFIGS = Path(__file__).resolve().parents[2] / "configs/tnt"
SMALL = {"tnt_s_patch16_224": TNT_SIZES, "tnt_s_legacy_patch16_224": TNT_SIZES, "ptnt_s_patch16_256": PYRAMID_SIZES}


def frame(category: int, size: tuple[int, int]) -> Frame:
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    camera = Camera(None, 0, image=image, category=category)
    return Frame(token=f"picture{category}", timestamp_ns=0, cameras={"CAM": camera})


@pytest.mark.parametrize("name", SMALL)
def test_a_config_gives_a_loss_and_predictions(name):
    cfg = Config.fromfile(CONFIGS / f"{name}.py").model
    cfg.network.backbone.update(SMALL[name])
    cfg.network.num_classes = 4
    model = MODELS.build(cfg)
    batch = [frame(category, SMALL[name]["img_size"]) for category in (1, 3)]
    (loss,) = model(**model.data_preprocessor(batch, training=True), mode="loss").values()
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for parameter in model.parameters())
    predictions = model.eval()(**model.data_preprocessor(batch), mode="predict")
    assert [prediction.token for prediction in predictions] == ["picture1", "picture3"]
    assert all(prediction.scores.shape == (4,) for prediction in predictions)
