"""Extraction from nested nets and growth of parameter tokens as compressors, on the detectors of the city."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perception.compression.compressor import Calibration
from perception.engine.config import load_config
from perception.registry import COMPRESSORS, MODELS, load_plugins
from perception.structures import Frame, PointCloud
from perception_plugins.matformer import parameters_at

load_plugins(["flatformer", "matformer", "tokenformer"])
CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NESTED, TOKENS = "matformer/flatformer_nested_synthetic.py", "tokenformer/flatformer_tokens_synthetic.py"


def detector(path: str, seed: int = 0) -> Any:
    config = load_config(CONFIGS / path).model
    torch.manual_seed(seed)
    return MODELS.build(config).eval()


def batch_for(model: Any) -> Any:
    draw = torch.Generator().manual_seed(0)
    xyz = torch.cat([torch.randn(400, 2, generator=draw) * 15, torch.rand(400, 3, generator=draw)], dim=1)
    points = PointCloud(xyz, ("x", "y", "z", "intensity", "time"))
    return model.data_preprocessor([Frame("a", 0, points=points)])


@torch.no_grad()
def outputs(model: nn.Module, batch: Any) -> Tensor:
    return torch.cat([plane.flatten() for plane in model(**batch, mode="tensor")[0].values()])


def rebuilt(path: str, steps: Any, weights: dict[str, Tensor]) -> nn.Module:
    """A fresh model of the config, restructured by the steps, with the weights."""
    model = detector(path, seed=1)
    for step in steps:
        model = COMPRESSORS.build(dict(step)).restructure(model)
    model.load_state_dict(weights)
    return model.eval()


@pytest.mark.parametrize("has_data", [False, True])
def test_a_model_of_told_widths_is_built_anew_with_the_same_outputs(has_data):
    model = detector(NESTED)
    batch = batch_for(model)
    calibration = Calibration([batch] if has_data else [])
    found = COMPRESSORS.build({"type": "NestedExtraction", "widths": [16, 16, 32, 64]}).apply(model, calibration)
    again = rebuilt(NESTED, found.changes.steps, found.model.state_dict())
    assert torch.equal(outputs(again, batch), outputs(found.model, batch))
    assert sum(p.numel() for p in again.parameters()) == parameters_at(model, (16, 16, 32, 64))


def test_statistics_of_the_widths_are_taken_anew_if_asked_for():
    model = detector(NESTED)
    batch = batch_for(model)
    copied, anew = (
        COMPRESSORS.build({"type": "NestedExtraction", "widths": 16, "statistics": statistics})
        for statistics in (False, True)
    )
    frozen, estimated = (one.apply(model, Calibration([batch])).model for one in (copied, anew))
    assert torch.equal(outputs(frozen, batch), outputs(copied.apply(model, Calibration()).model, batch))
    assert (outputs(frozen, batch) - outputs(estimated, batch)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="NestedExtraction needs calibration data, got no batches"):
        anew.apply(model, Calibration())


def test_the_best_of_the_dearest_profiles_within_a_budget_is_taken():
    model, seen = detector(NESTED), []

    def score(candidate: nn.Module) -> float:
        seen.append(sum(p.numel() for p in candidate.parameters()))
        return -seen[-1]                                     # the smaller the better, for the test

    budget = parameters_at(model, 64)
    compressor = COMPRESSORS.build({"type": "NestedExtraction", "parameters": budget, "tries": 3})
    dearest = compressor.apply(model, Calibration()).report.notes["widths"]
    assert parameters_at(model, dearest) <= budget
    best = compressor.apply(model, Calibration(score=score)).report.notes["widths"]
    assert len(seen) == 3
    assert max(seen) == parameters_at(model, dearest)
    assert parameters_at(model, best) == min(seen)


def test_a_grown_detector_is_built_anew_and_gives_the_same():
    model = detector(TOKENS)
    batch = batch_for(model)
    before = outputs(model, batch)
    found = COMPRESSORS.build({"type": "TokenGrowth", "factor": 1.5}).apply(model, Calibration())
    again = rebuilt(TOKENS, found.changes.steps, found.model.state_dict())
    assert (outputs(again, batch) - before).abs().max() < 1e-6
    assert len(found.report.compressed) == 20


@pytest.mark.parametrize(("config", "message"), [
    ({"type": "NestedExtraction"}, "give either widths or parameters, got None and None"),
    ({"type": "NestedExtraction", "widths": 3, "tries": 0}, "tries must be >= 1, got 0"),
])
def test_a_compressor_that_makes_no_sense_is_refused(config, message):
    with pytest.raises(ValueError, match=message):
        COMPRESSORS.build(config)


def test_a_budget_below_the_smallest_model_is_told():
    compressor = COMPRESSORS.build({"type": "NestedExtraction", "parameters": 1000})
    with pytest.raises(ValueError, match="no profile has at most 1000 parameters; the smallest has"):
        compressor.apply(detector(NESTED), Calibration())
    with pytest.raises(ValueError, match="from its widths, got a budget"):
        compressor.restructure(detector(NESTED))
