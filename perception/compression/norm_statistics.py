"""Running statistics of batch normalisation for weights that no longer change."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


@torch.no_grad()
def estimate_statistics(
    model: nn.Module, batches: Iterable[Any], run: Callable[[nn.Module, Any], object] | None = None
) -> int:
    """Take the running statistics anew, as their mean over batches, with all else as at evaluation.

    While a network trains, dropped paths and features shift variances, and running statistics are those of weights that
    have since moved on ("Understanding the Disharmony between Dropout and Batch Normalization", Li et al., CVPR 2019;
    SLAB (Guo et al., ICML 2024) ends a training with epochs that only do this).

    Args:
        model: is changed in place, and in evaluation mode afterwards.
        batches: what to run it on.
        run: calls the model with a batch; None is ``model(batch)``.

    Returns:
        The number of batches.

    Raises:
        ValueError: there are no batches.
    """
    modules = list(model.eval().modules())
    norms = [module for module in modules if isinstance(module, _BatchNorm) and module.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    count = 0
    for batch in batches:
        if count == 0:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None                       # the plain mean of all batches
                norm.train()
        model(batch) if run is None else run(model, batch)
        count += 1
    model.eval()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    if count == 0:
        raise ValueError("batches must be at least one, got none")
    return count
