"""What every image backbone refuses."""

from __future__ import annotations

from torch import Tensor


def check_images(images: Tensor, least: int = 1) -> None:
    """Raise ValueError unless ``images`` are (B, 3, H, W) with both sides of at least ``least`` pixels."""
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
    if min(images.shape[2], images.shape[3]) < least:
        raise ValueError(f"images must be at least {least} x {least} pixels, got {images.shape[2]} x {images.shape[3]}")
