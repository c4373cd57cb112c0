"""Where a patch lies, as sines and cosines that nothing learns, in MatViT's layout."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LONGEST_WAVE = 10_000.0


class SincosPosition(nn.Module):
    """Adds sin x, cos x, sin y and cos y of each patch, a quarter of the channels each; x is the column, y the row.

    Both count 0, 1, 2 ..., and the angle of channel j of a quarter is x * 10000^(-j / (C / 4)).

    Args:
        channels: width C.

    Raises:
        ValueError: ``channels`` is not divisible by 4.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % 4:
            raise ValueError(f"channels must be divisible by 4 for positions in quarters, got {channels}")
        self.channels = channels

    def forward(self, tokens: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, H * W, C) tokens of a map of H, W -> (B, H * W, C)."""
        return tokens + self.code(size, tokens.device).to(tokens.dtype)

    def code(self, size: tuple[int, int], device: torch.device | str | None = None) -> Tensor:
        """(H * W, C) float32, row by row."""
        quarter = self.channels // 4
        rate = LONGEST_WAVE ** (-torch.arange(quarter, device=device, dtype=torch.float32) / quarter)
        row, column = (torch.arange(length, device=device, dtype=torch.float32)[:, None] * rate for length in size)
        down = torch.cat([row.sin(), row.cos()], dim=1)                                  # (H, C / 2)
        across = torch.cat([column.sin(), column.cos()], dim=1)                          # (W, C / 2)
        height, width = size
        places = [across[None].expand(height, -1, -1), down[:, None].expand(-1, width, -1)]
        return torch.cat(places, dim=2).flatten(0, 1)
