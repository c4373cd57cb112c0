"""Leaky integrate-and-fire neurons, which turn numbers into spikes over time (LMUFormer, section 2.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

TAU = 2.0                                            # of the leak; steps in which a membrane forgets
SLOPE = 4.0                                          # of the sigmoid whose derivative stands for that of a spike


class LIF(nn.Module):
    """A neuron for each channel: v <- v + (x - v) / 2; where v >= threshold it spikes, and v <- 0.

    The gradient of a spike is the derivative of sigmoid(4 (v - threshold)); that of the reset is left out.

    Args:
        threshold: of the membrane.
    """

    def __init__(self, threshold: float = 1.0) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor, membrane: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Run over time.

        Args:
            x: (B, N, C), N steps.
            membrane: (B, C) before the first of them; None is 0. It is left as it is.

        Returns:
            Spikes (B, N, C), each 0 or 1, and the membranes (B, C) behind the last step; float32 at least.
        """
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        membrane = x.new_zeros(len(x), x.shape[2]) if membrane is None else membrane.to(x)
        if x.shape[1] == 0:
            return x, membrane
        return _Spikes.apply(x, membrane, self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"


class _Spikes(torch.autograd.Function):
    """The loop over time, of which the membranes before each reset are kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
        reached, fired = [], []
        for row in x.unbind(1):
            membrane = membrane.add(row - membrane, alpha=1 / TAU)
            reached.append(membrane)
            fired.append(membrane >= threshold)
            membrane = membrane.masked_fill(fired[-1], 0.0)
        every = torch.stack(fired, dim=1).to(x.dtype)                                      # (B, N, C)
        ctx.save_for_backward(torch.stack(reached, dim=1), every)
        ctx.threshold = threshold
        return every, membrane

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        reached, spikes = ctx.saved_tensors                                                # (B, N, C) each
        soft = torch.sigmoid(SLOPE * (reached - ctx.threshold))
        own, kept = grads[0] * SLOPE * soft * (1 - soft), 1 - spikes                       # (B, N, C) each
        later, found = grads[1], []                                                        # of what a reset left
        for now, share in zip(reversed(own.unbind(1)), reversed(kept.unbind(1)), strict=True):
            reached_by = torch.addcmul(now, later, share)
            found.append(reached_by / TAU)
            later = reached_by * (1 - 1 / TAU)
        return torch.stack(found[::-1], dim=1), later, None
