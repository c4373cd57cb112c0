"""The cell of LMUFormer: one number of each token drives a memory, which the token is read together with."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .memory import LegendreMemory

SEGMENT = 2048                                       # tokens whose memories are held at once, and stay in a cache


class LMUCell(nn.Module):
    """A Legendre memory unit without recurrent weights (LMUFormer, section 3.1).

    u_n = relu(w x_n + b) drives the memory m; h_n = relu(W [m_n; x_n] + b) reads it.

    Args:
        channels: width I of the tokens.
        hidden: width D of what is given.
        memory: coefficients M of the memory.
        theta: its window in steps.
        form, chunk: how it runs over a whole sequence, see `LegendreMemory`.
    """

    def __init__(
        self, channels: int, hidden: int, *, memory: int, theta: float, form: str = "chunks", chunk: int = 16
    ) -> None:
        super().__init__()
        self.signal = nn.Linear(channels, 1)
        self.memory = LegendreMemory(memory, theta, form=form, chunk=chunk)
        self.read = nn.Linear(memory + channels, hidden)

    def drive(self, x: Tensor) -> Tensor:
        """The signal (B, N, 1) of tokens (B, N, I)."""
        return self.signal(x).relu()

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence (B, N, I) -> (B, N, D)."""
        return self.stream(x)[0]

    def stream(self, x: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next tokens (B, N, I) and the memory (B, M), None if empty -> (B, N, D), and the memory behind them."""
        read = []
        for part in x.split(SEGMENT if self.memory.form == "chunks" else max(x.shape[1], 1), dim=1):
            behind, memory = self.memory.resume(self.drive(part)[:, :, 0], memory)         # (B, n, M), (B, M)
            read.append(self.read(torch.cat([behind.to(x.dtype), part], dim=2)).relu())
        return torch.cat(read, dim=1), cast(Tensor, memory)
