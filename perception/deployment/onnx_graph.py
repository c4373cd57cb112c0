"""Networks in ONNX files, run by onnxruntime."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import CheckpointError, MissingExtraError

MODULES = ("onnx", "onnxruntime", "onnxscript")


class OnnxGraph:
    """A network in an ONNX file, run on the CPU with as many threads as torch has.

    Args:
        path: the file, which holds its weights too.

    Raises:
        CheckpointError: the file is absent, or no ONNX network.
        MissingExtraError: onnxruntime is not installed.
    """

    def __init__(self, path: Path | str) -> None:
        self.require()
        import onnxruntime

        if not Path(path).is_file():
            raise CheckpointError(f"{path}: no such file")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:                 # its errors share no class
            raise CheckpointError(f"{path}: no ONNX network: {str(error).strip().splitlines()[0]}") from error
        self.input_names = tuple(one.name for one in self.session.get_inputs())
        self.output_names = tuple(one.name for one in self.session.get_outputs())

    @staticmethod
    def require() -> None:
        """Raise MissingExtraError unless ONNX files can be written and run."""
        if any(importlib.util.find_spec(name) is None for name in MODULES):
            raise MissingExtraError("deploy", "ONNX")

    def __call__(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """The outputs, in the order of the file; inputs that it does not take are passed over."""
        given = {name: inputs[name].numpy() for name in self.input_names}
        return [torch.from_numpy(output) for output in self.session.run(None, given)]
