"""Cutting the Earth into the seven published hierarchies, and telling the cells of the places.

By default few places; a million are for
    PLACES=1000000 pytest tests/benchmarks/test_geo_partition_benchmark.py --benchmark-enable
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import numpy as np

from perception.geo import adaptive_partition

PLACES = int(os.environ.get("PLACES", 20_000))
PUBLISHED = (25_000, 10_000, 5_000, 2_000, 1_000, 750, 500)


@cache
def world() -> np.ndarray:
    """(PLACES, 2): towns of very different sizes, most places within a few kilometres of one of them."""
    rng = np.random.default_rng(0)
    towns = np.stack([np.degrees(np.arcsin(rng.uniform(-0.9, 0.9, 2000))), rng.uniform(-170, 170, 2000)], axis=1)
    share = 1 / np.arange(1, 2001)
    chosen = towns[rng.choice(2000, PLACES, p=share / share.sum())]
    return chosen + rng.normal(size=(PLACES, 2)) * 10.0 ** rng.uniform(-3, -0.5, (PLACES, 1))


def test_a_partition(benchmark: Any):
    partition = benchmark(adaptive_partition, world(), PUBLISHED)
    assert len(partition) == len(PUBLISHED)
    assert list(partition.num_classes) == sorted(partition.num_classes)


def test_its_labels(benchmark: Any):
    labels = benchmark(adaptive_partition(world(), PUBLISHED).labels_of, world())
    assert (labels >= 0).any(axis=0).all()
