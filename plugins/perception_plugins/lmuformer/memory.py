"""A Legendre memory of one signal, for many samples at once or for a few at a time."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.autocast import without_autocast

from .legendre import impulse_response, step_powers

FORMS = ("chunks", "fft")


class LegendreMemory(nn.Module):
    """The coefficients of the last ``theta`` samples in Legendre polynomials; older ones fade (LMUFormer, section 3).

    m_n = A m_(n-1) + B u_n, with nothing to be learned. Both forms compute it in float32 at least. Its buffers are
    made anew from the arguments and are no part of a state_dict.

    Args:
        memory: coefficients M.
        theta: length of the window in steps.
        form: of what begins empty: "fft", one convolution of the whole sequence, of cost N log N; "chunks", products of
            matrices, of cost N, which any exporter takes and what goes on from a memory always uses.
        chunk: samples of one such product.

    Raises:
        ValueError: ``form`` is none of the two, or ``chunk`` below 1; or as `legendre_matrices`.
    """

    powers: Tensor
    entering: Tensor

    def __init__(self, memory: int, theta: float, *, form: str = "chunks", chunk: int = 16) -> None:
        super().__init__()
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
        if chunk < 1:
            raise ValueError(f"chunk must be >= 1, got {chunk}")
        self.memory, self.theta, self.form, self.chunk = memory, theta, form, chunk
        powers = torch.as_tensor(step_powers(memory, theta, chunk))                        # (T, M, M), A^1 to A^T
        self.register_buffer("powers", powers, persistent=False)
        self.register_buffer("entering", torch.as_tensor(_entering(memory, theta, chunk)), persistent=False)

    def forward(self, signal: Tensor) -> Tensor:
        """Samples (B, N) of a signal -> the memory behind each (B, N, M), which begins empty."""
        return self.resume(signal)[0]

    def empty(self, signal: Tensor) -> Tensor:
        """The memory (B, M) before the first sample of a signal (B, N)."""
        return signal.new_zeros(len(signal), self.memory, dtype=torch.promote_types(signal.dtype, torch.float32))

    def convolve(self, signal: Tensor) -> Tensor:
        """`forward` by the Fourier transforms of the signal and of the impulse response, for any N >= 1."""
        length = signal.shape[1]
        with without_autocast(signal.device.type):
            signal = signal.to(torch.promote_types(signal.dtype, torch.float32))
            response = torch.from_numpy(impulse_response(self.memory, self.theta, length)).to(signal)   # (M, N)
            spectrum = torch.fft.rfft(response, n=2 * length)                              # (M, N + 1) complex
            product = torch.fft.rfft(signal, n=2 * length)[:, None] * spectrum             # (B, M, N + 1)
            return torch.fft.irfft(product, n=2 * length)[:, :, :length].transpose(1, 2)

    def resume(self, signal: Tensor, memory: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Go on from where the memory stands.

        Args:
            signal: (B, N), the next samples.
            memory: (B, M), left as it is; None is empty.

        Returns:
            The memory behind each sample (B, N, M), and behind the last one (B, M).
        """
        length = signal.shape[1]
        if memory is None and self.form == "fft" and length:
            behind = self.convolve(signal)
            return behind, behind[:, -1].clone()
        memory = self.empty(signal) if memory is None else memory
        if length == 0:
            return memory.new_zeros(len(signal), 0, self.memory), memory
        chunk = min(self.chunk, length)
        with without_autocast(signal.device.type):
            signal = F.pad(signal.to(memory.dtype), (0, -length % chunk)).unflatten(1, (-1, chunk))     # (B, G, T)
            entering = self.entering[:chunk, :chunk].to(memory).flatten(1)                 # (T, T * M)
            found = (signal @ entering).unflatten(2, (chunk, -1))                          # (B, G, T, M), of its own
            step = self.powers[chunk - 1].to(memory).mT
            before = [memory]
            for own in found[:, :-1, -1].unbind(1):
                before.append(before[-1] @ step + own)
            powers = self.powers[:chunk].to(memory).flatten(0, 1)                          # (T * M, M)
            found = found + (torch.stack(before, dim=1) @ powers.mT).unflatten(2, (chunk, -1))
            behind = found.flatten(1, 2)[:, :length]                                       # (B, N, M)
            return behind, behind[:, -1].clone()                                           # lets the others go


def _entering(memory: int, theta: float, chunk: int) -> np.ndarray:
    """What sample s of a chunk adds to the memory behind sample t of it, (T of s, T of t, M) float32."""
    delay = np.arange(chunk) - np.arange(chunk)[:, None]
    response = impulse_response(memory, theta, chunk).T[np.maximum(delay, 0)]              # (T, T, M)
    return np.where(delay[:, :, None] >= 0, response, np.float32(0))
