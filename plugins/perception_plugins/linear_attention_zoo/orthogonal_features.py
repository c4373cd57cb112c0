"""Random directions for the kernel of the softmax, orthogonal in blocks (FAVOR+)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Lengths = Literal["chi", "sqrt"]


def orthogonal_features(
    count: int, width: int, *, lengths: Lengths = "chi", generator: torch.Generator | None = None
) -> Tensor:
    """Draw directions in blocks of orthonormal rows, uniform over the rotations (Haar), and give them lengths.

    The factor Q of a QR decomposition is not uniform by itself: its signs are a convention of the library, and with
    them the estimate of the softmax stops improving with more features. Those of the diagonal of R make it so.

    Args:
        count: rows; the last block is cut to it.
        width: of a row, D.
        lengths: "chi" draws the length of a standard normal vector for each row, "sqrt" gives all sqrt(D).
        generator: of the numbers; None is torch's global one.

    Returns:
        (count, width), of torch's default dtype.

    Raises:
        ValueError: ``count`` is below 1, or ``lengths`` unknown.
    """
    if count < 1:
        raise ValueError(f"there must be >= 1 features, got {count}")
    if lengths not in ("chi", "sqrt"):
        raise ValueError(f'lengths must be "chi" or "sqrt", got {lengths!r}')
    device = None if generator is None else generator.device
    blocks = torch.randn(-(-count // width), width, width, generator=generator, device=device)
    q, r = torch.linalg.qr(blocks)
    signs = torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0)                             # (blocks, D)
    rows = (q * signs[:, None]).mT.flatten(0, 1)[:count]                                       # (count, D)
    if lengths == "sqrt":
        return rows * width**0.5
    return rows * torch.randn(count, width, generator=generator, device=device).norm(dim=1, keepdim=True)
