"""Mamba's block as a token mixer: causal, and both ways as in Vision Mamba."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits, State
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .parameters import inner_width, rank_of
from .selective_path import SelectivePath


@MODELS.register_module(role="token_mixer")
class MambaMixer(nn.Module):
    """Each token sees those before it through a state of constant size: O(N) time, and token by token O(1).

    "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (Gu & Dao, 2023), section 3.4.

    Args:
        channels: width C of the tokens.
        state: numbers that each inner channel carries on.
        kernel: tokens that the convolution before the scan sees.
        expand: inner width over C.
        rank: of the step sizes; None is a sixteenth of C, rounded up.

    Raises:
        ValueError: ``rank`` or the inner width is below 1.
    """

    TRAITS = MixerTraits(cost="N", causal="always", streaming=True, masked=True)

    def __init__(
        self, channels: int, *, state: int = 16, kernel: int = 4, expand: float = 2, rank: int | None = None
    ) -> None:
        super().__init__()
        inner = inner_width(channels, expand)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.path = SelectivePath(inner, state=state, kernel=kernel, rank=rank_of(channels, rank))
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False count as 0, change no state and become 0.

        ``size`` is not needed: tokens are a sequence.
        """
        if x.shape[1] == 0:
            return x
        inner, gate = self.in_proj(keep_real(x, mask)).transpose(1, 2).chunk(2, dim=1)     # (B, inner, N) each
        y, _ = self.path(inner, gate, mask)
        return keep_real(self.out_proj(y.transpose(1, 2)), mask)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Go on from a state, see `StreamingMixer`: (B, N, C) -> (B, N, C) and the state behind.

        ``conv`` (B, inner, kernel) holds the last tokens before the convolution, oldest first, ``ssm`` (B, inner,
        state) what the scan carries on; float32, or float64 of such tokens.
        """
        inner, gate = self.in_proj(x).transpose(1, 2).chunk(2, dim=1)                      # (B, inner, N) each
        dtype = torch.promote_types(x.dtype, torch.float32)
        if state is None:
            state = {"conv": inner.new_zeros(*inner.shape[:2], self.path.kernel, dtype=dtype)}
        y, ssm = self.path(inner, gate, None, state["conv"][..., 1:].to(inner.dtype), state.get("ssm"))
        last = torch.cat([state["conv"], inner.to(dtype)], 2)[..., -self.path.kernel :]
        return self.out_proj(y.transpose(1, 2)), {"conv": last, "ssm": ssm}


@MODELS.register_module(role="token_mixer")
class BiMambaMixer(nn.Module):
    """Two scans of the same projection, one of them from the end, and their mean: O(N) time.

    "Vision Mamba" (Zhu et al., ICML 2024), section 3.3; the mean in place of the sum is what all releases have.

    Args:
        channels, state, kernel, expand, rank: see `MambaMixer`.

    Raises:
        ValueError: ``rank`` or the inner width is below 1.
    """

    TRAITS = MixerTraits(cost="N", causal="never", streaming=False, masked=True)

    def __init__(
        self, channels: int, *, state: int = 16, kernel: int = 4, expand: float = 2, rank: int | None = None
    ) -> None:
        super().__init__()
        inner, rank = inner_width(channels, expand), rank_of(channels, rank)
        self.in_proj = nn.Linear(channels, 2 * inner, bias=False)
        self.ahead = SelectivePath(inner, state=state, kernel=kernel, rank=rank)
        self.back = SelectivePath(inner, state=state, kernel=kernel, rank=rank)
        self.out_proj = nn.Linear(inner, channels, bias=False)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False count as 0, change no state and become 0.

        ``size`` is not needed: tokens are a sequence.
        """
        if x.shape[1] == 0:
            return x
        inner, gate = self.in_proj(keep_real(x, mask)).transpose(1, 2).chunk(2, dim=1)     # (B, inner, N) each
        ahead, _ = self.ahead(inner, gate, mask)
        back, _ = self.back(inner.flip(2), gate.flip(2), None if mask is None else mask.flip(1))
        y = (ahead + back.flip(2)) / 2
        return keep_real(self.out_proj(y.transpose(1, 2)), mask)
