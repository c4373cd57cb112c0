"""Rare class sampling: which class, and hence which source picture, comes next.

DAFormer (Hoyer et al., CVPR 2022), section 3.3, equations 4 to 6.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perception.atomic_write import atomic_path
from perception.errors import ConfigError, DataError
from perception.structures import Frame
from perception.structures.segmentation import IGNORE_LABEL

from .class_mix import Random

logger = logging.getLogger(__name__)


def class_probabilities(counts: np.ndarray, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """How often each class is drawn, the rarest most.

    Args:
        counts: (N, K) int64 pixels of each class in each picture.
        temperature: T > 0; the smaller, the more often the rarest.

    Returns:
        (K,) int64 classes from the rarest to the most frequent, and their probabilities, (K,) float32.

    Raises:
        ValueError: the temperature is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    totals = torch.from_numpy(counts.sum(axis=0))
    classes = torch.argsort(totals, stable=True)
    frequencies = totals[classes] / totals.sum()
    return classes.numpy(), torch.softmax((1 - frequencies) / temperature, dim=0).numpy()


class RareClasses:
    """Draws source pictures by the classes that they show.

    Args:
        counts: (N, K) int64 pixels of each class in each picture.
        temperature: see `class_probabilities`.
        min_pixels: a picture stands for the classes of which it shows more pixels than that; a class for which none
            stands is left out, with a warning if it occurs at all.

    Raises:
        ConfigError: no picture stands for any class.
    """

    def __init__(self, counts: np.ndarray, *, temperature: float = 0.01, min_pixels: int = 3000) -> None:
        self.pictures = [np.flatnonzero(column > min_pixels) for column in counts.T]
        classes, probabilities = class_probabilities(counts, temperature)
        drawable = np.array([len(self.pictures[label]) > 0 for label in classes], dtype=bool)
        if not drawable.any():
            raise ConfigError(f"rare classes: no picture shows more than {min_pixels} pixels of any class")
        left_out = [int(label) for label in classes[~drawable] if counts[:, label].any()]
        if left_out:
            logger.warning("classes %s have no picture with more than %d pixels: never drawn", left_out, min_pixels)
        self.classes = classes[drawable]
        self.probabilities = probabilities[drawable] / probabilities[drawable].sum()

    def draw_class(self, rng: Random) -> int:
        """A class, rare ones more often."""
        return int(rng.choice(self.classes, p=self.probabilities))

    def draw(self, rng: Random) -> tuple[int, int]:
        """A class, and the number of a picture that stands for it."""
        label = self.draw_class(rng)
        return label, int(rng.choice(self.pictures[label]))


def pixel_counts(frame: Frame, camera: str | None, num_classes: int) -> np.ndarray:
    """(num_classes,) int64 pixels of each class in the picture of a camera, by default the only one of the frame.

    Raises:
        ConfigError: it has no labels.
        DataError: a label is neither a class nor one to ignore.
    """
    names = tuple(frame.cameras) if camera is None else (camera,)
    labels = frame.cameras[names[0]].labels if len(names) == 1 and names[0] in frame.cameras else None
    if labels is None:
        raise ConfigError(f"frame {frame.token}: rare classes need the pixel labels of one camera; it has {names}")
    known = labels.classes[labels.classes != IGNORE_LABEL]
    if len(known) and not 0 <= int(known.min()) <= int(known.max()) < num_classes:
        wrong = f"{int(known.min())} to {int(known.max())}"
        raise DataError(f"frame {frame.token}", "labels", f"classes 0 to {num_classes - 1}", wrong)
    return np.bincount(known.numpy(), minlength=num_classes).astype(np.int64)


def counts_of(dataset: Any, num_classes: int, camera: str | None, path: Path | str | None = None) -> np.ndarray:
    """Pixels of each class in each frame of a data set, before any transform.

    Args:
        dataset: a `FrameDataset` with labels.
        num_classes: K.
        camera: whose picture; None takes the only one.
        path: JSON file that keeps the counts by frame token; read if it is there, else written.

    Returns:
        (N, K) int64.

    Raises:
        ConfigError, DataError: see `pixel_counts`; or the file is broken or counts other frames or classes.
    """
    if path is not None and Path(path).is_file():
        return _read_counts(Path(path), dataset.frame_tokens, num_classes)
    logger.info("counting the pixels of each class in %d frames", len(dataset))
    rows = [pixel_counts(dataset.load(index), camera, num_classes) for index in range(len(dataset))]
    if path is not None:
        table = {token: row.tolist() for token, row in zip(dataset.frame_tokens, rows, strict=True)}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(table) + "\n", encoding="utf-8")
    return np.stack(rows)


def _read_counts(path: Path, tokens: Sequence[str], num_classes: int) -> np.ndarray:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array([table[token] for token in tokens], dtype=np.int64)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(path, "counts", "a row of pixel counts for each frame of the data set", repr(error)) from error
    if counts.shape != (len(tokens), num_classes):
        raise DataError(path, "counts", f"{num_classes} classes in each row", f"an array of {counts.shape}")
    return counts
