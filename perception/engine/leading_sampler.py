"""The first frames of a data set alone, for a quick look."""

from __future__ import annotations

from collections.abc import Iterator, Sized

from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from ..errors import ConfigError
from ..registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class LeadingSampler(Sampler[int]):
    """Yields 0, 1, ... of a data set, each process its share.

    Args:
        dataset: anything with a length.
        count: frames; no more than there are.
        seed: without effect; the runner hands it to every sampler.

    Raises:
        ConfigError: the count is below 1.
    """

    def __init__(self, dataset: Sized, count: int, seed: int | None = None) -> None:
        if count < 1:
            raise ConfigError(f"sampler.count must be >= 1, got {count}")
        self.rank, self.world_size = get_dist_info()
        self.count = min(count, len(dataset))

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.count, self.world_size))

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.world_size))
