"""A Legendre memory as the token mixer (LMUFormer, section 3.2)."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.mixers.traits import MixerTraits, State
from perception.models.real_first import back_in_place, real_first
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .cell import LMUCell
from .norm import RealTokenNorm


@MODELS.register_module(role="token_mixer")
class LMUMixer(nn.Module):
    """Tokens read what a memory of the last ``theta`` of them holds; a linear layer and a norm follow.

    Args:
        channels: width C of the tokens.
        memory: coefficients M of the memory; None is ``channels``, as published.
        theta: window of the memory in tokens; published for sequences of 128.
        norm: "batch" as published, "none" for tokens whose statistics are no use, such as single steps of training.
        form: "chunks" (cost N) or "fft" (cost N log N) over whole sequences, see `LegendreMemory`; both give the same.
        chunk: tokens of one product of the former.

    Raises:
        ValueError: ``norm`` or ``form`` is unknown, or a size is below 1.
    """

    TRAITS = MixerTraits(cost="N", causal="always", streaming=True, masked=True)

    def __init__(
        self, channels: int, *, memory: int | None = None, theta: float = 128, norm: str = "batch",
        form: str = "chunks", chunk: int = 16,
    ) -> None:
        super().__init__()
        memory = channels if memory is None else memory
        self.cell = LMUCell(channels, channels, memory=memory, theta=theta, form=form, chunk=chunk)
        self.proj = nn.Linear(channels, channels)
        self.norm = RealTokenNorm(channels, norm)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) in their order -> (B, N, C); tokens where ``mask`` (B, N) is False are passed over and become 0.

        ``size`` is not needed: the order counts alone.
        """
        if mask is None:
            return self.norm(self.proj(self.cell(x)))
        x, places = real_first(x, mask)
        mixed = back_in_place(self.proj(self.cell(x)), places)
        return keep_real(self.norm(mixed, mask), mask)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C) -> (B, N, C) and the state: ``memory`` (B, M), empty where it is absent.

        Equal to `forward` in evaluation, and with ``norm="none"`` in training too.
        """
        hidden, memory = self.cell.stream(x, (state or {}).get("memory"))
        return self.norm(self.proj(hidden)), {"memory": memory}
