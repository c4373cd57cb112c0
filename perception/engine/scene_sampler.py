"""The order in which a model with a memory is tested: drive after drive, each by one process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from ..registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class SceneSampler(Sampler[int]):
    """The frames of whole drives in their order; process r of W takes every W-th drive, beginning with the r-th.

    Args:
        dataset: has ``scenes``, the name of the drive of every frame, whose frames stand together.
        seed: without effect; mmengine gives it to every sampler.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        rank, world_size = get_dist_info()
        drives: dict[str, list[int]] = {}
        for index, scene in enumerate(dataset.scenes):
            drives.setdefault(scene, []).append(index)
        self.indices = [index for drive in list(drives.values())[rank::world_size] for index in drive]

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)

    def __len__(self) -> int:
        """Frames of this process."""
        return len(self.indices)
