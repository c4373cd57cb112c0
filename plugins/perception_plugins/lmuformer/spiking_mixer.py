"""A Legendre memory among spiking neurons as the token mixer (Spiking LMUFormer, section 3.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits, State
from perception.models.real_first import back_in_place, real_first
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .cell import SEGMENT
from .lif import LIF
from .memory import LegendreMemory
from .norm import RealTokenNorm


class SpikingLMUCell(nn.Module):
    """A Legendre memory unit whose signal, memory and output are spikes.

    Args:
        channels: width I of the tokens.
        hidden: width D of what is given.
        memory: coefficients M of the memory.
        theta: its window in steps.
        norm: before each neuron, see `RealTokenNorm`.
        form, chunk: how the memory runs over a whole sequence, see `LegendreMemory`.
    """

    def __init__(
        self, channels: int, hidden: int, *, memory: int, theta: float, norm: str = "batch", form: str = "chunks",
        chunk: int = 16,
    ) -> None:
        super().__init__()
        self.signal, self.signal_norm, self.signal_lif = nn.Linear(channels, 1), RealTokenNorm(1, norm), LIF()
        self.memory = LegendreMemory(memory, theta, form=form, chunk=chunk)
        self.memory_norm, self.memory_lif = RealTokenNorm(memory, norm), LIF()
        self.read, self.read_norm = nn.Linear(memory + channels, hidden), RealTokenNorm(hidden, norm)
        self.read_lif = LIF()

    def forward(self, x: Tensor, state: State, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Run over the next tokens.

        Args:
            x: (B, N, I), real tokens first.
            state: of `SpikingLMUMixer`; what is absent begins at 0.
            mask: (B, N) bool, of the real tokens, whose statistics the norms take.

        Returns:
            Spikes (B, N, D), and the state behind the last token.
        """
        signal, signal_v = self.drive(x, state.get("signal_membrane"), mask)
        memory, last = self.memory.resume(signal[:, :, 0], state.get("memory"))            # (B, N, M), (B, M)
        spikes, memory_v = self.memory_lif(self.memory_norm(memory, mask), state.get("memory_membrane"))
        hidden = self.read_norm(self.read(torch.cat([spikes, x.to(spikes)], dim=2)), mask)
        out, read_v = self.read_lif(hidden, state.get("read_membrane"))
        membranes = {"signal_membrane": signal_v, "memory_membrane": memory_v, "read_membrane": read_v}
        return out, {"memory": last, **membranes}

    def drive(
        self, x: Tensor, membrane: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The spikes (B, N, 1) that tokens (B, N, I) drive the memory with, and the membrane (B, 1) behind them."""
        spikes, membrane = self.signal_lif(self.signal_norm(self.signal(x), mask), membrane)
        return spikes, membrane


@MODELS.register_module(role="token_mixer")
class SpikingLMUMixer(nn.Module):
    """Spikes drive a memory and are read together with its spikes; a linear layer and a norm follow.

    Args:
        channels: width C of the tokens.
        memory: coefficients M of the memory; None is twice ``channels``, as published.
        theta: window of the memory in tokens; published for sequences of 128.
        norm: "batch" as published, or "none", with which only large tokens make spikes.
        form, chunk: how the memory runs over whole sequences, see `LegendreMemory`.
        shortcut: what the shortcut around it is of: "membrane", as released, numbers that neurons before the memory
            read; "spikes", which are the tokens, and what neurons behind the last norm give.

    Raises:
        ValueError: ``shortcut``, ``norm`` or ``form`` is unknown, or a size is below 1.
    """

    TRAITS = MixerTraits(cost="N", causal="always", streaming=True, masked=True)

    def __init__(
        self, channels: int, *, memory: int | None = None, theta: float = 128, norm: str = "batch",
        form: str = "chunks", chunk: int = 16, shortcut: str = "membrane",
    ) -> None:
        super().__init__()
        if shortcut not in ("membrane", "spikes"):
            raise ValueError(f"shortcut must be membrane or spikes, got {shortcut!r}")
        self.before = RealTokenNorm(channels, norm) if shortcut == "membrane" else None
        self.lif = LIF(threshold=1.0 if self.before is None else 0.5)
        self.cell = SpikingLMUCell(
            channels, channels, memory=2 * channels if memory is None else memory, theta=theta, norm=norm, form=form,
            chunk=chunk,
        )
        self.proj, self.norm = nn.Linear(channels, channels), RealTokenNorm(channels, norm)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) in their order -> (B, N, C); tokens where ``mask`` (B, N) is False are passed over and become 0.

        All membranes begin at 0. ``size`` is not needed: the order counts alone.
        """
        if mask is None:
            return self._run(x, {}, None)[0]
        x, places = real_first(x, mask)
        mixed, _ = self._run(x, {}, mask.gather(1, places))
        return keep_real(back_in_place(mixed, places), mask)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C) -> (B, N, C) and the state; what is absent from it begins at 0.

        ``memory`` is (B, M); ``outer_membrane`` (B, C), ``signal_membrane`` (B, 1), ``memory_membrane`` (B, M) and
        ``read_membrane`` (B, C) are those of the neurons. Equal to `forward` in evaluation, and with ``norm="none"`` in
        training too, but for spikes that the last bit of a sum decides.
        """
        return self._run(x, state or {}, None)

    def _run(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C), of which ``mask`` (B, N) is real; segment by segment where norms look at each."""
        if self.training or self.cell.memory.form != "chunks":
            return self._segment(x, state, mask)
        mixed = []
        for part in x.split(SEGMENT, dim=1):
            out, state = self._segment(part, state, None)
            mixed.append(out)
        return torch.cat(mixed, dim=1), state

    def _segment(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        outer = state.get("outer_membrane")
        if self.before is not None:
            spikes, membrane = self.lif(self.before(x, mask), outer)
            hidden, behind = self.cell(spikes, state, mask)
            mixed = self.norm(self.proj(hidden), mask)
        else:
            hidden, behind = self.cell(x, state, mask)
            mixed, membrane = self.lif(self.norm(self.proj(hidden), mask), outer)
        return mixed, {"outer_membrane": membrane, **behind}
