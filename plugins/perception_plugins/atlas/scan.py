"""Reading a sequence piece by piece: each piece has its gradients at the weights that its chunk began with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from perception.models.mixers.traits import State

from .memories import MEMORIES, polynomial_features
from .updates import OPTIMIZERS, Course, Decay, LowRankCourse, OrthogonalCourse, window_band


class Gates(NamedTuple):
    """What each token decides, (B, heads, N) each.

    Args:
        log_keep: logarithm of the share of the weights that stays.
        log_carry: of the momentum.
        step: size of the step.
        importance: of the token in the windows that it is in.
    """

    log_keep: Tensor
    log_carry: Tensor
    step: Tensor
    importance: Tensor


@dataclass(frozen=True)
class Scan:
    """How a memory reads.

    Args:
        memory, optimizer: names, see `AtlasMixer`.
        window: tokens whose loss each step is taken along.
        chunk: tokens whose gradients share one set of weights.
        checkpointing: run a piece again for the gradient instead of keeping what it computed.

    Raises:
        ValueError: a name is unknown, or a size below 1.
    """

    memory: str
    optimizer: str
    window: int
    chunk: int
    checkpointing: bool = False

    def __post_init__(self) -> None:
        if self.memory not in MEMORIES:
            raise ValueError(f"memory must be one of {', '.join(MEMORIES)}, got {self.memory!r}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.window < 1 or self.chunk < 1:
            raise ValueError(f"window and chunk must be >= 1, got {self.window} and {self.chunk}")

    def run(
        self, queries: Tensor, keys: Tensor, values: Tensor, gates: Gates, coefficients: Tensor, state: State,
        phase: int,
    ) -> tuple[Tensor, State]:
        """Read the next tokens.

        Args:
            queries, keys, values: (B, heads, N, D), N >= 1.
            gates: of the tokens.
            coefficients: of the features.
            state: ``W*``, ``S*`` and ``R*`` (B, heads, out, in); ``k``, ``v`` (B, heads, window - 1, D) and ``gamma``
                (B, heads, window - 1) of the tokens before.
            phase: tokens of the current chunk that have been read.

        Returns:
            Reads (B, heads, N, D), and the same entries behind the last token.
        """
        keys, values = torch.cat([state["k"], keys], dim=2), torch.cat([state["v"], values], dim=2)
        importance = torch.cat([state["gamma"], gates.importance], dim=2)
        names = [str(number) for number in range(len(MEMORIES[self.memory].names))]
        weights, momenta = ([state[kind + name] for name in names] for kind in "WS")
        reference = [state.get(f"R{name}", weight) for name, weight in zip(names, weights, strict=True)]
        reads, older = [], self.window - 1
        for start, stop, is_first in pieces(queries.shape[2], self.chunk, phase):
            reference = weights if is_first else reference
            windows = slice(start, stop + older)
            piece = (
                queries[:, :, start:stop], keys[:, :, windows], values[:, :, windows], importance[:, :, windows],
                gates.log_keep[:, :, start:stop], gates.log_carry[:, :, start:stop], gates.step[:, :, start:stop],
            )
            if self.checkpointing and torch.is_grad_enabled():
                read, weights, momenta = checkpoint(
                    self._piece, piece, coefficients, weights, momenta, reference, use_reentrant=False
                )
            else:
                read, weights, momenta = self._piece(piece, coefficients, weights, momenta, reference)
            reads.append(read)
        first = keys.shape[2] - older
        behind = {"k": keys[:, :, first:], "v": values[:, :, first:], "gamma": importance[:, :, first:]}
        behind = {name: value.clone() for name, value in behind.items()}
        kinds = {"W": weights, "S": momenta, **({"R": reference} if self.chunk > 1 else {})}
        for kind, every in kinds.items():
            behind |= {kind + name: value for name, value in zip(names, every, strict=True)}
        return torch.cat(reads, dim=2), behind

    def _piece(
        self, piece: tuple[Tensor, ...], coefficients: Tensor, weights: list[Tensor], momenta: list[Tensor],
        reference: list[Tensor],
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        queries, keys, values, importance, log_keep, log_carry, step = piece
        memory = MEMORIES[self.memory]
        features = polynomial_features(keys, coefficients)                                 # (B, heads, I, F)
        gradients = memory.gradients(reference, keys, features, values, importance)
        band, keep = window_band(queries.shape[2], self.window, queries), Decay(log_keep)
        carry = None if self.optimizer == "gd" else Decay(log_carry)
        courses: list[Course] = []
        for weight, momentum, gradient in zip(weights, momenta, gradients, strict=True):
            if self.optimizer == "muon" and carry is not None:
                courses.append(OrthogonalCourse(weight, momentum, gradient, band, keep, step, carry))
            else:
                courses.append(LowRankCourse(weight, momentum, gradient, band, keep, step, carry))
        asked = polynomial_features(queries, coefficients)
        read = memory.read(lambda number, x: courses[number].product(x), queries, asked)
        last = [course.last() for course in courses]
        return read, [weight for weight, _ in last], [momentum for _, momentum in last]


def pieces(count: int, chunk: int, phase: int) -> Iterator[tuple[int, int, bool]]:
    """Start and end of each piece of ``count`` tokens that lies in one chunk, and whether the chunk begins with it."""
    start, left = 0, chunk - phase
    while start < count:
        stop = min(start + left, count)
        yield start, stop, left == chunk
        start, left = stop, chunk
