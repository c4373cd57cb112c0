"""Distinct labels of a map, found by its runs of equal labels: maps of pictures are made of large patches."""

from __future__ import annotations

import numpy as np


def compact(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The (L,) distinct labels of a map, rising, and the place of each element's label in them, in the map's shape."""
    values, run_of, lengths = label_runs(labels.ravel())
    return values, np.repeat(run_of, lengths).reshape(labels.shape)


def label_runs(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(L,) distinct labels of a row, rising, and of each run of equal ones its place among them and its length."""
    begins = np.flatnonzero(np.concatenate([np.ones(min(labels.size, 1), np.bool_), labels[1:] != labels[:-1]]))
    values, run_of = np.unique(labels[begins], return_inverse=True)
    return values, run_of, np.diff(begins, append=labels.size)
