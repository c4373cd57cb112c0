"""Random pictures in Cityscapes' labels whose predictions err in every way the metrics tell apart."""

from __future__ import annotations

import numpy as np

from perception.datasets.cityscapes_labels import INSTANCE_FACTOR, PICTURE_LABELS

HAS_INSTANCES = np.array([label.has_instances for label in PICTURE_LABELS])


def random_instances(rng: np.random.Generator, height: int = 48, width: int = 64) -> np.ndarray:
    """(H, W) int64 values of an instance file: rectangles of all labels, instances and groups, one over the other."""
    regions = np.full((height, width), int(rng.choice([0, 7, 11, 23])))
    for _ in range(14):
        label = int(rng.choice([24, 26, 26, 26, 29, 33, rng.integers(0, 34)]))
        is_instance = HAS_INSTANCES[label] and rng.random() < 0.75
        value = INSTANCE_FACTOR * label + rng.integers(0, 3) if is_instance else label
        top, left = rng.integers(0, height - 8), rng.integers(0, width - 8)
        regions[top : top + rng.integers(3, 22), left : left + rng.integers(3, 26)] = value
    return regions


def labels_of_instances(regions: np.ndarray) -> np.ndarray:
    """(H, W) int64 label ids of an instance file."""
    return np.where(regions >= INSTANCE_FACTOR, regions // INSTANCE_FACTOR, regions)


def random_predictions(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """(H, W) int64 label ids: the truth shifted, with patches and single pixels of other labels."""
    predictions = np.roll(truth, rng.integers(-2, 3, 2), axis=(0, 1))
    for _ in range(4):
        top, left = rng.integers(0, truth.shape[0] - 6), rng.integers(0, truth.shape[1] - 6)
        predictions[top : top + 6, left : left + 9] = rng.integers(0, 34)
    noise = rng.random(truth.shape) < 0.05
    predictions[noise] = rng.integers(0, 34, noise.sum())
    return predictions


def random_masks(rng: np.random.Generator, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks (P, H, W) bool, label ids (P,) and scores (P,): regions shifted and cut, some twice, some of another label.

    Scores have two decimals, so that some are equal; one mask is empty.
    """
    values = rng.permutation(np.repeat(np.unique(regions), 2))
    masks, labels = [np.zeros(regions.shape, np.bool_)], [26]
    for value in values:
        label = value // INSTANCE_FACTOR if value >= INSTANCE_FACTOR else value
        if label < 24:
            continue
        shifted = np.roll(regions == value, rng.integers(-2, 3, 2), axis=(0, 1))
        masks.append(shifted & (rng.random(regions.shape) > rng.choice([0.0, 0.1, 0.4])))
        labels.append(label if rng.random() < 0.85 else int(rng.choice([24, 26, 33])))
    return np.array(masks), np.array(labels), rng.integers(1, 100, len(masks)) / 100
