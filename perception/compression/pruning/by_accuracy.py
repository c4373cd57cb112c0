"""Pruning of task models by the loss of their own task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from perception.structures import Frame

from ..compressor import run_frames
from .apply import PrunableModel
from .layers import prunable_layers
from .masks import PruningMasks
from .refit import input_products
from .search import AccuracyDrivenPruner, SearchResult


class Pruned(NamedTuple):
    """What `prune_by_accuracy` gives.

    Args:
        model: the one given, smaller.
        masks: what has gone; `PruningMasks.to_dict` makes it plain values for a config, and `apply_masks` prepares a
            new model for the weights of this one.
        search: the trace, and the loss before and after.
    """

    model: nn.Module
    masks: PruningMasks
    search: SearchResult


def prune_by_accuracy(
    model: Any, batches: Iterable[Sequence[Frame]], *, num_groups: int = 12, top_k: int = 30,
    refine_factor: float = 1.1, vote: float = 0.5, tolerance: float = 0.0, legacy_mean: bool = False,
    refit: bool = False, mode: str = "remove", loss_per_sample: Callable[[Sequence[Frame]], Tensor] | None = None,
) -> Pruned:
    """Leave out the parts of a task model without which its loss falls, or hardly rises, by `AccuracyDrivenPruner`.

    With few samples the search fits itself to them: report what the result scores on others.

    Args:
        model: goes to evaluation mode, and is changed in place.
        batches: annotated frames with their transforms applied, such as a loader of a validation split yields; read
            again for every evaluation.
        num_groups: groups of the hidden channels of a feed-forward part.
        top_k: keys that hard attention keeps.
        refine_factor, vote, tolerance, legacy_mean: of the search.
        refit: fit what reads heads and hidden channels to those that stay, in each trial and in the end, so that it
            gives nearly what it gave of the samples (`refitted`). Our own; published is to leave it as it is.
        mode: "remove" makes modules smaller, "mask" multiplies by zeros.
        loss_per_sample: of a batch (B,); None is `task_losses`.

    Raises:
        ValueError: the model has no layers that can be pruned, hidden channels are not divisible by the groups, there
            are no samples, or the mode is another.
    """
    if mode not in ("mask", "remove"):
        raise ValueError(f'mode must be "mask" or "remove", got {mode!r}')
    layers = prunable_layers(model.eval())
    readers = [reader for layer in layers for reader in layer.readers]
    products = input_products(readers, lambda: [run_frames(model, frames) for frames in batches]) if refit else {}
    network = PrunableModel(layers, num_groups, top_k, products)

    def losses_of_task(frames: Sequence[Frame]) -> Tensor:
        return task_losses(model, frames)

    pruner = AccuracyDrivenPruner(
        network, loss_per_sample or losses_of_task, batches, refine_factor=refine_factor, vote=vote,
        tolerance=tolerance, legacy_mean=legacy_mean,
    )
    found = pruner.search()
    if mode == "remove":
        network.remove(found.masks)
    else:
        network.masked(found.masks)
    return Pruned(model, found.masks, found)


@torch.no_grad()
def task_losses(model: Any, frames: Sequence[Frame], seed: int = 0) -> Tensor:
    """The sum of a task model's losses for each frame by itself, (B,) float32.

    A model whose loss draws numbers, as that of denoising queries does, draws the same for each frame each time.
    """
    losses = []
    with torch.random.fork_rng(devices=[]):
        for frame in frames:
            torch.manual_seed(seed)
            batch = model.data_preprocessor([frame], False)
            total, _ = model.parse_losses(model(**batch, mode="loss"))
            losses.append(total.float())
    return torch.stack(losses).cpu()
