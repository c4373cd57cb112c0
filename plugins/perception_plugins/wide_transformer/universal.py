"""One attention layer and one perceptron that approximate a given function, by construction and with a bound.

"Universal Approximation Theorem for a Single-Layer Transformer" (2025) states that they can. The construction and the
bound are ours; they need what the statement leaves unsaid: positions in the tokens, no norm in between, a residual
stream of n d + n + d channels, and a hidden width that grows with the inverse root of the error.

The functions are f_io(X) = sum_m c sin(a . X + phase) of all tokens X in [0, 1]^(n x d), which are dense among the
continuous ones. Attention brings all tokens to each place; a term is a function of one number a . X, drawn by W line
segments that are W units of the perceptron.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class RidgeSum:
    """The function: for each place i and output o, M terms.

    Args:
        directions: (n, o, M, n * d) a.
        phases: (n, o, M).
        factors: (n, o, M) c.
    """

    directions: Tensor
    phases: Tensor
    factors: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """(B, n, d) -> (B, n, o)."""
        along = torch.einsum("iomk,bk->biom", self.directions, x.flatten(1))
        return (self.factors * torch.sin(along + self.phases)).sum(dim=3)

    def ranges(self) -> tuple[Tensor, Tensor]:
        """(n, o, M) each: the least and the greatest a . X."""
        return self.directions.clamp(max=0).sum(dim=3), self.directions.clamp(min=0).sum(dim=3)

    def error_bound(self, segments: int, sharpness: float) -> float:
        """What the network of `UniversalRidge` errs by at most: it falls as 1 / segments^2.

        A line segment of length h misses a sine of factor c by c h^2 / 8 at most; what attention gives away to other
        tokens moves a . X.
        """
        low, high = self.ranges()
        tokens = self.directions.shape[0]
        leak = 2 * (tokens - 1) * float(torch.exp(torch.tensor(-sharpness, dtype=torch.float64)))
        factors, lengths = self.factors.abs(), self.directions.abs().sum(dim=3)
        terms = factors * ((high - low) / segments).square() / 8 + factors * lengths * leak
        return float(terms.sum(dim=2).max())


class _Attention(nn.Module):
    """The projections of the layer; only queries have a bias."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.q = nn.Linear(channels, inner)
        self.k, self.v = (nn.Linear(channels, inner, bias=False) for _ in range(2))
        self.out = nn.Linear(inner, channels, bias=False)


class _Perceptron(nn.Module):
    def __init__(self, channels: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, outputs, bias=False)


class UniversalRidge(nn.Module):
    """The network: an embedding, one attention layer beside a shortcut, one perceptron without one.

    Args:
        target: the function.
        dim: d, numbers of a token.
        segments: W, line segments of each term.
        sharpness: beta: attention gives e^beta / (e^beta + n - 1) to the token that it wants; 25 is safe in float32.

    Raises:
        ValueError: ``segments`` is below 1, or the directions do not fit ``dim``.
    """

    def __init__(self, target: RidgeSum, dim: int, *, segments: int, sharpness: float = 25.0) -> None:
        super().__init__()
        tokens, outputs, terms, width = target.directions.shape
        if segments < 1:
            raise ValueError(f"segments must be >= 1, got {segments}")
        if width != tokens * dim:
            raise ValueError(f"directions must have {tokens} x {dim} numbers, got {width}")
        self.num_tokens, self.dim = tokens, dim
        channels, inner = tokens * dim + tokens + dim, tokens * (dim + 1)
        self.embed = nn.Linear(dim + tokens, channels, bias=False)
        self.attn = _Attention(channels, inner)
        self.ffn = _Perceptron(channels, tokens * outputs * terms * (segments + 1), outputs)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self._embed_places()
            self._gather_tokens(sharpness)
            self._draw_terms(target, segments)

    @torch.no_grad()
    def _embed_places(self) -> None:
        """Channels: n d slots that are empty, the place as one of n, the token's own d numbers."""
        slots = self.num_tokens * self.dim
        for number in range(self.num_tokens):
            self.embed.weight[slots + number, self.dim + number] = 1.0
        for number in range(self.dim):
            self.embed.weight[slots + self.num_tokens + number, number] = 1.0

    @torch.no_grad()
    def _gather_tokens(self, sharpness: float) -> None:
        """Head j looks at token j from everywhere and writes its numbers into slot j."""
        slots, width = self.num_tokens * self.dim, self.dim + 1
        for head in range(self.num_tokens):
            first, last = head * width, head * width + self.dim
            self.attn.q.bias[last] = sharpness * width**0.5
            self.attn.k.weight[last, slots + head] = 1.0
            for number in range(self.dim):
                self.attn.v.weight[first + number, slots + self.num_tokens + number] = 1.0
                self.attn.out.weight[head * self.dim + number, first + number] = 1.0

    @torch.no_grad()
    def _draw_terms(self, target: RidgeSum, segments: int) -> None:
        """W units a term, each where a segment begins, and one for the value at its lower end.

        A unit is 0 at every place but its own: there only, a large number is added to what else falls below 0.
        """
        slots, unit = self.num_tokens * self.dim, 0
        lows, highs = target.ranges()
        fc1, fc2 = self.ffn.fc1, self.ffn.fc2
        for place, output, term in torch.cartesian_prod(*(torch.arange(k) for k in lows.shape)).view(-1, 3).tolist():
            low, high = lows[place, output, term].double(), highs[place, output, term].double()
            knots = low + (high - low) / segments * torch.arange(segments + 1)                       # (W + 1,)
            values = target.factors[place, output, term] * torch.sin(knots + target.phases[place, output, term])
            slopes = values.diff() / knots.diff().clamp(min=1e-12)
            units, switch = slice(unit, unit + segments), high - low + 1
            fc1.weight[units, :slots] = target.directions[place, output, term]
            fc1.weight[units, slots + place] = switch.float()
            fc1.bias[units] = (-knots[:-1] - switch).float()
            fc2.weight[output, units] = slopes.diff(prepend=slopes.new_zeros(1)).float()
            fc1.weight[unit + segments, slots + place] = 1.0
            fc2.weight[output, unit + segments] = values[0].float()
            unit += segments + 1

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, d) in [0, 1] -> (B, n, o)."""
        places = torch.eye(self.num_tokens, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)
        tokens = self.embed(torch.cat([x, places], dim=2))                                 # (B, n, C)
        query, key, value = (
            part(tokens).unflatten(2, (self.num_tokens, -1)).transpose(1, 2)
            for part in (self.attn.q, self.attn.k, self.attn.v)
        )                                                                                  # (B, n, n, d + 1) each
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        tokens = tokens + self.attn.out(mixed)
        return self.ffn.fc2(F.relu(self.ffn.fc1(tokens)))
