"""What a mixer promises to whoever chooses among them, and how one is run token by token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from torch import Tensor

State = dict[str, Tensor]                          # every tensor has the batch in front; float32 unless it counts


@dataclass(frozen=True)
class MixerTraits:
    """The constant ``TRAITS`` of a mixer class.

    Args:
        cost: how time grows with the tokens N: "N", "N log N", "N^1.5" or "N^2".
        causal: whether a token sees only itself and those before it: never, always, or where an option asks for it.
        streaming: whether it is a `StreamingMixer`, at least where it is causal.
        masked: whether it takes a mask of real tokens.
    """

    cost: str
    causal: Literal["never", "always", "option"] = "never"
    streaming: bool = False
    masked: bool = True


@runtime_checkable
class StreamingMixer(Protocol):
    """A causal mixer that goes on from where it stopped, by a state whose size does not grow."""

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C), N >= 1, in their order -> what they become (B, N, C), and the state behind them.

        A sequence cut anywhere, with the state handed on, gives what the whole of it gives in one call, and what
        ``forward`` gives. None is the state before the first token; the one given is left as it is. A state can be
        detached, saved, moved, and its samples chosen by their index in the first dimension.

        Raises:
            ValueError: the mixer was built without its causal option.
        """
        ...
