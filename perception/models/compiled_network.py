"""torch.compile for the networks of task models, whose inputs change in size from frame to frame."""

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


class _Compiled:
    """A compiled function that keeps how long each first run took.

    Args:
        network: what is compiled.
        defaults: of ``options``.
        options: of `torch.compile`.
    """

    def __init__(self, network: Callable[..., Any], defaults: dict[str, Any], options: dict[str, Any]) -> None:
        self.network, self.options = network, options
        self.compiled = torch.compile(network, **{**defaults, **options})
        self.cold_starts: dict[tuple[int, ...], float] = {}        # seconds by sizes of the input, the last one samples

    def run(self, key: tuple[int, ...], *args: Any, **kwargs: Any) -> Any:
        """Call what was compiled; before a new key's first call returns, the compiler has run."""
        began = time.perf_counter()
        found = self.compiled(*args, **kwargs)
        if key not in self.cold_starts:
            self.cold_starts[key] = time.perf_counter() - began
            logger.info("compiled the network for %s in %.1f s", " x ".join(map(str, key)), self.cold_starts[key])
        return found


class CompiledNetwork(_Compiled):
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
        self.smallest, self.growth = smallest, growth
        super().__init__(network, {"fullgraph": True, "dynamic": False}, options)

    def __call__(self, features: Tensor, coords: Tensor, batch_size: int) -> Maps:
        """Features (M, C) at coords (M, 4) of ``batch_size`` samples -> maps of each task."""
        rows = self.padded_size(len(features)) - len(features)
        features = F.pad(features, (0, 0, 0, rows))
        padding = coords.new_tensor([batch_size, 0, 0, 0]).expand(rows, 4)
        coords = torch.cat([coords, padding])
        return self.run((len(features), batch_size), features, coords, batch_size, spare_samples=1)

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


class CompiledPictures(_Compiled):
    """Compiles a network once for each size of a batch of pictures, when it first occurs.

    torch gives up after a few sizes and runs as written from then on, see its ``recompile_limit``: a data set of
    pictures of all sizes wants ``dynamic``.

    Args:
        network: pictures (B, 3, H, W) -> what a head gives.
        options: of `torch.compile`.
    """

    def __init__(self, network: Callable[[Tensor], Any], **options: Any) -> None:
        super().__init__(network, {"dynamic": False}, options)

    def __call__(self, images: Tensor) -> Any:
        """(B, 3, H, W) -> what the head gives."""
        return self.run((*images.shape[2:], len(images)), images)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledPictures:
        """As that of `CompiledNetwork`."""
        return CompiledPictures(copy.deepcopy(self.network, memo), **self.options)
