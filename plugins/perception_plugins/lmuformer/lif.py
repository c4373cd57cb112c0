"""Leaky integrate-and-fire neurons, which turn numbers into spikes over time (LMUFormer, section 2.2)."""

from __future__ import annotations

from torch import Tensor, nn

from perception_ops import lif_scan


class LIF(nn.Module):
    """A neuron for each channel, see `lif_scan`.

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
        return lif_scan(x, membrane, self.threshold)

    def extra_repr(self) -> str:
        return f"threshold={self.threshold}"
