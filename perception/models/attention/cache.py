"""What attention keeps of the tokens so far, to go on with the next ones."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class KeyValueCache(NamedTuple):
    """Keys, as queries are compared with them, and values of the tokens so far, (B, heads, N, D) each."""

    key: Tensor
    value: Tensor


def appended(cache: KeyValueCache | None, key: Tensor, value: Tensor) -> KeyValueCache:
    """The cache, None before the first tokens, with keys and values (B, heads, T, D) of the next; it stays as it is."""
    if cache is None:
        return KeyValueCache(key, value)
    return KeyValueCache(torch.cat([cache.key, key], dim=2), torch.cat([cache.value, value], dim=2))
