"""Which lane follows which, from the queries of both.

"LaneSegNet" (Li et al., ICLR 2024), section 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F


class RelationshipHead(nn.Module):
    """An embedding of each query as the lane before and one as the lane after; a network judges each pair.

    Args:
        channels: width C of the queries.
        embedding: width of the embeddings; the judging network is twice as wide.
    """

    def __init__(self, channels: int, embedding: int = 128) -> None:
        super().__init__()
        self.before = _three_layers(channels, channels, embedding)
        self.after = _three_layers(channels, channels, embedding)
        self.classifier = _three_layers(2 * embedding, 2 * embedding, 1)

    def forward(self, query: Tensor) -> Tensor:
        """(B, Q, C) -> (B, Q, Q) logits; [b, i, j] of lane j following lane i."""
        before, after = _run(self.before, query), _run(self.after, query)                # (B, Q, E)
        first, second, last = cast(Sequence[nn.Linear], self.classifier)
        of_before, of_after = first.weight.chunk(2, dim=1)       # of a pair's two halves: once a query, not once a pair
        pairs = F.linear(before, of_before, first.bias)[:, :, None] + F.linear(after, of_after)[:, None]
        return last(second(pairs.relu()).relu()).squeeze(-1)


def _three_layers(inputs: int, hidden: int, outputs: int) -> nn.ModuleList:
    return nn.ModuleList([nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)])


def _linear(layers: nn.ModuleList) -> list[nn.Linear]:
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def _run(layers: nn.ModuleList, x: Tensor) -> Tensor:
    first, second, last = cast(Sequence[nn.Linear], layers)
    return last(second(first(x).relu()).relu())
