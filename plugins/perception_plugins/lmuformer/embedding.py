"""From frames of features to tokens: convolutions over time (LMUFormer, section 3.2)."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from perception.models.mixers.traits import State

from .lif import LIF
from .norm import RealTokenNorm
from .streamed import Delay, StreamedPart, TemporalConv, state_of, stream_through

CONVS = 4                                            # before the one that tells places


class ConvReluNorm(nn.Module):
    """Convolution over time, ReLU, batch normalisation, in that order.

    Args:
        in_channels, channels, causal: see `TemporalConv`.
    """

    def __init__(self, in_channels: int, channels: int, *, causal: bool = False) -> None:
        super().__init__()
        self.conv, self.norm = TemporalConv(in_channels, channels, causal=causal), RealTokenNorm(channels)

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """Steps (B, N, C_in) -> (B, N', C), see `TemporalConv`."""
        x, behind = self.conv.stream(x, state, last=last)
        return self.norm(x.relu()), behind


class ConvNorm(nn.Module):
    """Convolution over time and batch normalisation, the former first or last; spiking neurons behind the latter.

    Args:
        in_channels, channels, causal: see `TemporalConv`.
        norm_first: norm and neurons before the convolution.
    """

    def __init__(self, in_channels: int, channels: int, *, causal: bool = False, norm_first: bool = False) -> None:
        super().__init__()
        self.conv = TemporalConv(in_channels, channels, causal=causal)
        self.norm, self.lif = RealTokenNorm(in_channels if norm_first else channels), LIF()
        self.norm_first = norm_first

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """Steps (B, N, C_in) -> (B, N', C), see `TemporalConv`; the state has the ``membrane`` too."""
        if self.norm_first:
            x, membrane = self.lif(self.norm(x), state.get("membrane"))
            x, behind = self.conv.stream(x, state, last=last)
        else:
            x, behind = self.conv.stream(x, state, last=last)
            x, membrane = self.lif(self.norm(x), state.get("membrane"))
        return x, {**behind, "membrane": membrane}


class FrameEmbedding(nn.Module):
    """Layers of convolutions, and another whose output is added to theirs, which tells the order of the steps.

    Args:
        in_channels: features F of a frame.
        channels: width C of the tokens.
        causal: see `TemporalConv`; else a token waits for the five frames behind its own.
        kind: of the layers: "numbers" without spiking neurons; "membrane" with them, where the sums are of numbers that
            membranes read; "spikes", where they are sums of spikes.
    """

    def __init__(self, in_channels: int, channels: int, *, causal: bool = False, kind: str = "numbers") -> None:
        super().__init__()
        layer = ConvReluNorm if kind == "numbers" else ConvNorm
        widths = [in_channels, *[channels] * CONVS]
        self.layers = nn.ModuleList(layer(*pair, causal=causal) for pair in pairwise(widths))
        if kind == "membrane":
            self.layers[-1] = TemporalConv(channels, channels, causal=causal)
        self.places: TemporalConv | ConvNorm
        if kind == "numbers":
            self.places = TemporalConv(channels, channels, causal=causal)
        else:
            self.places = ConvNorm(channels, channels, causal=causal, norm_first=kind == "membrane")
        self.delay = Delay(0 if causal else 1)

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """Frames (B, N, F) -> the tokens that are ready (B, N', C)."""
        layers = [(str(number), cast(StreamedPart, layer)) for number, layer in enumerate(self.layers)]
        x, behind = stream_through(layers, x, state_of("layers", state), last=last)
        places, looked = self.places.stream(x, state_of("places", state), last=last)
        x, waiting = self.delay.stream(x, state_of("delay", state), last=last)
        parts = {"layers": behind, "places": looked, "delay": waiting}
        return x + places, {f"{part}.{key}": value for part, own in parts.items() for key, value in own.items()}
