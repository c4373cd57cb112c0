"""Layers of attention and feed-forward parts whose heads, channels and blocks can be left out.

A layer is described by a function for its type; a plugin describes its own so, with `prunes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.token_layout import keep_real


@dataclass(frozen=True)
class Heads:
    """The heads of an attention.

    Args:
        module: the attention; it has ``top_k``, which is None or the number of keys that each query keeps.
        count: name of its attribute that counts the heads.
        projections: layers to queries, keys and values, each with the number of these that it gives; the outputs of
            each kind lie one head behind another.
        outer: reads the heads, one behind another.
    """

    module: Any
    count: str
    projections: tuple[tuple[nn.Linear, int], ...]
    outer: nn.Linear

    def __len__(self) -> int:
        return getattr(self.module, self.count)


@dataclass(frozen=True)
class Hidden:
    """The two layers of a feed-forward part: the first gives the hidden channels, the second reads them."""

    inner: nn.Linear
    outer: nn.Linear


@dataclass(frozen=True)
class PrunableLayer:
    """One layer.

    Args:
        owner: has the parts as attributes.
        mixer: name of the part that mixes tokens, called with (B, N, C) or (N, C) and whatever else.
        ffn: name of the feed-forward part.
        heads: of the mixer; None if it has none.
        hidden: of the feed-forward part; None if it is of another kind.
        mixer_norm: name of the norm that a pre-norm layer has before the mixer, which goes with it; None of a
            post-norm layer, whose norm of the sum stays.
        ffn_norm: likewise.
    """

    owner: nn.Module
    mixer: str
    ffn: str
    heads: Heads | None = None
    hidden: Hidden | None = None
    mixer_norm: str | None = None
    ffn_norm: str | None = None

    @property
    def readers(self) -> list[nn.Linear]:
        """What reads heads and hidden channels."""
        return [part.outer for part in (self.heads, self.hidden) if part is not None]


class ConstantBranch(nn.Module):
    """What is left of a branch that looks at nothing: the same row for each token.

    Args:
        value: (C,), zeros of a block that is left out, the last bias of one that lost all its heads or channels.
    """

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.value = nn.Parameter(value.detach().clone())

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> (..., C), of (B, N, C) tokens 0 where ``mask`` (B, N) is False."""
        return keep_real(self.value.to(x.dtype).expand_as(x), mask)

    def mix_tokens(self, tokens: Tensor, position: Tensor | None, groups: Any) -> Tensor:
        """The same for a layer that hands tokens (N, C) and their groups over."""
        return self(tokens)


class NoBranch(nn.Module):
    """A branch that is left out: 0 for each token, without parameters; called as `ConstantBranch` is."""

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        """(..., C) -> zeros (..., C)."""
        return torch.zeros_like(x)

    def mix_tokens(self, tokens: Tensor, position: Tensor | None, groups: Any) -> Tensor:
        """(N, C) -> zeros (N, C)."""
        return self(tokens)


Description = Callable[[Any], PrunableLayer]
_DESCRIPTIONS: dict[type[nn.Module], Description] = {}


def prunes(kind: type[nn.Module]) -> Callable[[Description], Description]:
    """Register what describes layers of a type."""

    def register(description: Description) -> Description:
        _DESCRIPTIONS[kind] = description
        return description

    return register


def prunable_layers(model: nn.Module) -> list[PrunableLayer]:
    """The layers of a network in their order. Raises ValueError if it has none of a kind that is described."""
    from . import metaformer_layers  # noqa: F401  # describes those of the core

    found = [_DESCRIPTIONS[type(part)](part) for part in model.modules() if type(part) in _DESCRIPTIONS]
    if not found:
        known = ", ".join(sorted(kind.__name__ for kind in _DESCRIPTIONS))
        raise ValueError(f"{type(model).__name__} has no layers that can be pruned: {known}")
    return found


def kept_rows(size: int, kinds: int, gone: Sequence[bool]) -> Tensor:
    """Indices of those of ``size`` channels, ``kinds`` runs of equal parts each, whose part stays."""
    parts = torch.arange(size).view(kinds, len(gone), -1)
    return parts[:, ~torch.tensor(gone, dtype=torch.bool)].flatten()
