"""How well predicted connections fit the true ones, given which lanes were matched (OpenLane-V2 devkit 2.1).

Wang et al., "OpenLane-V2: A Topology Reasoning Benchmark for Unified 3D HD Mapping", NeurIPS 2023, with the rule of
version 2.1: a connection of a lane that was not found counts as predicted wrongly. Version 2.0 took it as no
connection, which gives higher numbers that must not be compared with these.
"""

from __future__ import annotations

import numpy as np

CERTAIN = 0.5                                              # a connection counts above it
JUST_ABOVE = CERTAIN + np.finfo(np.float32).eps


def vertex_precisions(
    truth: np.ndarray, predicted: np.ndarray, row_matches: np.ndarray, column_matches: np.ndarray
) -> np.ndarray:
    """Average precision of the neighbours of every vertex: those that rows point at, then those that point at columns.

    Args:
        truth: (G, H) 0 or 1, whether there is a connection from row to column.
        predicted: (P, Q) confidence of the connections of the predictions.
        row_matches: (P,) int64 row of the truth that each prediction takes; -1 for none.
        column_matches: (Q,) int64 column likewise; the same as ``row_matches`` for connections of lanes with lanes.

    Returns:
        (G + H,) in [0, 1]; 1 where there is no neighbour in either, 0 where in one of them only.
    """
    merged = (1.0 - truth) * JUST_ABOVE                    # (G, H) what stands for a pair that was not found
    rows, columns = np.flatnonzero(row_matches >= 0), np.flatnonzero(column_matches >= 0)
    merged[np.ix_(row_matches[rows], column_matches[columns])] = predicted[np.ix_(rows, columns)]
    return np.concatenate([_row_precisions(truth, merged), _row_precisions(truth.T, merged.T)])


def _row_precisions(truth: np.ndarray, merged: np.ndarray) -> np.ndarray:
    """(G,) average precision of the entries of each row, by falling confidence."""
    order = np.argsort(-merged, axis=1, kind="stable")
    is_claimed = np.take_along_axis(merged, order, axis=1) > CERTAIN                     # (G, H)
    is_hit = is_claimed & (np.take_along_axis(truth, order, axis=1) > CERTAIN)
    precision = np.cumsum(is_hit, axis=1) / np.arange(1, truth.shape[1] + 1)
    num_true, num_claimed = (truth > CERTAIN).sum(axis=1), is_claimed.sum(axis=1)
    summed = (precision * is_hit).sum(axis=1)
    return np.where(num_true > 0, summed / np.maximum(num_true, 1), np.where(num_claimed > 0, 0.0, 1.0))
