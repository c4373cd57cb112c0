"""Scans of points with panoptic labels, and predictions that err in every way the metrics tell apart."""

from __future__ import annotations

import numpy as np

NUM_CLASSES, FIRST_STUFF = 17, 11


def random_scene(rng: np.random.Generator, num_scans: int, num_points: int = 400) -> tuple[list[np.ndarray], ...]:
    """True and predicted labels of a scene: objects of many sizes that are cut, switched, misnamed and missed."""
    stuff = 1000 * rng.integers(FIRST_STUFF, NUM_CLASSES, 3)
    things = 1000 * rng.integers(1, FIRST_STUFF, 6) + rng.integers(1, 4, 6)
    objects = np.concatenate([[0], stuff, np.unique(things)])
    bounds = np.sort(rng.integers(0, num_points, len(objects) - 1))
    ids = objects.copy()                                    # under which the predictions have them
    truth, predictions = [], []
    for _ in range(num_scans):
        moved = np.clip(bounds + rng.integers(-8, 9, len(bounds)), 0, num_points)
        place = np.searchsorted(np.sort(moved), np.arange(num_points), side="right")
        switched = (rng.random(len(objects)) < 0.15) & (objects % 1000 > 0)
        ids = np.where(switched, ids + 10, ids)
        renamed = np.where(rng.random(len(objects)) < 0.1, 1000 * rng.integers(0, NUM_CLASSES, len(objects)), ids)
        renamed += np.where((renamed % 1000 == 0) & (renamed // 1000 < FIRST_STUFF) & (renamed > 0), 1, 0)
        shifted = np.clip(np.arange(num_points) + rng.integers(-12, 13), 0, num_points - 1)
        noise = rng.random(num_points) < 0.03
        predicted = renamed[place[shifted]]
        predicted[noise] = 1000 * rng.integers(1, NUM_CLASSES, noise.sum()) + 1
        truth.append(objects[place])
        predictions.append(predicted)
    return truth, predictions
