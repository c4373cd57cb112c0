"""The theorem at work: how the constructed network's error falls with its width, beside the bound."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from .universal import RidgeSum, UniversalRidge

SHARPNESS = 25.0
AT_ONCE = 1024                                             # samples: hidden activations of wide networks are large


@dataclass(frozen=True)
class WidthError:
    """One network.

    Args:
        segments: W, line segments of each term.
        units: hidden width of the perceptron.
        error: the largest that was met.
        bound: that it cannot exceed.
    """

    segments: int
    units: int
    error: float
    bound: float


def seeded_target(tokens: int = 3, dim: int = 2, outputs: int = 2, terms: int = 2, seed: int = 0) -> RidgeSum:
    """A function of so many terms, with standard normal directions and factors and phases anywhere."""
    draw = torch.Generator().manual_seed(seed)
    shape = (tokens, outputs, terms)
    directions = torch.randn(*shape, tokens * dim, generator=draw)
    return RidgeSum(directions, 2 * torch.pi * torch.rand(shape, generator=draw), torch.randn(shape, generator=draw))


@torch.no_grad()
def errors_by_width(
    target: RidgeSum, dim: int, widths: Sequence[int], *, samples: int = 20_000, seed: int = 0
) -> Iterator[WidthError]:
    """The largest error of a network of each width over seeded samples.

    Args:
        target: the function.
        dim: d, numbers of a token.
        widths: line segments of a term.
        samples: drawn evenly from [0, 1]^(n x d).
        seed: of the samples.
    """
    tokens, outputs, terms, _ = target.directions.shape
    x = torch.rand(samples, tokens, dim, generator=torch.Generator().manual_seed(seed))
    for segments in widths:
        network = UniversalRidge(target, dim, segments=segments, sharpness=SHARPNESS)
        error = max((network(part) - target(part)).abs().max().item() for part in x.split(AT_ONCE))
        units = tokens * outputs * terms * (segments + 1)
        yield WidthError(segments, units, error, target.error_bound(segments, SHARPNESS))
