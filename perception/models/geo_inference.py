"""From logits of cells at several granularities to a place: the product of probabilities down the tree.

Mueller-Budack et al., ECCV 2018, section 3.4; Clark et al., CVPR 2023, section 3.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.geo import NO_CELL


class GeoLogits(NamedTuple):
    """What a geo head gives.

    Args:
        hierarchies: (B, C_i) logits of the cells of each hierarchy, coarse to fine.
        scenes: (B, S) logits of the kinds of scene.
        scene: (B,) int64 kind of scene that the cells were told under.
        selected: (B, H, D) queries that the logits were made of.
    """

    hierarchies: tuple[Tensor, ...]
    scenes: Tensor
    scene: Tensor
    selected: Tensor

    def averaged(self, crops: int) -> GeoLogits:
        """Means of the logits (not of the probabilities) over the crops of each picture: B becomes B / crops.

        Args:
            crops: of each picture; they follow each other.
        """
        hierarchies = tuple(_mean(logits, crops) for logits in self.hierarchies)
        scenes = _mean(self.scenes, crops)
        return GeoLogits(hierarchies, scenes, scenes.argmax(dim=1), _mean(self.selected, crops))

    def confidence(self) -> Tensor:
        """(B, H) in (0, 1): sigmoid of channel 0 of the selected queries, as the authors' code gives beside logits."""
        return self.selected[..., 0].sigmoid()


def _mean(values: Tensor, crops: int) -> Tensor:
    return values.unflatten(0, (-1, crops)).mean(dim=1)


def chained_log_probabilities(hierarchies: Sequence[Tensor], parents: Sequence[Tensor]) -> list[Tensor]:
    """Logarithms of each cell's probability times those of the cells that hold it.

    They are sums of logarithms in float32: products of seven probabilities vanish in half precision. They don't sum up
    to one over the cells of a hierarchy.

    Args:
        hierarchies: H logits (B, C_i), coarse to fine.
        parents: H - 1 maps (C_i,) int64 from the second hierarchy on: class of the cell of the hierarchy before;
            `NO_CELL` is a parent of probability 1.

    Returns:
        H tensors (B, C_i) float32.

    Raises:
        ValueError: there is not one map less than hierarchies, or a map is not of as many classes.
    """
    sizes = [logits.shape[1] for logits in hierarchies]
    if [len(parent) for parent in parents] != sizes[1:]:
        raise ValueError(f"parents must be maps of {sizes[1:]} classes, got {[len(parent) for parent in parents]}")
    chained = [F.log_softmax(hierarchies[0].float(), dim=1)]
    for logits, parent in zip(hierarchies[1:], parents, strict=True):
        above = chained[-1][:, parent.clamp(min=0)].masked_fill(parent == NO_CELL, 0.0)    # (B, C_i)
        chained.append(F.log_softmax(logits.float(), dim=1) + above)
    return chained


def entropy_of(log_weights: Tensor) -> Tensor:
    """(B, C) logarithms of weights -> (B,) entropy [nat] of the distributions that are proportional to them."""
    log_shares = F.log_softmax(log_weights, dim=1)
    return -torch.special.xlogy(log_shares.exp(), log_shares.exp()).sum(dim=1)
