"""A trained model whose network runs from an exported file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ..engine.inference import InferenceModel, load_model
from ..errors import CheckpointError
from .onnx_graph import OnnxGraph
from .output_form import named_tensors, with_tensors
from .task_network import TaskNetwork, tensor_inputs


class ExportedModel(InferenceModel):
    """An `InferenceModel` whose network is an `OnnxGraph`; what is before and behind it stays the model's own.

    The first frame goes through the model's network too, whose output tells the form that the decoder takes.

    Args:
        loaded: the model that was exported, on the CPU.
        graph: its network.
        path: of the graph's file, for errors.

    Raises:
        ConfigError: the model has a memory.
    """

    def __init__(self, loaded: InferenceModel, graph: OnnxGraph, path: Path | str) -> None:
        super().__init__(loaded.model, loaded.transforms, loaded.cfg)
        self.eager, self.graph, self.path = TaskNetwork(loaded.model), graph, path
        self._form: Any = None

    @torch.inference_mode()
    def network(self, batch: dict[str, Any]) -> Any:
        """The raw maps of the graph. Raises CheckpointError if it is the graph of another model."""
        inputs = tensor_inputs(batch["inputs"])
        if self._form is None:
            self._form = self.eager.raw(inputs)
            self._check("inputs", tuple(inputs), self.graph.input_names)
            self._check("outputs", tuple(named_tensors(self._form)), self.graph.output_names)
        return with_tensors(self._form, self.graph(inputs))

    def _check(self, what: str, own: tuple[str, ...], theirs: tuple[str, ...]) -> None:
        unknown = [name for name in theirs if name not in own]
        if unknown or (what == "outputs" and own != theirs):
            raise CheckpointError(
                f"{self.path}: exported from another model: its {what} are {', '.join(theirs)}, "
                f"those of this one {', '.join(own)}"
            )


def load_exported(
    config: Path | str | Config, checkpoint: Path | str | None, path: Path | str, *, fuse: bool = False
) -> ExportedModel:
    """Load a model with the ONNX file that `export_model` wrote for it; arguments and errors as `load_model`.

    Args:
        path: the ONNX file.

    Raises:
        CheckpointError: the file is absent or no ONNX network.
        MissingExtraError: onnxruntime is not installed.
    """
    graph = OnnxGraph(path)
    return ExportedModel(load_model(config, checkpoint, "cpu", fuse=fuse), graph, path)
