"""ATLAS against an independent float64 implementation of the same definition: there is no official code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from center_cases import Golden, load_state, read_golden
from torch import Tensor

from perception_plugins.atlas import AtlasMixer, newton_schulz
from perception_plugins.atlas.newton_schulz import COEFFICIENTS, FLOOR, STEPS

OUT, GRAD = 1e-5, 1e-4                               # tolerances of the sheet, of 1 + the largest number of a tensor


def _compare(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float) -> None:
    for name, value in expected.items():
        error = (found[name] - value).abs().max().item()
        assert error <= tolerance * (1 + value.abs().max().item()), f"{name}: {error}"


def _mixer(golden: Golden) -> AtlasMixer:
    config = golden.config
    mixer = AtlasMixer(
        config["dim"], heads=config["heads"], window=config["window"], degree=config["degree"],
        memory=config["memory"], hidden=config["hidden"], optimizer=config["optimizer"], chunk=config["chunk"],
        eta_max=config["eta_max"], conv_kernel=config["conv_kernel"],
    )
    load_state(mixer, golden.state)
    return mixer


def _memory(golden: Golden) -> None:
    mixer, x = _mixer(golden), golden.inputs["x"].clone().requires_grad_()
    assert golden.config["scalar"] == "sum(out.y*in.cotangent)"
    y = mixer(x)
    read, state = mixer.read(x)
    states = {f"state.{key}": value.detach() for key, value in state.items()}
    _compare({"y": y.detach(), "memory_read": read.detach(), **states}, golden.out, OUT)
    (y * golden.inputs["cotangent"]).sum().backward()
    grads = {name: parameter.grad for name, parameter in mixer.named_parameters()}
    _compare({"x": x.grad, **grads}, golden.grad, GRAD)
    _streamed(golden, mixer)


@torch.no_grad()
def _streamed(golden: Golden, mixer: AtlasMixer) -> None:
    """The same from the segments of the file, the last of which ends with the sequence."""
    x, state, given = golden.inputs["x"], None, []
    rest = x.shape[1] - sum(golden.config["segments"])
    for part in x.split([*golden.config["segments"], rest], dim=1):
        if part.shape[1]:
            out, state = mixer.stream(part, state)
            given.append(out)
    states = {f"state.{key}": value for key, value in state.items()}
    expected = {name: value for name, value in golden.out.items() if name != "memory_read"}
    _compare({"y": torch.cat(given, dim=1), **states}, expected, OUT)


def _newton_schulz(golden: Golden) -> None:
    config = golden.config
    assert (config["steps"], tuple(config["coefs"]), config["eps"]) == (STEPS, COEFFICIENTS, FLOOR)
    found = {name.replace("S", "O"): newton_schulz(value) for name, value in golden.inputs.items()}
    _compare(found, golden.out, OUT)


CASES: dict[str, Callable[[Golden], None]] = {"memory": _memory, "newton_schulz": _newton_schulz}


@pytest.mark.golden_files("atlas")
def test_atlas_equals_the_independent_implementation(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
