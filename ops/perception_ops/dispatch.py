"""Attaches native kernels to the torch ops, unless there are none or the environment forces the references.

``PERCEPTION_OPS`` is read once, when this module is imported: unset (or "auto") takes the native kernels that were
built, "reference" leaves every op on its pure-torch reference. Within `portable_ops` there are no custom ops at all.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType

import torch
from torch import Tensor
from torch.utils.dlpack import to_dlpack

from .checks import check_device

logger = logging.getLogger(__name__)

NATIVE_FLOATING = (torch.float32, torch.bfloat16)  # what the compiled kernels read; other dtypes take the references
CUDA_FLOATING = (torch.float32, torch.bfloat16, torch.float16)

_MODES = ("auto", "reference")
_LIBRARY = torch.library.Library("perception", "FRAGMENT")
_portable = ContextVar("_portable", default=False)
_attached: list[str] = []
_attached_on_cuda: list[str] = []


def native_available() -> bool:
    """Whether the compiled kernels are in use: built, importable and not switched off by ``PERCEPTION_OPS``."""
    return NATIVE is not None


def native_kernels() -> tuple[str, ...]:
    """Names of the ops that run on a compiled kernel for CPU tensors; the others run on their references."""
    return tuple(sorted(_attached))


def cuda_kernels() -> tuple[str, ...]:
    """Names of the ops that run on a compiled kernel for tensors of a GPU; the others run on their references."""
    return tuple(sorted(_attached_on_cuda))


def is_native(name: str, device: torch.device) -> bool:
    """Whether a compiled kernel serves the op ``name`` for tensors on ``device``."""
    return not _portable.get() and name in {"cpu": _attached, "cuda": _attached_on_cuda}.get(device.type, ())


@contextmanager
def portable_ops() -> Iterator[None]:
    """Within, the ops are written out in torch's own, so that a graph which is traced there runs without this package.

    A portable graph is of one sample: its number of points, pillars and slots is open, the batch has one. The ops of
    post-processing (suppression and overlaps) stay what they are.
    """
    token = _portable.set(True)
    try:
        yield
    finally:
        _portable.reset(token)


def is_portable() -> bool:
    """Whether ops are to be written out, see `portable_ops`."""
    return _portable.get()


def attach_native(name: str, kernel: Callable[..., object]) -> None:
    """Make ``kernel`` serve the CPU tensors of a custom op, if the compiled kernels are in use.

    Args:
        name: the op's name without namespace, as `native_kernels` lists it; its default implementation, the reference,
            stays for other devices.
        kernel: takes what the reference takes and returns what it returns.
    """
    if NATIVE is not None:
        _LIBRARY.impl(name, kernel, "CPU")         # with less overhead a call than CustomOpDef.register_kernel
        _attached.append(name)


def attach_cuda(name: str, kernel: Callable[..., object]) -> None:
    """Make ``kernel`` serve the tensors of a GPU for an op, if CUDA kernels were built and are in use.

    Args:
        name: the op's name without namespace, as `cuda_kernels` lists it.
        kernel: takes the kernel module and the address of a stream, then what the op's reference takes; returns what
            that returns.
    """
    module: ModuleType | None = getattr(NATIVE, "cuda", None)
    if module is None:
        return
    names = list(inspect.signature(kernel).parameters)[2:]

    def on_current_stream(*arguments: object) -> object:
        named = zip(names, arguments, strict=False)            # torch leaves out trailing arguments at their defaults
        tensors = {name: value for name, value in named if isinstance(value, Tensor)}
        first, *_ = tensors
        device = tensors[first].device
        check_device(first, tensors[first], **tensors)
        with torch.cuda.device(device):
            return kernel(module, torch.cuda.current_stream(device).cuda_stream, *arguments)

    torch.library.register_kernel(f"perception::{name}", "cuda", on_current_stream)
    _attached_on_cuda.append(name)


def shared(tensor: Tensor) -> object:
    """A tensor as the kernels take it; they take tensors too, but ask each by a slower way for the same."""
    return to_dlpack(tensor)


def as_given(*tensors: Tensor | None) -> list[Tensor | None]:
    """Tensors as the kernels read them, one number after the other and without their history."""
    return [None if x is None else x.detach().contiguous() for x in tensors]


def workspace(num_bytes: int, device: torch.device) -> Tensor:
    """Memory that a kernel asked for, (num_bytes,) uint8."""
    return torch.empty(num_bytes, dtype=torch.uint8, device=device)


def _load_native() -> ModuleType | None:
    mode = os.environ.get("PERCEPTION_OPS") or "auto"
    if mode not in _MODES:
        raise ValueError(f"PERCEPTION_OPS must be one of {', '.join(_MODES)} or unset, got {mode!r}")
    if mode == "reference":
        return None
    try:
        return importlib.import_module("._native", __package__)
    except ModuleNotFoundError:
        return None                                # installed without a compiler
    except ImportError as error:
        logger.warning("the native kernels do not load, references are used: %s", error)
        return None


NATIVE = _load_native()
