"""Seeded inputs of the ops, of the sizes that a frame has."""

from __future__ import annotations

import torch
from torch import Tensor

from perception_ops import voxelize, window_partition

from .clouds import street_boxes, street_pillars, street_points

RANGE, VOXEL, GRID = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), (0.32, 0.32, 8.0), (320, 320, 1)
BEV_GRID, WINDOW = (468, 468), (13, 13)            # FlatFormer's on Waymo
CHANNELS, HEADS, GROUP_SIZE = 128, 8, 144
HEAD_CHANNELS = 64
SCAN_CHANNELS, SCAN_STATES, SCAN_GROUPS = 768, 4, 4      # four ways across a map
TABLES, TABLE_ROWS, READ_CHANNELS = 64, 256, 512   # a layer of the smallest MemoryFormer


def cloud(size: int, device: torch.device) -> tuple:
    """What voxelize takes: points of one sample and a grid of pillars."""
    xyz = street_points(size, 3).to(device)
    return xyz, torch.zeros(size, dtype=torch.int64, device=device), VOXEL, RANGE, GRID


def segments(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Features of points, the pillar of each point, and the number of pillars."""
    coords, inverse, _ = voxelize(*cloud(size, device))
    return random_features(size, CHANNELS, dtype, device), inverse, len(coords)


def pillars(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, int, int, int]:
    """What bev_scatter takes: features of pillars, their cells, samples, rows and columns."""
    coords, samples = street_pillars(size, BEV_GRID)
    return random_features(size, CHANNELS, dtype, device), coords.to(device), samples, BEV_GRID[1], BEV_GRID[0]


def groups(
    size: int, dtype: torch.dtype, device: torch.device, group_size: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None]:
    """qk, v, slots, back and valid of tokens sorted along x."""
    coords, samples = street_pillars(size, BEV_GRID)
    partition = window_partition(coords.to(device), samples, BEV_GRID, WINDOW, group_size)
    order = partition.orders[0]
    back = torch.empty_like(order).scatter_(0, order, partition.win2flat)
    valid = None if bool(partition.valid.all()) else partition.valid
    qkv = random_features(size, 3 * CHANNELS, dtype, device)
    qk, v = qkv[:, : 2 * CHANNELS].contiguous(), qkv[:, 2 * CHANNELS :].contiguous()
    return qk, v, order[partition.flat2win], back, valid


def memory(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What lean_decode takes: one query, and so many keys and values."""
    query, key = (random_features(HEADS * rows, HEAD_CHANNELS, dtype, device) for rows in (1, size))
    key = key.view(1, HEADS, size, -1)
    return query.view(1, HEADS, 1, -1), key, key.flip(2)


def scans(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """What selective_scan takes: u, delta, A, B and C of so many steps, in four groups of channels."""
    u, delta = (random_features(SCAN_CHANNELS, size, dtype, device)[None] for _ in range(2))
    b, c = (random_features(SCAN_GROUPS * SCAN_STATES, size, dtype, device) for _ in range(2))
    inputs, outputs = (x.view(1, SCAN_GROUPS, SCAN_STATES, size) for x in (b, c))
    rates = -torch.arange(1.0, SCAN_STATES + 1, device=device).expand(SCAN_CHANNELS, -1).contiguous()
    return u, delta.abs() * 0.1, rates, inputs, outputs.flip(2)


def neurons(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What lif_scan takes: so many steps of neurons, and their membranes before."""
    x = 2 * random_features(size, CHANNELS, torch.float32, device)[None]
    return x, torch.zeros_like(x[:, 0])


def table_reads(size: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """What hash_lookup takes: scores and codes of tokens, and the tables."""
    codes = torch.randint(TABLE_ROWS, (size, TABLES), generator=torch.Generator().manual_seed(0)).to(device)
    tables = random_features(TABLES * TABLE_ROWS, READ_CHANNELS, dtype, device)
    return random_features(size, TABLES, dtype, device), codes, tables


def bev_boxes(size: int, device: torch.device, seed: int = 0) -> Tensor:
    """(size, 5) x, y, length, width, yaw."""
    return street_boxes(size, seed)[:, [0, 1, 3, 4, 6]].contiguous().to(device)


def random_features(rows: int, columns: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(rows, columns), normally distributed."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0)).to(device, dtype)
