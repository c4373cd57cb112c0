"""The matrices of the Legendre memory (LMUFormer, section 3; "Legendre Memory Units", Voelker et al., NeurIPS 2019).

All is computed in float64 by NumPy, so that neither autocast nor tracing nor a default device reaches it, and kept.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.linalg import expm

Array = np.ndarray


@lru_cache(maxsize=32)
def legendre_matrices(memory: int, theta: float) -> tuple[Array, Array]:
    """The memory's own step and how a sample enters it, by zero-order hold with a step of 1.

    Args:
        memory: coefficients M that a window of the past is kept in.
        theta: length of the window in steps.

    Returns:
        A (M, M) and B (M,), float64, of m_n = A m_(n-1) + B u_n.

    Raises:
        ValueError: ``memory`` is below 1 or ``theta`` not above 0.
    """
    if memory < 1 or theta <= 0:
        raise ValueError(f"memory must be >= 1 and theta > 0, got {memory} and {theta}")
    row, column = np.mgrid[:memory, :memory]
    rate = (2 * np.arange(memory) + 1) / theta
    signs = np.where(row < column, -1.0, (-1.0) ** (row - column + 1))
    continuous, drive = rate[:, None] * signs, rate * (-1.0) ** np.arange(memory)
    step = expm(continuous)
    return step, np.linalg.solve(continuous, (step - np.eye(memory)) @ drive)


@lru_cache(maxsize=32)
def rounded_matrices(memory: int, theta: float) -> tuple[Array, Array]:
    """A and B as the float32 numbers that the recurrence has, as float64; see `legendre_matrices`."""
    step, drive = legendre_matrices(memory, theta)
    return step.astype(np.float32).astype(np.float64), drive.astype(np.float32).astype(np.float64)


@lru_cache(maxsize=4)
def impulse_response(memory: int, theta: float, length: int) -> Array:
    """What the memory holds t steps after a sample of 1: H (M, L) float32, column t = A^t B.

    The first columns make as many more by one power of A, until there are enough.
    """
    power, drive = rounded_matrices(memory, theta)
    columns = drive[:, None]
    while columns.shape[1] < length:
        columns = np.concatenate([columns, power @ columns], axis=1)
        power = power @ power
    return columns[:, :length].astype(np.float32)


@lru_cache(maxsize=4)
def step_powers(memory: int, theta: float, count: int) -> Array:
    """A^1 to A^count, (count, M, M) float32."""
    step, _ = rounded_matrices(memory, theta)
    powers = [step]
    while len(powers) < count:
        powers.append(step @ powers[-1])
    return np.stack(powers).astype(np.float32)
