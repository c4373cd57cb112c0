"""Graphs traced of a network, written to files of three formats, and run from them."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from perception_ops import portable_ops

from ..errors import CheckpointError, ConfigError
from .onnx_graph import OnnxGraph
from .onnx_translations import translations

Run = Callable[[Mapping[str, Tensor]], Sequence[Tensor]]


def trace(network: nn.Module, inputs: Mapping[str, Tensor], sizes: Mapping[str, Mapping[int, Any]]) -> ExportedProgram:
    """Trace a network that takes tensors by name; the native ops in it are written out, see `portable_ops`.

    Args:
        network: in evaluation mode.
        inputs: an example.
        sizes: which of its sizes stay open, as `torch.export.export` takes them.

    Raises:
        ConfigError: the network does something that no graph can hold.
    """
    open_sizes = ({name: dict(axes) for name, axes in sizes.items()},)
    try:
        with torch.no_grad(), portable_ops():
            return torch.export.export(network, (dict(inputs),), dynamic_shapes=open_sizes)
    except Exception as error:                     # what a tracer meets it tells in any way
        raise ConfigError(f"the network cannot be traced: {_first_line(error)}") from error


def write_graph(
    program: ExportedProgram, kind: str, path: Path, input_names: Sequence[str], output_names: Sequence[str]
) -> None:
    """Write a traced network to ``path``, whose suffix must be that of `SUFFIXES`.

    Args:
        program: as `trace` gave it.
        kind: format, a key of `SUFFIXES`.
        path: the file.
        input_names: of the graph, in the order of the example's; only ONNX keeps them.
        output_names: likewise.

    Raises:
        ConfigError: the format has no operation for something in the graph.
        MissingExtraError: the format needs an extra.
    """
    if kind == "onnx":
        OnnxGraph.require()
    try:
        with torch.no_grad():
            _WRITERS[kind](program, path, list(input_names), list(output_names))
    except Exception as error:                     # exporters fail in any way too
        raise ConfigError(f"the network cannot be written as {kind}: {_first_line(error)}") from error


def open_graph(path: Path | str, kind: str) -> Run:
    """A graph that was written to a file, as a function of tensors by name that gives a sequence of tensors.

    Only open files of your own: torch-export and aoti hold code. An ONNX file is data.

    Raises:
        CheckpointError: the file is absent or no graph of this format.
        MissingExtraError: the format needs an extra.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path}: no such file")
    if kind == "onnx":
        return OnnxGraph(path)
    try:
        if kind == "aoti":
            return _with_dict(torch._inductor.aoti_load_package(str(path)))
        return _with_dict(torch.export.load(path).module())
    except (RuntimeError, ValueError, OSError, BadZipFile) as error:
        raise CheckpointError(f"{path}: no {kind} graph ({_first_line(error)})") from error


def _with_dict(run: Callable[..., Sequence[Tensor]]) -> Run:
    return lambda inputs: run(dict(inputs))


def _write_torch_export(program: ExportedProgram, path: Path, *_: list[str]) -> None:
    torch.export.save(program, path)


def _write_aoti(program: ExportedProgram, path: Path, *_: list[str]) -> None:
    torch._inductor.aoti_compile_and_package(program, package_path=str(path))


def _write_onnx(program: ExportedProgram, path: Path, input_names: list[str], output_names: list[str]) -> None:
    logging.getLogger("onnxscript").setLevel(logging.ERROR)                # it warns of every constant that it leaves
    with redirect_stdout(io.StringIO()):                                   # and torch every step
        made = torch.onnx.export(
            program, input_names=input_names, output_names=output_names, dynamo=True,
            custom_translation_table=translations(),
        )
    assert made is not None
    made.save(path, external_data=False)


_WRITERS: dict[str, Callable[..., None]] = {
    "torch-export": _write_torch_export, "aoti": _write_aoti, "onnx": _write_onnx,
}


def _first_line(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:             # the last one says what was met
        cause = cause.__cause__
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
