"""LMUFormer as a whole: frames of a sequence to scores of classes, at once or frame by frame."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from perception.models.metaformer.block import init_linear_layers
from perception.models.mixers.traits import State
from perception.registry import MODELS

from .blocks import LMUBlock, SpikingFeedForward
from .embedding import FrameEmbedding
from .feed_forward import NormedFeedForward
from .lif import LIF
from .mixer import LMUMixer
from .norm import RealTokenNorm
from .spiking_attention import SpikingAttentionMixer
from .spiking_mixer import SpikingLMUMixer
from .streamed import StreamedPart, state_of, stream_through

KINDS = ("numbers", "membrane", "spikes")


class Readout(nn.Module):
    """What a token is before its mean is taken: itself, or the spikes of its norm.

    Args:
        channels: width C of the tokens.
        spiking: the latter.
    """

    def __init__(self, channels: int, *, spiking: bool = False) -> None:
        super().__init__()
        self.norm = RealTokenNorm(channels) if spiking else None
        self.lif = LIF()

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """(B, N, C) -> (B, N, C); the state is the ``membrane`` if it spikes, else empty."""
        if self.norm is None:
            return x, {}
        x, membrane = self.lif(self.norm(x), state.get("membrane"))
        return x, {"membrane": membrane}


class Streamed(NamedTuple):
    """What some frames gave.

    Args:
        tokens: (B, N, C), those that were ready.
        logits: (B, N, K), row n of the mean of all tokens up to it.
        state: behind them.
    """

    tokens: Tensor
    logits: Tensor
    state: State


def _channel_mixer(kind: str, channels: int, ratio: float) -> nn.Module:
    if kind == "numbers":
        return NormedFeedForward(channels, ratio=ratio)
    return SpikingFeedForward(channels, ratio, norm_first=kind == "membrane")


@MODELS.register_module()
class LMUFormer(nn.Module):
    """A streaming sequence encoder with a state of constant size ("LMUFormer: Low Complexity Yet Powerful Spiking Model
    With Legendre Memory Units", Liu et al., ICLR 2024).

    Run frame by frame it equals the run over the whole sequence, in evaluation: our extension, after the sheet's text.

    Args:
        in_channels: features F of a frame.
        num_classes: K.
        channels: width C of the tokens.
        depth: blocks.
        ratio: hidden over outer width of the channel mixers.
        kind: "numbers"; "membrane" for the released spiking network, whose shortcuts add to membranes; "spikes" for the
            one whose shortcuts add spikes.
        mixer: "lmu", or "attention" among all tokens in its place, of the kind "membrane", which can't be streamed.
        heads: of the attention.
        theta: window of the memories in frames.
        memory: their coefficients; None is C, or 2 C of the spiking network.
        form: of the memories over whole sequences, see `LegendreMemory`.
        causal: convolutions that look at no later frame: another network, to be trained anew. Else a token waits for
            the five frames behind its own.

    Raises:
        ValueError: ``kind``, ``mixer`` or ``form`` is unknown, or there is no attention of that kind.
    """

    def __init__(
        self, in_channels: int = 128, num_classes: int = 35, *, channels: int = 256, depth: int = 1, ratio: float = 4.0,
        kind: str = "numbers", mixer: str = "lmu", heads: int = 8, theta: float = 128, memory: int | None = None,
        form: str = "fft", causal: bool = False,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if mixer not in ("lmu", "attention") or (mixer == "attention" and kind != "membrane"):
            raise ValueError(f"mixer must be lmu, or attention of the kind membrane, got {mixer!r} of {kind!r}")
        self.channels, self.num_classes = channels, num_classes
        self.embed = FrameEmbedding(in_channels, channels, causal=causal, kind=kind)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            token_mixer: nn.Module
            if mixer == "attention":
                token_mixer = SpikingAttentionMixer(channels, heads=heads)
            elif kind == "numbers":
                token_mixer = LMUMixer(channels, memory=memory, theta=theta, form=form)
            else:
                token_mixer = SpikingLMUMixer(channels, memory=memory, theta=theta, form=form, shortcut=kind)
            self.blocks.append(LMUBlock(token_mixer, _channel_mixer(kind, channels, ratio)))
        self.streams = mixer == "lmu"
        self.readout = Readout(channels, spiking=kind == "membrane")
        self.head = nn.Linear(channels, num_classes)
        init_linear_layers(self)

    def forward(self, x: Tensor) -> Tensor:
        """A whole sequence of frames (B, N, F) -> logits (B, K); membranes begin at 0.

        Raises:
            ValueError: there is no frame.
        """
        if x.shape[1] == 0:
            raise ValueError(f"a sequence must have frames, got {tuple(x.shape)}")
        return self.stream(x, last=True).logits[:, -1]

    def stream(self, x: Tensor, state: State | None = None, *, last: bool = False) -> Streamed:
        """The next frames of a sequence.

        Args:
            x: (B, N, F).
            state: behind those before, left as it is; an entry that is absent begins anew, so that `membranes_of` of
                the state behind a sequence begins another one without a reset of its neurons.
            last: the sequence ends with these: also give the tokens that waited for frames that do not come.

        Raises:
            ValueError: it has attention, and this is not a whole sequence.
        """
        state = state or {}
        if not (self.streams or (last and not any(key.endswith("past") for key in state))):
            raise ValueError("attention looks at all tokens: give the whole sequence at once, with last=True")
        tokens, behind = stream_through([("embed", self.embed)], x, state, last=last)
        if tokens.shape[1] == 0:
            kept = {key: value for key, value in state.items() if not key.startswith("embed.")}
            return Streamed(tokens, tokens.new_zeros(len(x), 0, self.num_classes), {**kept, **behind})
        parts = [(f"blocks.{i}", cast(StreamedPart, block)) for i, block in enumerate(self.blocks)]
        tokens, of_blocks = stream_through(parts, tokens, state)
        read, membrane = self.readout.stream(tokens, state_of("readout", state))
        logits, mean = self._running(read, state_of("mean", state))
        behind |= of_blocks | {f"readout.{key}": value for key, value in membrane.items()}
        return Streamed(tokens, logits, behind | {f"mean.{key}": value for key, value in mean.items()})

    def step(self, x: Tensor, state: State | None = None) -> tuple[Tensor | None, Tensor | None, State]:
        """One frame (B, F) -> a token (B, C) and the logits (B, K) up to it, None if none is ready, and the state."""
        tokens, logits, state = self.stream(x[:, None], state)
        return (tokens[:, -1], logits[:, -1], state) if tokens.shape[1] else (None, None, state)

    def flush(self, state: State) -> Streamed:
        """Tokens that still wait when a sequence ends, each layer of the embedding padded with zeros of its own."""
        first = state["embed.layers.0.past"]                                               # (B, 1 or 2, F)
        return self.stream(first[:, :0], state, last=True)

    def _running(self, read: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, N, K) of the means up to each of the next tokens (B, N, C), and the ``total`` and ``count``."""
        total, count = state.get("total"), state.get("count")
        total = read.new_zeros(len(read), read.shape[2]) if total is None else total.to(read)
        count = torch.zeros(len(read), dtype=torch.int64, device=read.device) if count is None else count
        sums = total[:, None] + read.cumsum(dim=1)                                         # (B, N, C)
        counts = count[:, None] + torch.arange(1, read.shape[1] + 1, device=read.device)   # (B, N)
        logits = self.head(sums / counts[:, :, None])
        return logits, {"total": sums[:, -1].clone(), "count": counts[:, -1].clone()}
