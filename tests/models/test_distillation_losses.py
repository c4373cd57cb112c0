"""Losses that follow a teacher."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.losses.distillation import (
    attention_transfer,
    channel_distillation,
    dense_distillation,
    heatmap_distillation,
    logit_distillation,
    total_distillation,
)
from perception.registry import MODELS


def _pair(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_two_classes_by_hand():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2 * math.log(3), 0.0]])
    expected = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))     # T = 2 makes the odds 3 to 1
    assert logit_distillation(student, teacher, 2.0).item() == pytest.approx(expected, rel=1e-6)


def test_pixels_are_samples():
    student, teacher = _pair(2, 5, 3, 4)
    flat = [maps.movedim(1, -1).flatten(0, 2) for maps in (student, teacher)]
    expected = logit_distillation(flat[0], flat[1], 3.0)
    torch.testing.assert_close(dense_distillation(student, teacher, temperature=3.0), expected)


def test_pixels_that_do_not_count_change_nothing_be_they_even_nan():
    student, teacher = _pair(2, 5, 3, 4)
    mask = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(1)) > 0.4
    expected = dense_distillation(student, teacher, mask)
    student = student.masked_fill(~mask[:, None], float("nan"))
    torch.testing.assert_close(dense_distillation(student, teacher, mask), expected)
    assert dense_distillation(student, teacher, torch.zeros_like(mask)) == 0


def test_a_heatmap_weighs_the_teachers_peaks():
    student, teacher = torch.tensor([0.0, 0.0]), torch.tensor([20.0, -20.0])
    assert heatmap_distillation(student, teacher).item() == pytest.approx(0.25, rel=1e-5)


def test_attention_sees_where_not_how_strong_and_takes_other_channels():
    student, _ = _pair(2, 5, 3, 4)
    assert attention_transfer(student, 7 * student).item() == pytest.approx(0, abs=1e-12)
    assert attention_transfer(student, torch.cat([student, student], dim=1)).item() == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="maps must agree but for channels"):
        attention_transfer(student, student[..., 1:])


def test_channels_are_compared_one_by_one():
    student, teacher = _pair(2, 3, 2, 5)
    own, wanted = ((maps / 4).flatten(2).double().softmax(-1) for maps in (student, teacher))
    expected = 16 * (wanted * (wanted / own).log()).sum(-1).mean()
    torch.testing.assert_close(channel_distillation(student, teacher, 4.0).double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["LogitDistillation", "HeatmapDistillation", "AttentionTransfer", "ChannelDistillation"]
)
def test_a_registered_loss_is_zero_at_its_teacher_and_pulls_towards_it(name: str):
    loss = MODELS.build({"type": name, "loss_weight": 2.0})
    student, teacher = _pair(2, 3, 4, 5)
    assert loss(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    before = loss(student.requires_grad_(), teacher)
    before.backward()
    with torch.no_grad():
        student -= 0.1 * student.grad / student.grad.norm()
    assert loss(student, teacher) < before


def test_half_precision_is_compared_in_float32():
    student, teacher = _pair(3, 4)
    found = logit_distillation(student.bfloat16(), teacher.bfloat16())
    assert found.dtype == torch.float32
    assert torch.equal(found, logit_distillation(student.bfloat16().float(), teacher.bfloat16().float()))
    assert logit_distillation(student.double(), teacher.double()).dtype == torch.float64


def test_alpha_parts_the_teacher_from_the_labels():
    student, teacher = _pair(3, 4)
    labels = torch.tensor([0, 3, 1])
    assert torch.equal(total_distillation(student, teacher, labels, alpha=0.0), F.cross_entropy(student, labels))
    assert torch.equal(total_distillation(student, teacher, labels, alpha=1.0), logit_distillation(student, teacher))
    with pytest.raises(ValueError, match=r"alpha must lie in \[0, 1\], got 2"):
        total_distillation(student, teacher, labels, alpha=2)


def test_other_shapes_and_temperatures_are_refused():
    student, teacher = _pair(3, 4)
    with pytest.raises(ValueError, match=r"the teacher must be \(3, 4\) as the student, got \(3, 3\)"):
        logit_distillation(student, teacher[:, :3])
    with pytest.raises(ValueError, match="temperature must be > 0, got 0"):
        MODELS.build({"type": "LogitDistillation", "temperature": 0})
