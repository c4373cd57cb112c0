"""Parts of a network that take a sequence piece by piece, and the state that they keep between two pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.mixers.traits import State

KERNEL = 3                                           # steps that a convolution over time looks at
MEMBRANE = "membrane"                                # what the names of the neurons' states end in


class StreamedPart(Protocol):
    """What takes the next steps of a sequence."""

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """Steps (B, N, C) -> those that are ready (B, N', C'), and the state behind; an absent entry begins anew.

        A part that looks ahead gives the steps that it owes when these are the ``last`` ones.
        """
        ...


def stream_through(
    parts: Iterable[tuple[str, StreamedPart]], x: Tensor, state: State, *, last: bool = False
) -> tuple[Tensor, State]:
    """Run parts one behind the other; the entries of each in the state have its name in front."""
    behind: State = {}
    for name, part in parts:
        x, own = part.stream(x, state_of(name, state), last=last)
        behind |= {f"{name}.{key}": value for key, value in own.items()}
    return x, behind


def state_of(name: str, state: State) -> State:
    """The entries of a state that belong to the part of that name, without it."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def membranes_of(state: State) -> State:
    """The membranes of the neurons alone: what stays when another sequence begins and nothing is reset."""
    return {key: value for key, value in state.items() if key.endswith(MEMBRANE)}


class TemporalConv(nn.Module):
    """A convolution over three steps without a bias, zeros before the first one and behind the last.

    Args:
        in_channels: width of the steps.
        channels: width of what is given.
        causal: look at a step and the two before it, rather than at the one before and the one after: another network,
            whose training is its own, without the delay.
    """

    def __init__(self, in_channels: int, channels: int, *, causal: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, channels, KERNEL, bias=False)
        self.ahead = 0 if causal else KERNEL // 2

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """(B, N, C_in) -> (B, N', C), as many steps as have all that they look at; the state is the ``past`` ones.

        ``past`` is (B, 2, C_in), or (B, 1, C_in) before the first step of one that looks ahead.
        """
        past = state.get("past")
        past = x.new_zeros(len(x), KERNEL - 1 - self.ahead, x.shape[2]) if past is None else past.to(x)
        seen = torch.cat([past, x], dim=1)
        seen = F.pad(seen, (0, 0, 0, self.ahead)) if last else seen
        if seen.shape[1] < KERNEL:
            return x.new_zeros(len(x), 0, self.conv.out_channels), {"past": seen}
        return self.conv(seen.transpose(1, 2)).transpose(1, 2), {"past": seen[:, 1 - KERNEL :].clone()}


class Delay(nn.Module):
    """Keeps steps back until as many have come behind each as a part beside it looks ahead.

    Args:
        steps: how many.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def stream(self, x: Tensor, state: State, *, last: bool = False) -> tuple[Tensor, State]:
        """(B, N, C) -> (B, N', C); the state is the steps ``waiting`` (B, at most ``steps``, C)."""
        waiting = state.get("waiting")
        queue = x if waiting is None else torch.cat([waiting.to(x), x], dim=1)
        ready = queue.shape[1] if last else max(queue.shape[1] - self.steps, 0)
        return queue[:, :ready], {"waiting": queue[:, ready:].clone()}
