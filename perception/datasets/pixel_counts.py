"""How many pixels of each class the pictures of a data set show, counted once and kept in a file."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ..atomic_write import write_json
from ..errors import ConfigError, DataError
from ..structures import Frame
from ..structures.segmentation import IGNORE_LABEL

logger = logging.getLogger(__name__)
Progress = Callable[[Sequence[Any]], Iterable[Any]]


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


def count_pixels(
    dataset: Any, num_classes: int, camera: str | None = None, *, workers: int = 1, progress: Progress = iter
) -> np.ndarray:
    """Pixels of each class in each frame of a data set, before any transform.

    Args:
        dataset: a `FrameDataset` with labels.
        num_classes: K.
        camera: whose picture; None takes the only one.
        workers: threads that read; decoding a picture leaves the others free.
        progress: wraps the numbers of the frames, to show a bar.

    Returns:
        (N, K) int64.

    Raises:
        ConfigError, DataError: see `pixel_counts`.
    """
    def row(index: int) -> np.ndarray:
        return pixel_counts(dataset.load(index), camera, num_classes)

    numbers = range(len(dataset))
    with ThreadPoolExecutor(workers) as pool:
        rows = pool.map(row, numbers)
        return np.stack([next(rows) for _ in progress(numbers)])


def counts_of(dataset: Any, num_classes: int, camera: str | None, path: Path | str | None = None) -> np.ndarray:
    """As `count_pixels`, by way of a file.

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
    counts = count_pixels(dataset, num_classes, camera)
    if path is not None:
        write_counts(path, dataset.frame_tokens, counts)
    return counts


def write_counts(path: Path | str, tokens: Sequence[str], counts: np.ndarray) -> None:
    """Keep the (N, K) counts of N frames by their tokens, whole or not at all."""
    write_json(path, {token: row.tolist() for token, row in zip(tokens, counts, strict=True)}, indent=None)


def _read_counts(path: Path, tokens: Sequence[str], num_classes: int) -> np.ndarray:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array([table[token] for token in tokens], dtype=np.int64)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(path, "counts", "a row of pixel counts for each frame of the data set", repr(error)) from error
    if counts.shape != (len(tokens), num_classes):
        raise DataError(path, "counts", f"{num_classes} classes in each row", f"an array of {counts.shape}")
    return counts
