"""Tell frames which cells on Earth they lie in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..geo import NO_CELL, GeoPartition
from ..geo.partition_file import load_partition
from ..registry import TRANSFORMS
from ..structures import Frame, GeoLabel


@TRANSFORMS.register_module()
class LabelGeoCells:
    """Fill `Frame.geo_label` with the cell of each hierarchy that ``wgs84`` lies in; the kind of scene stays.

    Args:
        partition: file of `save_partition`, or a partition.

    Raises:
        DataError: the file is absent or malformed.
        ValueError: a frame has no ``wgs84``, or one that is no place on Earth.
    """

    def __init__(self, partition: str | Path | GeoPartition) -> None:
        self.source = "given" if isinstance(partition, GeoPartition) else str(partition)
        self.partition = partition if isinstance(partition, GeoPartition) else load_partition(partition)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with its cells."""
        if frame.wgs84 is None:
            raise ValueError(f"frame {frame.token} has no wgs84: its data set doesn't know where on Earth it is")
        labels = self.partition.labels_of([frame.wgs84[:2]])[0]
        cells = tuple(
            0 if label == NO_CELL else int(hierarchy.ids[label])
            for label, hierarchy in zip(labels.tolist(), self.partition.hierarchies, strict=True)
        )
        known = frame.geo_label or GeoLabel()
        return replace(frame, geo_label=replace(known, cells=cells))

    def __repr__(self) -> str:
        return f"LabelGeoCells(partition={self.source!r})"
