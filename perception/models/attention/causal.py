"""What a token of a sequence may see of those before it."""

from __future__ import annotations

import torch
from torch import Tensor


def earlier_keys(queries: int, keys: int, mask: Tensor | None = None, *, device: torch.device) -> Tensor:
    """The keys up to a query's own, where the last of T queries stands at the last of S keys.

    Args:
        queries: T.
        keys: S >= T.
        mask: (B, S) bool, False where a key is not real; a query sees its own in any case, since none gives NaN.
        device: of what is given.

    Returns:
        (1, 1, T, S) bool, or (B, 1, T, S) with a mask.
    """
    place = torch.arange(keys, device=device)
    own = place[keys - queries :, None]                                                  # (T, 1)
    seen = (place <= own)[None, None]                                                    # (1, 1, T, S)
    return seen if mask is None else seen & mask[:, None, None] | (place == own)
