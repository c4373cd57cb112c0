"""Selective scan of a map along four ways (SS2D), as a module of maps and as a token mixer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import checked_size, keep_real
from perception.registry import MODELS
from perception_ops import selective_scan

from .cross_scan import cross_merge, cross_scan
from .parameters import first_rates, first_step_bias, first_step_weight, inner_width, masked_steps, rank_of

WAYS = 4


class SS2D(nn.Module):
    """Projection, depthwise convolution, scans along four ways with parameters of their own, their sum, projection.

    "VMamba" (Liu et al., NeurIPS 2024), sections 4.2 and 4.3. ``A_logs``, ``Ds`` and ``dt_projs_bias`` are to have no
    weight decay.

    Args:
        channels: width C.
        state: numbers N that each inner channel carries on.
        ratio: inner width over C, rounded down.
        gated: a gate SiLU(z) behind the norm of the sum, as in the first release ("vanilla").
        conv_bias: of the convolution.
        rank: of the step sizes; None is a sixteenth of C, rounded up.

    Raises:
        ValueError: ``rank`` or the inner width is below 1.
    """

    def __init__(
        self, channels: int, *, state: int = 1, ratio: float = 1.0, gated: bool = False, conv_bias: bool = False,
        rank: int | None = None,
    ) -> None:
        super().__init__()
        inner, rank = inner_width(channels, ratio), rank_of(channels, rank)
        self.gated, self.split = gated, (rank, state, state)
        self.in_proj = nn.Linear(channels, (2 if gated else 1) * inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=conv_bias)
        bound = inner**-0.5                                                        # torch's own of a linear layer
        self.x_proj_weight = nn.Parameter(torch.empty(WAYS, sum(self.split), inner).uniform_(-bound, bound))
        self.dt_projs_weight = nn.Parameter(first_step_weight(WAYS, inner, rank))
        self.dt_projs_bias = nn.Parameter(first_step_bias(WAYS, inner))
        self.A_logs = nn.Parameter(first_rates(WAYS * inner, state))
        self.Ds = nn.Parameter(torch.ones(WAYS * inner))
        self.out_norm = nn.LayerNorm(inner, eps=1e-5)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix the places of a map.

        Args:
            x: (B, H, W, C); 0 where the mask is False.
            mask: (B, H, W) bool, False where a place changes no state.

        Returns:
            (B, H, W, C), whatever comes out where the mask is False.
        """
        if x.shape[1] * x.shape[2] == 0:
            return x
        x, *gate = self.in_proj(x).chunk(2 if self.gated else 1, dim=-1)
        u = F.silu(self.conv2d(x.permute(0, 3, 1, 2)))                                     # (B, inner, H, W)
        y = self.out_norm(self._scan(u, mask).movedim(1, -1))                              # (B, H, W, inner)
        for z in gate:
            y = y * F.silu(z)
        return self.out_proj(y)

    def _scan(self, u: Tensor, mask: Tensor | None) -> Tensor:
        """(B, inner, H, W) -> the same."""
        keep = None if mask is None else mask[:, None]
        ways = cross_scan(u if keep is None else u.masked_fill(~keep, 0.0))                # (B, 4, inner, L)
        delta, B, C = (self.x_proj_weight @ ways).split(self.split, 2)                     # (B, 4, rank | N | N, L)
        delta, bias = self.dt_projs_weight @ delta, self.dt_projs_bias                     # (B, 4, inner, L)
        A = -torch.exp(self.A_logs)
        if keep is None:
            args = ways.flatten(1, 2), delta.flatten(1, 2), A, B, C, self.Ds
            y, _ = selective_scan(*args, delta_bias=bias.flatten(), delta_softplus=True)
        else:
            steps = masked_steps(delta, bias[:, :, None], cross_scan(keep))
            y, _ = selective_scan(ways.flatten(1, 2), steps.flatten(1, 2), A, B, C, self.Ds)
        size = (u.shape[2], u.shape[3])
        return cross_merge(y.unflatten(1, (WAYS, -1)), size).unflatten(2, size)


@MODELS.register_module(role="token_mixer")
class SS2DMixer(SS2D):
    """`SS2D` of tokens that form a map; without its size they are one row. O(N) time.

    Args:
        channels, state, ratio, gated, conv_bias, rank: see `SS2D`.
    """

    TRAITS = MixerTraits(cost="N", causal="never", streaming=False, masked=True)

    def forward(    # type: ignore[override]  # of tokens
        self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False count as 0, change no state and become 0.

        Raises:
            ValueError: the size is not that of the tokens.
        """
        size = checked_size((1, x.shape[1]) if size is None else size, x, type(self).__name__)
        places = None if mask is None else mask.unflatten(1, size)
        mixed = super().forward(keep_real(x, mask).unflatten(1, size), places)
        return keep_real(mixed.flatten(1, 2), mask)
