"""ATLAS as a token mixer: a memory that takes a step of optimisation at every token."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.autocast import without_autocast
from perception.models.mixers.traits import MixerTraits, State
from perception.models.real_first import back_in_place, real_first
from perception.models.token_layout import keep_real
from perception.registry import MODELS

from .memories import MEMORIES
from .scan import Gates, Scan

GATE_BIASES = (3.0, 0.0, 1.0, 1.0)                   # of alpha, eta, theta and gamma, as the sheet suggests
SEGMENT = 2048                                       # tokens at least that are projected at once, and stay in a cache
NORM_FLOOR, NORM_EPS = 1e-6, 1e-6


@MODELS.register_module(role="token_mixer")
class AtlasMixer(nn.Module):
    """Each head has a small network that learns, while it reads, to give the values of the last tokens for their keys
    ("ATLAS: Learning to Optimally Memorize the Context at Test Time", 2025, arXiv 2505.23735).

    Certain: memory trained at test time; a loss over a sliding window; polynomial features of keys and queries; steps
    with momentum through Newton-Schulz; gates of the tokens; reading after the step; gradients at a chunk's first
    weights. Interpretation, since there is no official code: where convolutions, norms and gates stand, the skip in the
    memory, coefficients shared by heads, the output's norm and gate.

    Another ``chunk`` is another model: its gradients are taken at older weights. Without Newton-Schulz a step grows
    with the window, so a wide one, and a long chunk, want a smaller ``eta_max``, else weights may grow without bound.

    Args:
        channels: width C of the tokens.
        heads: H, each of width D = C / H; None takes as many as give each ``head_channels``.
        head_channels: D if ``heads`` is None.
        window: tokens that each step's loss is summed over; 1 is the delta rule.
        degree: of the features, 1 or 2; their number is 1 + D, or 1 + D + D^2.
        memory: "mlp", two layers and a skip, or "linear".
        hidden: width of the two layers; None is D.
        optimizer: "muon", "momentum" or "gd" (without momentum).
        chunk: tokens whose gradients are taken at the same weights; 1 is exact, one token after another.
        eta_max: upper bound of the size of a step.
        conv_kernel: tokens that the causal convolutions of queries, keys and values look at.
        checkpointing: in training, run a chunk again for the gradient instead of keeping what it computed.

    Raises:
        ValueError: a size is out of range, or ``memory`` or ``optimizer`` unknown.
    """

    TRAITS = MixerTraits(cost="N", causal="always", streaming=True, masked=True)

    def __init__(
        self, channels: int, *, heads: int | None = None, head_channels: int = 32, window: int = 16, degree: int = 1,
        memory: str = "mlp", hidden: int | None = None, optimizer: str = "muon", chunk: int = 32, eta_max: float = 0.1,
        conv_kernel: int = 4, checkpointing: bool = False,
    ) -> None:
        super().__init__()
        heads = max(channels // head_channels, 1) if heads is None else heads
        if channels % heads:
            raise ValueError(f"channels ({channels}) must be divisible by heads ({heads})")
        width = channels // heads
        self.heads, self.eta_max, self.degree = heads, eta_max, degree
        self.scan = Scan(memory, optimizer, window, chunk, checkpointing)
        self.q_proj, self.k_proj, self.v_proj, self.g_proj, self.o_proj = (
            nn.Linear(channels, channels, bias=False) for _ in range(5)
        )
        self.conv_q, self.conv_k, self.conv_v = (CausalConv(channels, conv_kernel) for _ in range(3))
        self.alpha_proj, self.eta_proj, self.theta_proj, self.gamma_proj = (
            nn.Linear(channels, heads) for _ in range(4)
        )
        self.poly_coef = nn.Parameter(taylor_coefficients(degree))
        self.memory_names = MEMORIES[memory].names
        features = sum(width**power for power in range(degree + 1))
        shapes = MEMORIES[memory].shapes(width, features, width if hidden is None else hidden)
        for name, shape in zip(self.memory_names, shapes, strict=True):
            self.register_parameter(name, nn.Parameter(torch.randn(heads, *shape) * shape[1] ** -0.5))
        self.out_norm = nn.RMSNorm(width, eps=NORM_EPS)
        self.init_weights()

    def init_weights(self) -> None:
        """Begin with gates that keep most of the weights and of the momentum, and take half of the largest step."""
        gates = (self.alpha_proj, self.eta_proj, self.theta_proj, self.gamma_proj)
        for gate, bias in zip(gates, GATE_BIASES, strict=True):
            nn.init.constant_(gate.bias, bias)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) in their order -> (B, N, C); tokens where ``mask`` (B, N) is False are passed over and become 0.

        ``size`` is not needed: the order counts alone.
        """
        if mask is None:
            return self._mix(x)
        x, places = real_first(x, mask)
        return keep_real(back_in_place(self._mix(x), places), mask)

    def _mix(self, x: Tensor) -> Tensor:
        """A whole sequence (B, N, C) -> (B, N, C), in segments of whole chunks."""
        state, mixed = self.start(x), []
        for part in x.split(-(-SEGMENT // self.scan.chunk) * self.scan.chunk, dim=1):
            read, state = self._read(part, state, 0)
            mixed.append(self._write(part, read))
        return torch.cat(mixed, dim=1)

    def stream(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next tokens (B, N, C), N >= 1 -> (B, N, C), and the state behind them.

        Of the memory the state has weights ``W*``, momenta ``S*`` and, if a chunk has several tokens, its first
        weights ``R*``, each (B, heads, rows, columns); of the window ``k``, ``v`` (B, heads, window - 1, D) and
        ``gamma`` (B, heads, window - 1); of the convolutions ``conv_q``, ``conv_k``, ``conv_v`` (B, conv_kernel - 1,
        C); and ``pos`` (B,) int64, the tokens so far. A reset is None, or the rows of `start`. Samples need not have
        read equally many tokens; if they stand at different places of a chunk, each group of equals runs by itself.
        """
        read, state = self.read(x, state)
        return self._write(x, read), state

    def read(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """What the memory gives for the next tokens (B, N, C), before the output's norm and gate: (B, heads, N, D)."""
        state = self.start(x) if state is None else state
        chunk = self.scan.chunk
        phases = [0] * len(x) if chunk == 1 else [position % chunk for position in state["pos"].tolist()]
        groups = [[row for row, own in enumerate(phases) if own == phase] for phase in sorted(set(phases))]
        if len(groups) <= 1:
            return self._read(x, state, phases[0] if phases else 0)
        done = [
            self._read(x[rows], {key: value[rows] for key, value in state.items()}, phases[rows[0]]) for rows in groups
        ]
        order = torch.tensor([row for rows in groups for row in rows], device=x.device).argsort()
        behind = {key: torch.cat([state[key] for _, state in done])[order] for key in state}
        return torch.cat([read for read, _ in done])[order], behind

    def start(self, x: Tensor) -> State:
        """The state before the first token, for the samples of tokens (B, N, C)."""
        count, window, width = len(x), self.scan.window, self.out_norm.normalized_shape[0]
        like = x.new_zeros(count, dtype=torch.promote_types(x.dtype, torch.float32))
        past = (count, self.heads, window - 1)
        state = {"k": like.new_zeros(*past, width), "v": like.new_zeros(*past, width), "gamma": like.new_zeros(past)}
        state["pos"] = like.long()
        for number, name in enumerate(self.memory_names):
            weight: Tensor = getattr(self, name).to(like.dtype).repeat(count, 1, 1, 1)  # (B, heads, out, in)
            state |= {f"W{number}": weight, f"S{number}": torch.zeros_like(weight)}
            state |= {f"R{number}": weight.clone()} if self.scan.chunk > 1 else {}
        convs = (self.conv_q, self.conv_k, self.conv_v)
        return state | {f"conv_{name}": conv.start(like) for name, conv in zip("qkv", convs, strict=True)}

    def _read(self, x: Tensor, state: State, phase: int) -> tuple[Tensor, State]:
        """See `read`; ``phase`` is how many tokens of the current chunk all samples have read."""
        if x.shape[1] == 0:
            return x.new_zeros(len(x), self.heads, 0, self.out_norm.normalized_shape[0]), state
        projected = [proj(x) for proj in (self.q_proj, self.k_proj, self.v_proj)]
        gates = [gate(x) for gate in (self.alpha_proj, self.theta_proj, self.eta_proj, self.gamma_proj)]
        behind: State = {"pos": state["pos"] + x.shape[1]}
        with without_autocast(x.device.type):
            tokens = []
            for name, conv, rows in zip("qkv", (self.conv_q, self.conv_k, self.conv_v), projected, strict=True):
                rows, behind[f"conv_{name}"] = conv(rows.to(state["k"].dtype), state[f"conv_{name}"])
                tokens.append(F.silu(rows).unflatten(2, (self.heads, -1)).transpose(1, 2))     # (B, heads, N, D)
            q, k = (F.normalize(rows, dim=3, eps=NORM_FLOOR) for rows in tokens[:2])
            keep, carry, step, importance = (gate.to(q.dtype).transpose(1, 2) for gate in gates)    # (B, heads, N)
            found = Gates(F.logsigmoid(keep), F.logsigmoid(carry), self.eta_max * step.sigmoid(), importance.sigmoid())
            read, memory = self.scan.run(q, k, tokens[2], found, self.poly_coef.to(q.dtype), state, phase)
        return read, behind | memory

    def _write(self, x: Tensor, read: Tensor) -> Tensor:
        """Reads (B, heads, N, D), normed, gated by their tokens (B, N, C) and projected, (B, N, C)."""
        with without_autocast(x.device.type):
            normed = F.rms_norm(read, self.out_norm.normalized_shape, self.out_norm.weight.to(read.dtype), NORM_EPS)
        gate = F.silu(self.g_proj(x))
        return self.o_proj(normed.transpose(1, 2).flatten(2).to(gate.dtype) * gate)


class CausalConv(nn.Conv1d):
    """A convolution of each channel over a token and those before it; the last tap is the token's own.

    Args:
        channels: width C.
        kernel: taps K.

    Raises:
        ValueError: ``kernel`` is below 1.
    """

    def __init__(self, channels: int, kernel: int) -> None:
        if kernel < 1:
            raise ValueError(f"conv_kernel must be >= 1, got {kernel}")
        super().__init__(channels, channels, kernel, groups=channels, bias=False)

    def start(self, like: Tensor) -> Tensor:
        """Zeros (B, K - 1, C) before the first tokens, for as many samples as ``like`` has."""
        return like.new_zeros(len(like), self.kernel_size[0] - 1, self.in_channels)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]  # it has a state
        """Tokens (B, N, C) and the K - 1 before them -> (B, N, C), and the K - 1 last ones."""
        rows = torch.cat([past.to(x), x], dim=1)
        mixed = F.conv1d(rows.transpose(1, 2), self.weight.to(x.dtype), groups=self.groups).transpose(1, 2)
        return mixed, rows[:, x.shape[1] :].clone()


def taylor_coefficients(degree: int) -> Tensor:
    """1 / sqrt(i!), by which products of features begin as the truncated series of the exponential function.

    Raises:
        ValueError: ``degree`` is neither 1 nor 2.
    """
    if degree not in (1, 2):
        raise ValueError(f"degree must be 1 or 2, got {degree}")
    return torch.tensor([math.factorial(power) ** -0.5 for power in range(degree + 1)])
