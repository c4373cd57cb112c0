"""The blocks of LMUFormer, and the channel mixer of the spiking ones (LMUFormer, sections 3.2 and 3.3)."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.traits import State, StreamingMixer

from .lif import LIF
from .norm import RealTokenNorm
from .streamed import state_of


class SpikingFeedForward(nn.Module):
    """Two linear layers among spiking neurons.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width.
        norm_first: norm, neurons and linear layer, twice, as with membrane shortcuts; else linear layer, norm and
            neurons.
    """

    def __init__(self, channels: int, ratio: float = 4.0, *, norm_first: bool = True) -> None:
        super().__init__()
        hidden = int(channels * ratio)
        self.fc1, self.fc2 = nn.Linear(channels, hidden), nn.Linear(hidden, channels)
        self.norm1 = RealTokenNorm(channels if norm_first else hidden)
        self.norm2 = RealTokenNorm(hidden if norm_first else channels)
        self.lif1, self.lif2 = LIF(), LIF()
        self.norm_first = norm_first

    def stream(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The next tokens (B, N, C) -> (B, N, C), and the two membranes (B, C) or (B, hidden) behind them."""
        behind: State = {}
        for number, (linear, norm, lif) in enumerate(
            ((self.fc1, self.norm1, self.lif1), (self.fc2, self.norm2, self.lif2)), start=1
        ):
            name = f"{number}_membrane"
            x = norm(x if self.norm_first else linear(x))
            x, behind[name] = lif(x, state.get(name))
            x = linear(x) if self.norm_first else x
        return x, behind


class LMUBlock(nn.Module):
    """x + token mixer, then x + channel mixer, without norms before them.

    Args:
        token_mixer: has a ``stream``, or takes a whole sequence at once.
        channel_mixer: has a ``stream``, or takes each token by itself.
    """

    def __init__(self, token_mixer: nn.Module, channel_mixer: nn.Module) -> None:
        super().__init__()
        self.token_mixer, self.channel_mixer = token_mixer, channel_mixer

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """The next tokens (B, N, C) -> (B, N, C); it looks at none ahead."""
        behind: State = {}
        for name, mixer in (("token_mixer", self.token_mixer), ("channel_mixer", self.channel_mixer)):
            if isinstance(mixer, StreamingMixer):
                mixed, own = mixer.stream(x, state_of(name, state))
                x, behind = x + mixed, behind | {f"{name}.{key}": value for key, value in own.items()}
            else:
                x = x + mixer(x)
        return x, behind
