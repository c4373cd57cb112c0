"""Learning hash functions from the attention among tokens, bit after bit, without their labels.

"EcoFormer: Energy-Saving Attention with Linear Complexity" (Liu et al., NeurIPS 2022): codes of tokens that attend to
each other most should agree, of those that do least disagree. Nothing of N x N numbers is kept: of each token only its
pairs, and what codes have explained of these as the codes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CHUNK = 1024                                         # tokens whose similarities to all others are held at once


def real_rows(mask: Tensor, like: Tensor) -> Tensor:
    """A mask (B, N) bool as 1 and 0, (B, 1, N), of the dtype of ``like``."""
    return mask[:, None].to(like.dtype)


def draw_anchors(units: Tensor, count: int, mask: Tensor | None = None) -> Tensor:
    """Random tokens of the sample with the most real ones; the first sample, if no token is masked.

    Torch's random numbers are used but not used up, so that a block that is run again draws what it drew before.

    Args:
        units: (B, heads, N, D).
        count: M; with fewer real tokens some are drawn more than once.
        mask: (B, N) bool, False where a token is not drawn.

    Returns:
        (1, heads, M, D), of all heads the same tokens.
    """
    sample, places = 0, torch.arange(units.shape[2], device=units.device)
    if mask is not None and mask.any():
        sample = int(mask.sum(dim=1).argmax())
        places = places[mask[sample]]
    with torch.random.fork_rng(devices=[]):
        order = torch.randperm(len(places)).to(units.device)
    chosen = places[order[torch.arange(count, device=units.device) % len(places)]]         # (M,)
    return units[sample : sample + 1, :, chosen]


@dataclass(frozen=True)
class Pairs:
    """The tokens that each token should share its code with, and those from which its code should differ.

    Args:
        others: (B, heads, N, P) int64, tokens.
        signs: (B, heads, N, P) float: 1 to agree, -1 to differ, 0 if the pair does not count.
    """

    others: Tensor
    signs: Tensor

    def sum_of(self, values: Tensor) -> Tensor:
        """Values of tokens (B, heads, N) -> for each token, the signed sum of its pairs' values, (B, heads, N)."""
        gathered = values.gather(2, self.others.flatten(2)).view(self.others.shape)
        return (gathered * self.signs).sum(dim=3)

    def sum_to(self, values: Tensor) -> Tensor:
        """The transpose: each token's value is added, with the sign, to its pairs."""
        given = (values[..., None] * self.signs).flatten(2)
        return torch.zeros_like(values).scatter_add(2, self.others.flatten(2), given)

    def dense(self) -> Tensor:
        """As a matrix (B, heads, N, N) of -1, 0 and 1."""
        *shape, N, _ = self.others.shape
        return self.signs.new_zeros(*shape, N, N).scatter_add(3, self.others, self.signs)


def find_pairs(units: Tensor, neighbours: int, mask: Tensor | None = None) -> Pairs:
    """The most similar tokens of each token, itself among them, and the least similar.

    Args:
        units: (B, heads, N, D).
        neighbours: how many of each; a token that is among both is to differ.
        mask: (B, N) bool, False where a token makes no pairs.
    """
    count = min(neighbours, units.shape[2])
    everything = units.transpose(2, 3)
    hidden = None if mask is None else ~mask[:, None, None]                                # (B, 1, 1, N)
    near: list[Tensor] = []
    far: list[Tensor] = []
    for rows in units.split(CHUNK, dim=2):
        similar = rows @ everything                                                        # (B, heads, rows, N)
        for found, largest, never in ((near, True, -torch.inf), (far, False, torch.inf)):
            shown = similar if hidden is None else similar.masked_fill(hidden, never)
            found.append(shown.topk(count, dim=3, largest=largest).indices)
    agree, differ = torch.cat(near, dim=2), torch.cat(far, dim=2)                          # (B, heads, N, count) each
    both = (agree[..., :, None] == differ[..., None, :]).any(dim=4)
    signs = torch.cat([1 - both.to(units.dtype), -torch.ones_like(differ, dtype=units.dtype)], dim=3)
    others = torch.cat([agree, differ], dim=3)                                             # (B, heads, N, 2 * count)
    if mask is not None:
        real = real_rows(mask, units).expand(units.shape[:3])                              # (B, heads, N)
        signs = signs * real[..., None] * real.gather(2, others.flatten(2)).view(others.shape)
    return Pairs(others, signs)


class BitObjective:
    """How badly one more bit explains what the bits before it leave of the pairs.

    The loss is -y' S y / (N bits), where S is ``bits`` times the pairs' signs less c c' of each code c before.

    Args:
        features: (B, heads, N, M), centred.
        pairs: of the same tokens.
        bits: of a whole code.
        mask: (B, N) bool, False where a token does not count.
    """

    def __init__(self, features: Tensor, pairs: Pairs, bits: int, mask: Tensor | None = None) -> None:
        self.features, self.pairs, self.bits = features, pairs, bits
        B, heads, N, _ = features.shape
        everything = features.new_ones(1, 1, N) if mask is None else real_rows(mask, features)
        self.real = everything.expand(B, heads, N)
        self.counts = self.real.sum(dim=2).clamp(min=1)                                    # (B, heads)
        self.codes: list[Tensor] = []                                                      # (B, heads, N) each

    def hard(self, a: Tensor) -> Tensor:
        """The bit (B, heads, N), -1 or 1, by projections (heads, M); 0 where a token does not count."""
        return torch.where(self._project(a) > 0, 1.0, -1.0).to(a) * self.real

    def soft(self, a: Tensor) -> Tensor:
        """The same in (-1, 1)."""
        return torch.tanh(self._project(a) / 2) * self.real

    def _project(self, a: Tensor) -> Tensor:
        return (self.features @ a[:, :, None]).squeeze(3)

    def loss(self, bit: Tensor) -> Tensor:
        """The mean over samples and heads for a bit (B, heads, N)."""
        wanted = self.bits * (bit * self.pairs.sum_of(bit)).sum(dim=2)                     # (B, heads)
        explained = sum(((bit * code).sum(dim=2).square() for code in self.codes), torch.zeros_like(wanted))
        return -((wanted - explained) / (self.counts * self.bits)).mean()

    def gradient(self, bit: Tensor) -> Tensor:
        """That of the loss of a soft bit (B, heads, N) by the projections that gave it: (heads, M).

        By hand, since a block whose activations are computed again in the backward pass can hold no graph of its own.
        """
        pull = self.bits * (self.pairs.sum_of(bit) + self.pairs.sum_to(bit))               # (B, heads, N)
        for code in self.codes:
            pull = pull - 2 * code * (bit * code).sum(dim=2, keepdim=True)
        by_bit = -pull / (self.counts[..., None] * self.bits * self.counts.numel())
        by_product = by_bit * (1 - bit.square()) / 2
        return (self.features * by_product[..., None]).sum(dim=(0, 2))


@dataclass(frozen=True)
class LearnedHash:
    """What was learned.

    Args:
        mean: (1, heads, 1, M), of the kernel features.
        projections: (heads, bits, M).
        codes: (B, heads, N, bits) of the tokens that it was learned from.
    """

    mean: Tensor
    projections: Tensor
    codes: Tensor


@dataclass(frozen=True)
class HashLearning:
    """The settings of the learning.

    Args:
        neighbours: most and least similar tokens that each token makes pairs with.
        steps: of stochastic gradient descent for each bit.
        learning_rate: of the steps.
        momentum: of the steps, after Nesterov.
        samples: of the batch that are learned from, the first ones; None takes all, as published.

    Raises:
        ValueError: a setting lies outside its range.
    """

    neighbours: int = 10
    steps: int = 100
    learning_rate: float = 5e-4
    momentum: float = 0.9
    samples: int | None = None

    def __post_init__(self) -> None:
        for name in ("neighbours", "steps", "samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be > 0, got {self.learning_rate}")
        if not 0 < self.momentum < 1:
            raise ValueError(f"momentum must lie in (0, 1), got {self.momentum}")

    def fit(self, units: Tensor, features: Tensor, projections: Tensor, mask: Tensor | None = None) -> LearnedHash:
        """Learn one bit after another; each keeps what it began with unless it explains the pairs better.

        Args:
            units: (B, heads, N, D) tokens at unit length.
            features: (B, heads, N, M) kernel between them and the anchors, not centred.
            projections: (heads, bits, M) to begin with.
            mask: (B, N) bool, False where a token does not count.

        Raises:
            FloatingPointError: the steps diverge.
        """
        mean = _mean_of(features, mask)
        objective = BitObjective(features - mean, find_pairs(units, self.neighbours, mask), projections.shape[1], mask)
        kept = [self._fit_bit(objective, start) for start in projections.unbind(dim=1)]
        return LearnedHash(mean, torch.stack(kept, dim=1), torch.stack(objective.codes, dim=3))

    def _fit_bit(self, objective: BitObjective, start: Tensor) -> Tensor:
        found, _ = self.descend(objective, start)
        if not found.isfinite().all():
            raise FloatingPointError(
                f"learning bit {len(objective.codes)} of the hash functions diverged; learning_rate "
                f"({self.learning_rate}) is too high, or the tokens are not finite"
            )
        kept = found if objective.loss(objective.hard(found)) < objective.loss(objective.hard(start)) else start
        objective.codes.append(objective.hard(kept))
        return kept

    def descend(self, objective: BitObjective, start: Tensor) -> tuple[Tensor, Tensor]:
        """Projections (heads, M) that the steps from ``start`` lead to, and the loss (steps,) before each of them."""
        a, velocity, losses = start, torch.zeros_like(start), []
        for _ in range(self.steps):
            bit = objective.soft(a)
            losses.append(objective.loss(bit))
            gradient = objective.gradient(bit)
            velocity = self.momentum * velocity + gradient
            a = a - self.learning_rate * (gradient + self.momentum * velocity)
        return a, torch.stack(losses)


def _mean_of(features: Tensor, mask: Tensor | None) -> Tensor:
    """Over samples and real tokens: (B, heads, N, M) -> (1, heads, 1, M)."""
    if mask is None:
        return features.mean(dim=(0, 2), keepdim=True)
    real = real_rows(mask, features)[..., None]                                            # (B, 1, N, 1)
    return (features * real).sum(dim=(0, 2), keepdim=True) / real.sum().clamp(min=1)
