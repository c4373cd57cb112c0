"""Which layers are the last ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from small_task_model import PICTURE, small_model
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.last_layers import last_layers


class Raw(NamedTuple):
    logits: Tensor
    extra: list[Tensor]


def test_functions_behind_a_layer_do_not_hide_it():
    model = small_model()
    assert last_layers(model, lambda: model(PICTURE)) == ["box", "score"]


def test_a_layer_whose_weight_something_else_reads_is_found():
    model = nn.ModuleDict({"body": nn.Conv2d(3, 4, 1), "a": nn.Conv2d(4, 2, 1), "b": nn.Conv2d(4, 1, 1)})

    def run() -> Raw:
        weight = torch.cat([model["a"].weight, model["b"].weight])
        joined = F.conv2d(model["body"](PICTURE), weight)
        return Raw(joined[:, :2], [joined[:, 2:].sigmoid()])

    assert last_layers(model, run) == ["a", "b"]


def test_what_is_added_to_the_output_is_last_too():
    model = nn.ModuleDict({"body": nn.Linear(4, 4), "branch": nn.Linear(4, 4)})

    def run() -> Tensor:
        x = model["body"](torch.ones(1, 4))
        return x + model["branch"](x)

    assert last_layers(model, run) == ["body", "branch"]


def test_an_output_without_gradient_has_no_last_layer():
    model = small_model().requires_grad_(False)
    assert last_layers(model, lambda: model(PICTURE)) == []
