"""A student beside its teacher: losses, gradients, what a checkpoint holds, and slips."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from perception.compression.model_size import num_numbers
from perception.engine.checkpoint import save_checkpoint
from perception.errors import CheckpointError, ConfigError
from perception.registry import MODELS

HEAT = {"loss": {"type": "HeatmapDistillation"}, "student": "head", "key": "heatmap"}
PICTURE = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


class _Head(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.heat, self.box = nn.Conv2d(width, 2, 1), nn.Conv2d(width, 4, 1)

    def forward(self, x: Tensor) -> list[dict[str, Tensor]]:
        return [{"heatmap": self.heat(x), "box": self.box(x)}]


@MODELS.register_module()
class TwoPartModel(nn.Module):
    """A neck and a head of which a loss is asked."""

    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.neck, self.head = nn.Conv2d(3, width, 1), _Head(width)

    def forward(self, inputs: Tensor, mode: str = "tensor") -> Any:
        maps = self.head(self.neck(inputs))
        return {"loss_box": maps[0]["box"].square().mean()} if mode == "loss" else maps


def _distilled(*terms: dict[str, Any], width: int = 6, checkpoint: Path | None = None) -> Any:
    torch.manual_seed(1)
    return MODELS.build({
        "type": "Distilled", "student": {"type": "TwoPartModel"}, "teacher": {"type": "TwoPartModel", "width": width},
        "terms": terms or [HEAT], "teacher_checkpoint": None if checkpoint is None else str(checkpoint),
    })


def test_a_term_stands_beside_the_students_losses_and_has_their_gradient():
    model = _distilled({**HEAT, "loss": {"type": "HeatmapDistillation", "loss_weight": 3.0}})
    losses = model(inputs=PICTURE, mode="loss")
    assert losses.keys() == {"loss_box", "distillation.loss_0"}
    teacher = model.distillation._teacher[0]
    score, wanted = (one(PICTURE)[0]["heatmap"].sigmoid() for one in (model, teacher))
    expected = 3 * (wanted**2 * (score - wanted) ** 2).sum() / (wanted**2).sum()
    torch.testing.assert_close(losses["distillation.loss_0"], expected)
    losses["distillation.loss_0"].backward()
    assert model.neck.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_the_checkpoint_is_that_of_the_student_and_training_leaves_the_teacher_in_evaluation():
    model = _distilled()
    model(inputs=PICTURE, mode="loss")
    assert model.state_dict().keys() == TwoPartModel().state_dict().keys()
    model.train()
    assert not model.distillation._teacher[0].training
    assert isinstance(model, TwoPartModel)


def test_other_modes_ask_no_teacher():
    model = _distilled(checkpoint=Path("gone.pth"))
    assert len(model(inputs=PICTURE, mode="tensor")) == 1
    assert not model.distillation._own
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        model(inputs=PICTURE, mode="loss")


def test_a_teacher_is_loaded_and_a_perfect_student_has_nothing_to_learn(tmp_path: Path):
    model = _distilled(width=4, checkpoint=tmp_path / "teacher.pth")
    save_checkpoint({"state_dict": model.state_dict()}, tmp_path / "teacher.pth")
    assert model(inputs=PICTURE, mode="loss")["distillation.loss_0"].item() == 0


def test_maps_of_other_widths_are_projected_and_the_projection_is_learnt():
    model = _distilled({"loss": {"type": "ChannelDistillation"}, "student": "neck", "project": (4, 6)})
    names = [name for name, _ in model.named_parameters() if name.startswith("distillation.")]
    assert names == ["distillation.terms.0.projection.weight", "distillation.terms.0.projection.bias"]
    model(inputs=PICTURE, mode="loss")["distillation.loss_0"].backward()
    assert model.distillation.terms[0].projection.weight.grad.abs().sum() > 0


def test_places_of_other_names_and_without_a_key_give_every_tensor():
    term = {"loss": {"type": "AttentionTransfer"}, "student": "neck", "teacher": "head.heat"}
    assert _distilled(term)(inputs=PICTURE, mode="loss")["distillation.loss_0"] > 0
    both = {"loss": {"type": "AttentionTransfer"}, "student": "head"}
    assert _distilled(both)(inputs=PICTURE, mode="loss")["distillation.loss_0"] > 0


def test_a_copied_student_learns_by_itself():
    model = _distilled()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        twin.neck.weight.mul_(2)
    torch.manual_seed(2)
    losses = [one(inputs=PICTURE, mode="loss")["loss_box"] for one in (model, twin)]
    assert losses[0] != losses[1]
    assert model.distillation._own is not twin.distillation._own


@pytest.mark.parametrize(
    ("term", "told"),
    [
        ({**HEAT, "student": "nekc"}, "distillation: the student has no module 'nekc'"),
        ({**HEAT, "teacher": "nekc"}, "distillation: the teacher has no module 'nekc'"),
        ({**HEAT, "key": "hm"}, r"head gives 0 tensors and head of the teacher 0 \(key hm\)"),
        ({**HEAT, "student": "neck", "key": None, "teacher": "head"}, "neck gives 1 tensors and head of the teacher 2"),
    ],
)
def test_terms_that_fit_nothing_are_told(term: dict[str, Any], told: str):
    with pytest.raises(ConfigError, match=told):
        _distilled(term)(inputs=PICTURE, mode="loss")


def test_a_compressed_student_learns_too():
    step = {"type": "QuantizeAware", "keep": [], "smallest": 1, "ranged": ["neck"]}
    student = {"type": "Compressed", "model": {"type": "TwoPartModel"}, "steps": [step]}
    teacher = {"type": "TwoPartModel"}
    model = MODELS.build({"type": "Distilled", "student": student, "teacher": teacher, "terms": [HEAT]})
    model(inputs=PICTURE, mode="loss")["distillation.loss_0"].backward()
    assert dict(model.named_parameters())["neck.stored_weight.value"].grad is not None


def test_the_config_of_a_distilled_detector_trains_a_smaller_student():
    from perception.engine.benchmark.clouds import street_frame
    from perception.engine.build import build_model
    from perception.engine.config import load_config

    cfg = load_config(Path(__file__).resolve().parents[2] / "configs/compression/distilled_flatformer_synthetic.py")
    torch.manual_seed(0)
    model: Any = build_model(cfg.model)
    frame = street_frame(2000, model.data_preprocessor.channels, model.classes)
    losses = model(**model.data_preprocessor([frame], True), mode="loss")
    assert all(value.isfinite() for value in losses.values())
    assert {"task0.loss_heatmap", "distillation.loss_0", "distillation.loss_1"} <= losses.keys()
    teacher = model.distillation._teacher[0]
    assert num_numbers(model.head) < num_numbers(teacher.head) / 3
