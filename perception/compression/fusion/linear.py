"""Two linear layers fused into one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .ground_metric import unit_rows
from .matching import Matching


class Linear(NamedTuple):
    """Weight (out, in) and bias (out,) of a layer; kernels are flattened to (out, in * window)."""

    weight: Tensor
    bias: Tensor | None


class FusedLinear(NamedTuple):
    """What became of two layers.

    Args:
        layer: the fused one.
        transport: T (out 0, out 1); None of a last layer.
        cost: (out 0, out 1), likewise.
    """

    layer: Linear
    transport: Tensor | None
    cost: Tensor | None


def aligned_input(layer: Linear, incoming: Tensor | None, matching: Matching) -> Linear:
    """A layer of model 0 that reads the anchor's units."""
    if incoming is None:
        return layer
    return Linear(layer.weight @ matching.incoming(incoming), layer.bias)


def aligned_output(layer: Linear, transport: Tensor) -> Linear:
    """A layer that gives the anchor's units."""
    return Linear(transport.T @ layer.weight, None if layer.bias is None else transport.T @ layer.bias)


def averaged(first: Linear, anchor: Linear, alpha: float) -> Linear:
    """Both layers, the anchor with the weight ``alpha``."""
    weight = torch.lerp(first.weight, anchor.weight, alpha)
    if first.bias is None or anchor.bias is None:
        return Linear(weight, None)
    return Linear(weight, torch.lerp(first.bias, anchor.bias, alpha))


def features_of(
    first: Linear, anchor: Linear, acts: tuple[Tensor, Tensor] | None, unit_norm: bool
) -> tuple[Tensor, Tensor]:
    """What units are compared by, (n0, F) and (n1, F): activations (S, n), or the weights of layers that read alike."""
    if acts is not None:
        return acts[0].T, acts[1].T
    pair = (first.weight, anchor.weight)
    return (unit_rows(pair[0]), unit_rows(pair[1])) if unit_norm else pair


def fuse_linear(
    first: Linear, anchor: Linear, matching: Matching, *, alpha: float = 0.5, acts: tuple[Tensor, Tensor] | None = None,
    incoming: Tensor | None = None, last: bool = False, unit_norm: bool = True,
) -> FusedLinear:
    """Fuse a layer of model 0 into the anchor's.

    Args:
        first: of model 0.
        anchor: of model 1.
        matching: how units are matched.
        alpha: weight of the anchor.
        acts: activations (S, n0) and (S, n1) of the same samples; None compares weights, whose widths must agree
            behind ``incoming``.
        incoming: map of the inputs; None where both read the same.
        last: leave the outputs as they are, which mean the same in both.
        unit_norm: compare weights by direction only.

    Raises:
        ValueError: the features of the units differ in number.
        MissingExtraError: POT is not installed.
    """
    moved = aligned_input(first, incoming, matching)
    if last:
        return FusedLinear(averaged(moved, anchor, alpha), None, None)
    cost = matching.metric(*features_of(moved, anchor, acts, unit_norm))
    transport = matching.transport(cost, incoming)
    return FusedLinear(averaged(aligned_output(moved, transport), anchor, alpha), transport, cost)
