"""Frames of a few towns and a small geo-localizer for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from perception.geo import GeoPartition, adaptive_partition
from perception.structures import Camera, Frame
from perception.transforms.label_geo_cells import LabelGeoCells

TOWNS = np.array([(48.1, 11.6), (-33.9, 151.2), (1.3, 103.8)])


def places(count: int = 60, seed: int = 0) -> np.ndarray:
    """(count, 2) places within about 10 km of the towns, in turn."""
    return TOWNS[np.arange(count) % len(TOWNS)] + np.random.default_rng(seed).uniform(-0.1, 0.1, (count, 2))


def partition(seed: int = 0) -> GeoPartition:
    """Two hierarchies: a cell a town, and several of each."""
    return adaptive_partition(places(seed=seed), (30, 6), tau_min=0)


def located_frame(number: int, height: int = 32, width: int = 48, *, cells: GeoPartition | None = None) -> Frame:
    """A frame of `places` whose picture has the colour of its town, and its cells if a partition is given."""
    draw = torch.Generator().manual_seed(number)
    image = torch.randint(0, 60, (3, height, width), generator=draw, dtype=torch.uint8)
    image[number % 3] += 150
    latitude, longitude = places()[number].tolist()
    frame = Frame(
        f"f{number}", number, wgs84=(latitude, longitude, 0.0), cameras={"image": Camera(None, 0, image=image)}
    )
    return frame if cells is None else LabelGeoCells(cells)(frame, np.random.default_rng(0))


def small_localizer(cells: GeoPartition | str | None, **options: Any) -> dict[str, Any]:
    """Config of a small model."""
    head = {
        "type": "GeoDecoderHead", "channels": 16,
        "decoder": {"heads": 2, "head_channels": 8, "hidden": 32, "num_independent": 1, "num_dependent": 1},
        **options.pop("head", {}),
    }
    return {
        "type": "GeoLocalizer",
        "backbone": {"type": "TorchvisionSwin", "variant": "tiny", "channels": 8, "depths": (1, 1, 1, 1),
                     "heads": (1, 1, 2, 2), "out_indices": (1, 3), "drop_path": 0.0},
        "head": head, "partition": cells, **options,
    }
