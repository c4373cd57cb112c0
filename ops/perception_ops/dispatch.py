"""Attaches native kernels to the torch ops, unless there are none or the environment forces the references.

``PERCEPTION_OPS`` is read once, when this module is imported: unset (or "auto") takes the native kernels that were
built, "reference" leaves every op on its pure-torch reference.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable
from types import ModuleType

import torch
from torch.library import CustomOpDef

logger = logging.getLogger(__name__)

NATIVE_FLOATING = (torch.float32, torch.bfloat16)  # what the compiled kernels read; other dtypes take the references

_MODES = ("auto", "reference")
_attached: list[str] = []


def native_available() -> bool:
    """Whether the compiled kernels are in use: built, importable and not switched off by ``PERCEPTION_OPS``."""
    return NATIVE is not None


def native_kernels() -> tuple[str, ...]:
    """Names of the ops that run on a compiled kernel for CPU tensors; the others run on their references."""
    return tuple(sorted(_attached))


def is_native(name: str, device: torch.device) -> bool:
    """Whether a compiled kernel serves the op ``name`` for tensors on ``device``."""
    return device.type == "cpu" and name in _attached


def attach_native(op: CustomOpDef, name: str, kernel: Callable[..., object]) -> None:
    """Make ``kernel`` serve the CPU tensors of ``op``, if the compiled kernels are in use.

    Args:
        op: the custom op, whose default implementation is its reference.
        name: the op's name without namespace, as `native_kernels` lists it.
        kernel: takes what the reference takes and returns what it returns.
    """
    if NATIVE is not None:
        op.register_kernel("cpu")(kernel)
        _attached.append(name)


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
