"""Leaving mixed precision where numbers need all their bits."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device: str) -> AbstractContextManager[object]:
    """No autocast on a type of device; the meta device, which only tells shapes, has none to turn off."""
    return torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
