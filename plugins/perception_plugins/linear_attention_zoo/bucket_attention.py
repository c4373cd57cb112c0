"""Softmax attention to all that a token sees in several rounds of hashing, in chunks of the sorted tokens."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .hashing import ChunkedBuckets
from .kernel_sums import with_ones

SELF = -1e5                                          # logit of a token's own key: it counts where there is no other
NOBODY = -2                                          # code of what fills a chunk up: no token looks there


def bucket_attention(qk: Tensor, v: Tensor, hashed: ChunkedBuckets, *, causal: bool = False) -> Tensor:
    """Attend in each round to the keys that no round before has shown, and add the rounds up by their weights.

    Time and memory are linear in N, besides the sorting.

    Args:
        qk: (B, heads, N, D), the queries; keys are the same with length 1.
        v: (B, heads, N, D).
        hashed: who sees whom.
        causal: no keys of later places.

    Returns:
        (B, heads, N, D).
    """
    total = with_ones(v, None)                                                                 # (B, heads, N, D + 1)
    rows = torch.cat([qk * qk.shape[3] ** -0.5, F.normalize(qk, dim=3), total], dim=3)         # (B, heads, N, 3 D + 1)
    top = torch.full_like(total[..., -1:], SELF)
    for number in range(hashed.order.shape[2]):
        summed, largest = _attend_in_round(rows, qk.shape[3], hashed, number, causal)
        common = torch.maximum(top, largest)
        total = total * (top - common).exp() + summed * (largest - common).exp()
        top = common
    return total[..., :-1] / total[..., -1:]


def _attend_in_round(
    rows: Tensor, width: int, hashed: ChunkedBuckets, number: int, causal: bool
) -> tuple[Tensor, Tensor]:
    """Values and ones summed by exp(logit - largest), (B, heads, N, D + 1), and the largest logit, (B, heads, N, 1)."""
    order, rank, N = hashed.order[:, :, number], hashed.rank[:, :, number], rows.shape[2]
    q, k, v = _chunks(_take(rows, order), hashed.chunk).split([width, width, width + 1], dim=4)
    k, v = _with_previous(k), _with_previous(v)                                                # (B, heads, T, 2 c, ..)
    logits = (q @ k.mT).masked_fill(~_new_keys(hashed, number, causal), -torch.inf)            # (B, heads, T, c, 2 c)
    largest = logits.detach().amax(dim=4, keepdim=True).clamp(min=SELF)
    summed = (logits - largest).exp_() @ v                                                     # (B, heads, T, c, D + 1)
    ranked = torch.cat([summed, largest], dim=4).flatten(2, 3)[:, :, :N]
    out = _take(ranked, rank)
    return out[..., :-1], out[..., -1:]


def _new_keys(hashed: ChunkedBuckets, number: int, causal: bool) -> Tensor:
    """The other tokens that each sees in a round and has not seen in those before, (B, heads, T, c, 2 c) bool."""
    order = hashed.order[:, :, number]
    own = _chunks(order[..., None].int(), hashed.chunk)                                        # (B, heads, T, c, 1)
    other = _with_previous(own).mT                                                             # (B, heads, T, 1, 2 c)
    allowed = other < own if causal else other != own
    for earlier in range(number + 1):
        code = hashed.code[:, :, earlier].gather(2, order)[..., None].int()                    # (B, heads, N, 1)
        own = _chunks(code, hashed.chunk, NOBODY)
        other = _with_previous(own, NOBODY).mT
        near = (own == other) | (own == other + 1)
        allowed = allowed & (near if earlier == number else ~near)
    return allowed


def _take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of (B, heads, N, E) by their index (B, heads, N)."""
    B, heads, N, E = x.shape
    first = torch.arange(B * heads, device=x.device).view(B, heads, 1) * N
    return x.flatten(0, 2).index_select(0, (index + first).flatten()).view(B, heads, N, E)


def _chunks(x: Tensor, chunk: int, blank: int = 0) -> Tensor:
    """(B, heads, N, E) -> (B, heads, T, c, E), filled up to whole chunks."""
    count = max(-(-x.shape[2] // chunk), 1)
    return F.pad(x, (0, 0, 0, count * chunk - x.shape[2]), value=blank).unflatten(2, (count, chunk))


def _with_previous(x: Tensor, blank: int = 0) -> Tensor:
    """(B, heads, T, c, E) -> (B, heads, T, 2 c, E): each chunk behind the one before it, the first behind a blank."""
    return torch.cat([F.pad(x[:, :, :-1], (0, 0, 0, 0, 1, 0), value=blank), x], dim=3)
