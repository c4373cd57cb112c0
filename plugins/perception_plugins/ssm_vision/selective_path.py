"""One direction of a Mamba block: a short convolution, parameters that depend on its result, and the scan.

"Mamba" (Gu & Dao, 2023), section 3.4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception_ops import selective_scan

from .parameters import first_rates, first_step_bias, first_step_weight, masked_steps

PIECE = 4096                                         # tokens at a time, which fit into a cache


class SelectivePath(nn.Module):
    """Causal mixing along a sequence; tokens come after each other in the last dimension. Long ones go piece by piece.

    ``A_log``, ``D`` and ``dt_bias`` are to have no weight decay. The step sizes' weights are no linear layer, so that
    who initialises all of these leaves them alone.

    Args:
        inner: width of the scan.
        state: numbers N that each channel carries on.
        kernel: tokens that the convolution sees.
        rank: of the step sizes.
    """

    def __init__(self, inner: int, *, state: int, kernel: int, rank: int) -> None:
        super().__init__()
        self.kernel, self.split = kernel, (rank, state, state)
        self.conv1d = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.x_proj = nn.Linear(inner, sum(self.split), bias=False)
        self.dt_weight = nn.Parameter(first_step_weight(inner, rank))
        self.dt_bias = nn.Parameter(first_step_bias(inner))
        self.A_log = nn.Parameter(first_rates(inner, state))
        self.D = nn.Parameter(torch.ones(inner))

    def forward(
        self, x: Tensor, z: Tensor, mask: Tensor | None = None, before: Tensor | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Scan.

        Args:
            x, z: (B, inner, L) what goes in and its gate, L >= 1.
            mask: (B, L) bool, False where a token changes no state and is 0; ``x`` is 0 there already.
            before: (B, inner, kernel - 1), the last of ``x`` before these; None is 0.
            state: (B, inner, N) behind the tokens before; None is 0.

        Returns:
            (B, inner, L), and the state behind the last token, float32 at least.
        """
        before = x.new_zeros(*x.shape[:2], self.kernel - 1) if before is None else before
        window, outputs = torch.cat([before, x], 2), []
        for start in range(0, x.shape[2], PIECE):
            to = slice(start, start + PIECE)
            seen = window[..., start : start + PIECE + self.kernel - 1]
            y, state = self._piece(seen, z[..., to], None if mask is None else mask[:, to], state)
            outputs.append(y)
        assert state is not None                       # there is a token
        return torch.cat(outputs, 2), state

    def _piece(
        self, window: Tensor, z: Tensor, mask: Tensor | None, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The tokens of ``z``, of which ``window`` has those before too, and the state behind them."""
        u = F.silu(self.conv1d(window))                                                    # (B, inner, L)
        delta, B, C = self.x_proj(u.transpose(1, 2)).transpose(1, 2).split(self.split, 1)
        delta, bias, A = self.dt_weight @ delta, self.dt_bias, -torch.exp(self.A_log)
        if mask is None:
            return selective_scan(u, delta, A, B, C, self.D, z, bias, True, state)
        keep = mask[:, None]
        steps = masked_steps(delta, bias[:, None], keep)
        return selective_scan(u.masked_fill(~keep, 0.0), steps, A, B, C, self.D, z, initial_state=state)
