"""A plain recurrent net over tokens: what cleverer memories are compared with."""

from __future__ import annotations

from torch import Tensor, nn

from perception.registry import MODELS

from ..autocast import without_autocast
from ..token_layout import keep_real
from .traits import MixerTraits, State


@MODELS.register_module(role="token_mixer")
class RecurrentMixer(nn.Module):
    """Gated recurrent units from the first token to the last ("Learning Phrase Representations using RNN
    Encoder-Decoder for Statistical Machine Translation", Cho et al., EMNLP 2014), by torch's `torch.nn.GRU`.

    Args:
        channels: width C of the tokens, and of the state.
        layers: units on top of each other.

    Raises:
        ValueError: there is no layer.
    """

    TRAITS = MixerTraits(cost="N", causal="always", streaming=True, masked=True)

    def __init__(self, channels: int, *, layers: int = 1) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be >= 1, got {layers}")
        self.channels = channels
        self.gru = nn.GRU(channels, channels, layers, batch_first=True)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); tokens where ``mask`` (B, N) is False are stepped over and become 0.

        ``size`` is not needed: the order of the tokens is that in memory.
        """
        if x.shape[1] == 0:
            return x
        if mask is None:
            return self.stream(x)[0]
        order = (~mask).long().argsort(dim=1, stable=True)[:, :, None]                     # real tokens first
        mixed, _ = self.stream(x.take_along_dim(order, dim=1))
        return keep_real(mixed.take_along_dim(order.argsort(dim=1), dim=1), mask)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C), N >= 1 -> (B, N, C), and ``hidden`` (B, layers, C) float32 behind them.

        The units run in full precision, whatever autocast says: errors of a state add up.
        """
        dtype = self.gru.all_weights[0][0].dtype
        hidden = None if state is None else state["hidden"].to(dtype).transpose(0, 1).contiguous()
        with without_autocast(x.device.type):
            mixed, hidden = self.gru(x.to(dtype), hidden)
        return mixed.to(x.dtype), {"hidden": hidden.transpose(0, 1)}
