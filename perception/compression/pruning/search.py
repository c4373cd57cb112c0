"""Greedy search for parts whose removal lowers the loss (AxFormer, 2020)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from .masks import PruningMasks

LossPerSample = Callable[[Any], Tensor]


class Prunable(Protocol):
    """A stack of layers that can run without some of their parts."""

    @property
    def heads(self) -> Sequence[int]:
        """Heads of each layer, 0 of those without attention."""

    @property
    def groups(self) -> Sequence[int]:
        """Groups of hidden channels of each layer, 0 of those without."""

    def masked(self, masks: PruningMasks) -> AbstractContextManager[Any]:
        """From now on the network runs without what ``masks`` names, until the result is closed."""


@dataclass(frozen=True)
class Evaluation:
    """One step of a search.

    Args:
        masks: in force.
        loss: mean over the samples.
        count: samples whose loss was no worse than without any mask; all of them in the first evaluation.
    """

    masks: PruningMasks
    loss: float
    count: int


@dataclass(frozen=True)
class SearchResult:
    """Where a search ended.

    Args:
        masks: that were accepted.
        loss: with them.
        trace: every evaluation, the first without masks.
        base_losses: (samples,) float32 without masks.
    """

    masks: PruningMasks
    loss: float
    trace: tuple[Evaluation, ...]
    base_losses: Tensor


class AccuracyDrivenPruner:
    """Tries one part after another, and leaves out each without which the mean loss falls.

    First, hard attention of each layer from the first to the last. Then, from the last layer to the first, the
    feed-forward part, and if it is nearly dispensable its groups of channels; and the attention, likewise its heads.
    A part goes if the mean loss falls below the lowest yet, and more than a share of the samples (the *vote*) fare no
    worse than with the whole network. Published as one greedy pass without retraining.

    With a ``tolerance``, which is our own, a second pass makes the network smaller still: whatever heads and groups are
    left go in the order of what each of them costs by itself, as long as the mean loss stays within it.

    Args:
        network: the layers.
        loss_per_sample: takes a batch, runs the network and gives (B,) losses.
        batches: the validation set, read again for every evaluation.
        refine_factor: a part whose removal costs less than this times the lowest loss is tried piece by piece.
        vote: share of the samples.
        tolerance: share by which the mean loss of the whole network may be exceeded in the end; 0 has no second pass.
        legacy_mean: the mean of the means of the batches, as released, in which a short last batch weighs as much as a
            full one; otherwise the mean of the samples.

    Raises:
        ValueError: ``vote`` lies outside [0, 1), ``refine_factor`` is below 1, or ``tolerance`` is below 0.
    """

    def __init__(
        self, network: Prunable, loss_per_sample: LossPerSample, batches: Iterable[Any], *,
        refine_factor: float = 1.1, vote: float = 0.5, tolerance: float = 0.0, legacy_mean: bool = False,
    ) -> None:
        if not 0.0 <= vote < 1.0:
            raise ValueError(f"vote must lie in [0, 1), got {vote}")
        if refine_factor < 1.0:
            raise ValueError(f"refine_factor must be >= 1, got {refine_factor}")
        if tolerance < 0:
            raise ValueError(f"tolerance must be >= 0, got {tolerance}")
        self.network, self.loss_per_sample, self.batches = network, loss_per_sample, batches
        self.refine_factor, self.vote, self.tolerance, self.legacy_mean = refine_factor, vote, tolerance, legacy_mean

    def search(self) -> SearchResult:
        """Run it. Raises ValueError if there are no samples."""
        self.masks = PruningMasks.none(self.network.heads, self.network.groups)
        self.base_losses, self.lowest = self._evaluate(self.masks)
        self.trace = [Evaluation(self.masks, self.lowest, len(self.base_losses))]
        layers = range(len(self.masks.hard_attn))
        for layer in layers:
            if self.network.heads[layer]:
                self._try(self.masks.with_block("hard_attn", layer))
        for layer in reversed(layers):
            self._prune(layer, "ffn_prune", "ffn_approx")
            self._prune(layer, "attn_prune", "attn_approx")
        if self.tolerance > 0:
            self._spend_tolerance()
        return SearchResult(self.masks, self.lowest, tuple(self.trace), self.base_losses)

    def _prune(self, layer: int, block: str, parts: str) -> None:
        """A block, or some of its parts."""
        loss, is_accepted = self._try(self.masks.with_block(block, layer))
        if not is_accepted and loss < self.refine_factor * self.lowest:
            for part in range(len(getattr(self.masks, parts)[layer])):
                self._try(self.masks.with_part(parts, layer, part))

    def _spend_tolerance(self) -> None:
        """The second pass: measure what each part costs, then leave out one after another, the cheapest first.

        What is too dear by itself, or gives no number, is not tried again.
        """
        limit = (1 + self.tolerance) * self.trace[0].loss
        costs = [(self._traced(self.masks.with_part(*part)).loss, part) for part in self.masks.remaining()]
        for _, part in sorted((cost, part) for cost, part in costs if cost <= limit):
            tried = self._traced(self.masks.with_part(*part))
            if tried.loss <= limit:
                self.masks, self.lowest = tried.masks, tried.loss

    def _try(self, masks: PruningMasks) -> tuple[float, bool]:
        """Evaluate, and keep what helps; a loss that is no number does not."""
        tried = self._traced(masks)
        loss, count = tried.loss, tried.count
        is_accepted = loss < self.lowest and count > math.floor(self.vote * len(self.base_losses))
        if is_accepted:
            self.masks, self.lowest = masks, loss
        return loss, is_accepted

    def _traced(self, masks: PruningMasks) -> Evaluation:
        losses, loss = self._evaluate(masks)
        self.trace.append(Evaluation(masks, loss, int((losses <= self.base_losses).sum())))
        return self.trace[-1]

    @torch.no_grad()
    def _evaluate(self, masks: PruningMasks) -> tuple[Tensor, float]:
        """Losses of the samples, and their mean."""
        with self.network.masked(masks):
            batches = [self.loss_per_sample(batch).float() for batch in self.batches]
        losses = torch.cat(batches) if batches else torch.empty(0)
        if not len(losses):
            raise ValueError("a search needs at least one sample, got none")
        means = torch.stack([batch.mean() for batch in batches]) if self.legacy_mean else losses
        return losses, means.double().mean().item()
