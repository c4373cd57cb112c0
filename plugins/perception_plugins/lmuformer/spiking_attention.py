"""Attention among spikes, without a softmax, which LMUFormer is compared with."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.autocast import without_autocast
from perception.models.mixers.traits import MixerTraits
from perception.models.real_first import back_in_place, real_first
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .lif import LIF
from .norm import RealTokenNorm

SCALE = 0.25                                         # of the sums, before the neurons that read them


@MODELS.register_module(role="token_mixer")
class SpikingAttentionMixer(nn.Module):
    """Queries, keys and values are spikes, and (q k^T) v is taken as q (k^T v), whose cost is linear in the tokens.

    The membrane-shortcut form of the sheet's "other variants", of which no output has been compared with the authors'
    code. The neurons run over the tokens in their order, yet every token looks at all others, so it can't be streamed.

    Args:
        channels: width C of the tokens.
        heads: of the attention; None takes as many as give each ``head_channels``, at least one.
        head_channels: width of a head if ``heads`` is None.
        norm: before the neurons, see `RealTokenNorm`.

    Raises:
        ValueError: ``channels`` is not divisible by ``heads``, or the norm unknown.
    """

    TRAITS = MixerTraits(cost="N", causal="never", streaming=False, masked=True)

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, norm: str = "batch"
    ) -> None:
        super().__init__()
        self.heads = max(channels // head_channels, 1) if heads is None else heads
        if channels % self.heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({self.heads})")
        self.before, self.lif = RealTokenNorm(channels, norm), LIF()
        self.q, self.k, self.v = (nn.Linear(channels, channels, bias=False) for _ in range(3))
        self.q_norm, self.k_norm, self.v_norm = (RealTokenNorm(channels, norm) for _ in range(3))
        self.mixed_lif = LIF(threshold=0.5)
        self.proj, self.norm = nn.Linear(channels, channels), RealTokenNorm(channels, norm)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) in their order -> (B, N, C); tokens where ``mask`` (B, N) is False are passed over and become 0.

        All membranes begin at 0. ``size`` is not needed: the order counts alone.
        """
        if mask is None:
            return self._mix(x, None)
        x, places = real_first(x, mask)
        return keep_real(back_in_place(self._mix(x, mask.gather(1, places)), places), mask)

    def _mix(self, x: Tensor, mask: Tensor | None) -> Tensor:
        spikes, _ = self.lif(self.before(x, mask))
        layers = ((self.q, self.q_norm), (self.k, self.k_norm), (self.v, self.v_norm))
        q, k, v = (self.lif(norm(linear(spikes), mask))[0] for linear, norm in layers)     # (B, N, C) each
        with without_autocast(x.device.type):
            q, k, v = (
                rows.unflatten(2, (self.heads, -1)).transpose(1, 2) for rows in (q, keep_real(k, mask), v)
            )                                                                              # (B, heads, N, D) each
            mixed = SCALE * (q @ (k.mT @ v))
        found, _ = self.mixed_lif(mixed.transpose(1, 2).flatten(2))
        return self.norm(self.proj(found), mask)
