"""What an image backbone can be given."""

from __future__ import annotations

from torch import Tensor


def check_images(images: Tensor, channels: int = 3) -> None:
    """Raise ValueError unless ``images`` is (B, channels, H, W) with at least one pixel a picture."""
    if images.dim() != 4 or images.shape[1] != channels or 0 in images.shape[2:]:
        raise ValueError(f"images must be (B, {channels}, H, W) with H, W >= 1, got {tuple(images.shape)}")
