"""torch.compile for a network whose number of pillars changes from frame to frame."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

logger = logging.getLogger(__name__)

Maps = list[dict[str, Tensor]]


class CompiledNetwork:
    """Pads pillars to one of few numbers, for each of which the network is compiled once, when it first occurs.

    The padding is a sample of its own at the end of the batch, so that it is in no group with real pillars.

    Args:
        network: (features (M, C), coords (M, 4), batch_size, spare_samples) -> maps of the first samples.
        smallest: pillars of the smallest number.
        growth: of one number to the next, above 1; a larger one compiles less often and pads more.
        options: of `torch.compile`.

    Raises:
        ValueError: ``smallest`` is below 1, or ``growth`` not above 1.
    """

    def __init__(
        self, network: Callable[..., Maps], *, smallest: int = 4096, growth: float = 1.5, **options: Any
    ) -> None:
        if smallest < 1 or not growth > 1.0:
            raise ValueError(f"smallest must be >= 1 and growth above 1, got {smallest} and {growth}")
        self.network, self.smallest, self.growth, self.options = network, smallest, growth, options
        self.compiled = torch.compile(network, **{"fullgraph": True, "dynamic": False, **options})
        self.cold_starts: dict[tuple[int, int], float] = {}        # seconds by (pillars, samples)

    def __call__(self, features: Tensor, coords: Tensor, batch_size: int) -> Maps:
        """Features (M, C) at coords (M, 4) of ``batch_size`` samples -> maps of each task."""
        rows = self.padded_size(len(features)) - len(features)
        features = F.pad(features, (0, 0, 0, rows))
        padding = coords.new_tensor([batch_size, 0, 0, 0]).expand(rows, 4)
        key = (len(features), batch_size)
        began = time.perf_counter()
        maps = self.compiled(features, torch.cat([coords, padding]), batch_size, spare_samples=1)
        if key not in self.cold_starts:
            self.cold_starts[key] = time.perf_counter() - began
            logger.info("compiled the network for %d pillars in %.1f s", key[0], self.cold_starts[key])
        return maps

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledNetwork:
        """Of a copied model: what was compiled belongs to the original."""
        network = copy.deepcopy(self.network, memo)
        return CompiledNetwork(network, smallest=self.smallest, growth=self.growth, **self.options)

    def padded_size(self, pillars: int) -> int:
        """The smallest of the numbers that holds so many pillars."""
        size = self.smallest
        while size < pillars:
            size = int(size * self.growth) + 1
        return size
