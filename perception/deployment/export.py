"""From a loaded model to a file, and the proof that the file says what the model says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..atomic_write import atomic_path
from ..engine.inference import InferenceModel
from ..errors import ConfigError
from .formats import SUFFIXES
from .graph_files import Run, open_graph, trace, write_graph
from .output_form import named_tensors
from .task_network import TaskNetwork, open_sizes, tensor_inputs

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far a graph is from its model in one output.

    Args:
        name: of the output, see `named_tensors`.
        shape: of its tensor in the last frame.
        largest: absolute difference, over all frames.
        size: largest absolute number that the model gives there.
    """

    name: str
    shape: tuple[int, ...]
    largest: float
    size: float


def export_model(
    model: InferenceModel, batches: Sequence[dict[str, Any]], kind: str, path: Path | str, tolerance: float = TOLERANCE
) -> list[Difference]:
    """Write a model's network to a file, run it from there and compare it with the model as it runs here.

    Args:
        model: on the CPU, in evaluation mode, without ``compile``.
        batches: what `InferenceModel.preprocess` gave for some frames; the first is the one that is traced.
        kind: format, a key of `SUFFIXES`.
        path: of the file, with the suffix of the format; nothing is there unless the outputs agree.
        tolerance: largest absolute difference of an output, times the largest number there if that is above 1.

    Returns:
        The differences of each output over all batches.

    Raises:
        ConfigError: the model cannot be exported, or the graph differs from it.
        MissingExtraError: the format needs an extra.
        ValueError: there are no batches, or the suffix is another.
    """
    path = Path(path)
    if not batches:
        raise ValueError("batches must be at least 1, got 0")
    if path.suffix != SUFFIXES[kind]:
        raise ValueError(f"path must end in {SUFFIXES[kind]} for {kind}, got {path}")
    network = TaskNetwork(model.model).eval()
    examples = [tensor_inputs(batch["inputs"]) for batch in batches]
    program = trace(network, examples[0], open_sizes(examples[0]))
    with torch.no_grad():
        names = list(named_tensors(network.raw(examples[0])))
    with atomic_path(path) as temporary:
        write_graph(program, kind, temporary, list(examples[0]), names)
        differences = compare(network, open_graph(temporary, kind), examples)
        for one in differences:
            if not one.largest <= tolerance * max(1.0, one.size):
                raise ConfigError(
                    f"the {kind} graph differs from the model by {one.largest:.3g} in {one.name}, more than "
                    f"{tolerance:g}; nothing was written"
                )
    return differences


@torch.no_grad()
def compare(network: TaskNetwork, run: Run, examples: Sequence[dict[str, Tensor]]) -> list[Difference]:
    """The differences of a graph from the network, output by output, over some frames.

    Raises:
        ConfigError: an output has another shape.
    """
    found: dict[str, Difference] = {}
    for inputs in examples:
        expected = named_tensors(network.raw(inputs))
        for (name, wanted), got in zip(expected.items(), run(inputs), strict=True):
            if got.shape != wanted.shape:
                shapes = f"{tuple(got.shape)} in the graph, {tuple(wanted.shape)} in the model"
                raise ConfigError(f"output {name} has shape {shapes}")
            before = found.get(name)
            largest, size = (float(x.double().abs().max()) if x.numel() else 0.0 for x in (got - wanted, wanted))
            found[name] = Difference(
                name, tuple(wanted.shape), max(largest, before.largest if before else 0.0),
                max(size, before.size if before else 0.0),
            )
    return list(found.values())
