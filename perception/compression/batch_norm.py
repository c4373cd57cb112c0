"""Batch normalisation at inference: a scale and a shift that the layer before can take over."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

from torch import nn


@runtime_checkable
class Foldable(Protocol):
    """A module that knows which of its layers a normalisation follows."""

    def fold_batch_norm(self) -> None:
        """Give the scale and the shift of the normalisation to the layer before, and drop it."""


def fold_batch_norms(model: nn.Module) -> int:
    """Fold the normalisations of a model's foldable parts, in place; outputs stay as they were, up to rounding.

    Args:
        model: in evaluation mode; its parameters have other names and shapes afterwards, so load weights before.

    Returns:
        The number of parts that were folded.

    Raises:
        ValueError: the model is in training mode, in which a normalisation does something else.
    """
    if model.training:
        raise ValueError("fold_batch_norms wants a model in evaluation mode: call model.eval() first")
    parts = [cast(Foldable, part) for part in model.modules() if isinstance(part, Foldable)]
    for part in parts:
        part.fold_batch_norm()
    return len(parts)
