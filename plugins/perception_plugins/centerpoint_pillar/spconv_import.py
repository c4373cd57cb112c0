"""spconv, which is optional, slow to import, and on a CPU in need of two corrections (seen in 2.3.8)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from perception.errors import MissingExtraError


@cache
def import_spconv() -> ModuleType:
    """``spconv.pytorch``. Raises MissingExtraError where it is not installed."""
    try:
        import spconv.pytorch as spconv
    except ImportError as error:
        raise MissingExtraError("sparse", "SparseEncoder (spconv)") from error
    if not torch.cuda.is_available():                # its CPU gradient asks for CUDA's stream, which it does not use
        spconv.ops.get_current_stream = lambda: 0
    for name in ("indice_conv", "indice_conv_backward"):
        setattr(spconv.ops, name, _on_one_thread(getattr(spconv.ops, name)))
    return spconv


def _on_one_thread(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Its threads add to the same rows without a lock: with two of them, most results on a CPU are wrong."""

    @wraps(operation)
    def run(features: Tensor, *arguments: Any, **options: Any) -> Any:
        threads = torch.get_num_threads()
        if features.device.type != "cpu" or threads == 1:
            return operation(features, *arguments, **options)
        torch.set_num_threads(1)
        try:
            return operation(features, *arguments, **options)
        finally:
            torch.set_num_threads(threads)

    return run
