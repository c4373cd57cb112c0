from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from perception.deployment.output_form import named_tensors, with_tensors


@dataclass(frozen=True)
class Masks:
    logits: Tensor
    layers: tuple[Any, ...] = ()
    stride: int = 4


class Places(NamedTuple):
    cells: list[Tensor]
    scene: Tensor | None


def numbers(count: int) -> list[Tensor]:
    return [torch.tensor(float(i)) for i in range(count)]


a, b, c = numbers(3)
FORMS = {
    "one tensor": (a, {"output": a}),
    "maps of tasks": ([{"reg": a, "heatmap": b}, {"reg": c}], {"0.reg": a, "0.heatmap": b, "1.reg": c}),
    "layers": ([(a, b), (c, c)], {"0.0": a, "0.1": b, "1.0": c, "1.1": c}),
    "a dataclass": (Masks(a, (Masks(b),)), {"logits": a, "layers.0.logits": b}),
    "a named tuple": (Places([a, b], None), {"cells.0": a, "cells.1": b}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize(("raw", "expected"), FORMS.values(), ids=FORMS)
def test_tensors_are_named_by_their_places_and_put_back_there(raw, expected):
    assert named_tensors(raw) == expected
    others = [tensor + 10 for tensor in expected.values()]
    again = with_tensors(raw, others)
    assert type(again) is type(raw)
    assert named_tensors(again) == dict(zip(expected, others, strict=True))


def test_what_is_no_tensor_stays():
    again = with_tensors(Masks(a, (), stride=8), [b])
    assert (again.logits, again.layers, again.stride) == (b, (), 8)
    assert with_tensors(Places([], None), []) == Places([], None)


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_tensors_is_refused(count):
    with pytest.raises(ValueError, match=f"tensors must be 2, as many as the form has, got {count}"):
        with_tensors([a, {"x": b}], numbers(count))
