"""Frames of one labelled picture for the tests of transforms."""

from __future__ import annotations

import torch

from perception.structures import SE3, Calibration, Camera, Frame, PixelLabels


def labelled_frame(rows: int = 40, columns: int = 60, token: str = "a") -> Frame:
    """A picture whose red and green are row and column, and whose labels are the same: class row, instance column."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    intrinsics = torch.tensor([[30.0, 0, columns / 2], [0, 30, rows / 2], [0, 0, 1]], dtype=torch.float64)
    pose = SE3(torch.tensor([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), torch.zeros(3))
    image = torch.stack([row, column, torch.zeros_like(row)]).to(torch.uint8)
    camera = Camera(
        Calibration(intrinsics, pose, columns, rows), 0, image=image, labels=PixelLabels(row, column + 1)
    )
    return Frame(token, 0, cameras={"front": camera})
