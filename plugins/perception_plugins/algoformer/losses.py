"""Training an AlgoFormer on what it gives after several iterations."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def mean_over_iterations(outputs: Sequence[Tensor], loss: Callable[[Tensor], Tensor], last: int) -> Tensor:
    """The mean of a task's loss over the outputs of the last iterations, of all if there are fewer.

    Args:
        outputs: as `AlgoFormer.outputs` gives them, one or more.
        loss: from the output of an iteration to a scalar.
        last: iterations that count, >= 1.

    Raises:
        ValueError: ``last`` is below 1, or there is no output.
    """
    if last < 1 or not outputs:
        raise ValueError(f"last must be >= 1 and there must be outputs, got {last} and {len(outputs)} outputs")
    return torch.stack([loss(output) for output in outputs[-last:]]).mean()


def mean_squared_error(output: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over real tokens of the mean over channels.

    Args:
        output, target: (B, N, C).
        mask: (B, N) bool, False where there is no real token.
    """
    errors = (output - target).square().mean(dim=2)                                        # (B, N)
    return errors.mean() if mask is None else errors[mask].mean()
