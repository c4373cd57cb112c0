"""AlgoFormer against an independent float64 form of its definition: every iteration, the loss and its gradients."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception_plugins.algoformer import AlgoFormer, load_official, mean_over_iterations, mean_squared_error


def _model(golden: Golden) -> AlgoFormer:
    config = golden.config
    model = AlgoFormer(
        config["dim"], heads=config["heads"], pre_layers=config["pre_layers"], loop_layers=config["loop_layers"],
        post_layers=config["post_layers"], loops=config["loops"], mlp_ratio=config["mlp_ratio"], norm=config["norm"],
        activation=config["act"], causal=config["causal"], inject=config["inject"], qk_scale=config["qk_scale"],
    )
    load_state(model, load_official(golden.state))
    return model


def _algoformer(golden: Golden) -> None:
    model, loops = _model(golden), golden.config["loops"]
    x = golden.inputs["x"].requires_grad_()
    padding = golden.inputs.get("key_padding_mask")
    mask = None if padding is None else ~padding
    outputs = model.outputs(x, mask)
    states = model.states(x, mask)
    found = {"pre": next(states), "y": model(x, mask), "y_zero_loops": model(x, mask, loops=0)}
    for number in range(1, loops + 1):
        found |= {f"loop_{number}": next(states), f"post_{number}": outputs[number - 1]}
    loss = partial(mean_squared_error, target=golden.inputs["target"], mask=mask)
    found["loss"] = mean_over_iterations(outputs, loss, golden.config["delta_T"])
    for name, expected in golden.out.items():
        _compare(name, found[name], expected, 1e-5 * (1 + expected.abs().max().item()))
    found["loss"].backward()
    names = dict(zip(golden.state, load_official(golden.state), strict=True))
    for name, expected in golden.grad.items():
        grad = x.grad if name == "x" else model.get_parameter(names[name]).grad
        _compare(name, grad, expected, 1e-6 + 1e-5 * expected.abs().max().item())


def _compare(name: str, found: Tensor, expected: Tensor, limit: float) -> None:
    torch.testing.assert_close(found, expected, atol=limit, rtol=0, msg=lambda text: f"{name}: {text}")


CASES = {"algoformer": _algoformer}


@pytest.mark.golden_files("algoformer")
def test_algoformer_equals_its_definition(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
