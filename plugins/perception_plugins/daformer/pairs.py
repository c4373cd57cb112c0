"""A labelled source frame beside an unlabelled target frame: what self-training is fed with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from perception.datasets.pixel_counts import counts_of, pixel_counts
from perception.errors import ConfigError
from perception.registry import DATASETS
from perception.structures import Frame

from .rare_classes import RareClasses


@dataclass(frozen=True, eq=False)
class SourceTargetPair:
    """One sample of self-training.

    Args:
        source: a labelled frame.
        target: a frame of the other domain; labels that it may have are not looked at.
    """

    source: Frame
    target: Frame


@DATASETS.register_module()
class SourceTargetPairs(Dataset[SourceTargetPair]):
    """Pairs of a source frame and a target frame, each with its data set's own transforms.

    An epoch is as long as the source. The target is drawn uniformly. With rare class sampling the source is drawn too,
    and its transforms (with a random crop among them) are run anew until enough of the drawn class is in the picture.
    All is drawn from the generator of (seed, epoch, index), so it does not depend on workers.

    Args:
        source: config of a labelled data set, a `FrameDataset`.
        target: config of a data set of the other domain.
        rare_classes: ``temperature`` and ``min_pixels`` of `RareClasses`; None takes the source frames in turn.
        counts: JSON file that keeps the source's pixel counts, see `counts_of`; None counts at each start.
        min_share: share of ``min_pixels`` that must be left of the class in the transformed picture.
        checks: how many transformed pictures are looked at; the one after the last is taken as it is.
        camera: whose labels are counted; None takes the only camera.
        seed: first entropy word of every pair's generator.

    Raises:
        ConfigError: a data set is empty, or the source has no labels though rare classes are to be drawn.
    """

    def __init__(
        self,
        source: Mapping[str, Any],
        target: Mapping[str, Any],
        *,
        rare_classes: Mapping[str, Any] | None = None,
        counts: str | None = None,
        min_share: float = 0.5,
        checks: int = 10,
        camera: str | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.source: Any = DATASETS.build(source)
        self.target: Any = DATASETS.build(target)
        for name, dataset in (("source", self.source), ("target", self.target)):
            if len(dataset) == 0:
                raise ConfigError(f"the {name} data set is empty")
        self.camera, self.seed, self.checks = camera, seed, checks
        self.rare: RareClasses | None = None
        self.enough = 0.0
        if rare_classes is not None:
            table = counts_of(self.source, len(self.classes), camera, counts)
            self.rare = RareClasses(table, **rare_classes)
            self.enough = min_share * rare_classes.get("min_pixels", 3000)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the source's classes."""
        return tuple(self.source.classes)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Of the source."""
        return dict(self.source.metainfo)

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: int | tuple[int, int]) -> SourceTargetPair:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if not 0 <= index < len(self):
            raise IndexError(f"pair {index} of {len(self)}")
        rng = np.random.default_rng([self.seed, epoch, index])
        source = self._transformed(index, rng) if self.rare is None else self._rare_source(self.rare, rng)
        target = self.target.load(int(rng.integers(len(self.target))))
        return SourceTargetPair(source, self.target.transforms(target, rng))

    def _transformed(self, index: int, rng: np.random.Generator) -> Frame:
        return self.source.transforms(self.source.load(index), rng)

    def _rare_source(self, rare: RareClasses, rng: np.random.Generator) -> Frame:
        label, index = rare.draw(rng)
        loaded = self.source.load(index)
        for _ in range(self.checks):
            frame = self.source.transforms(loaded, rng)
            if pixel_counts(frame, self.camera, len(self.classes))[label] > self.enough:
                return frame
        return self.source.transforms(loaded, rng)
