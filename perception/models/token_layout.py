"""A map and the tokens that it is made of.

Tokens (B, H * W, C) in order of memory are the map (B, C, H, W) laid out channels last: going from the one to the other
moves nothing.
"""

from __future__ import annotations

from torch import Tensor


def tokens_of(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H * W, C), row by row."""
    return x.flatten(2).transpose(1, 2)


def map_of(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, H * W, C) -> (B, C, H, W), which torch knows as channels last, of one sample too."""
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


def keep_real(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Tokens (B, N, C), 0 where the mask (B, N) bool is False; None leaves them as they are."""
    return tokens if mask is None else tokens.masked_fill(~mask[:, :, None], 0.0)


def checked_size(size: tuple[int, int] | None, tokens: Tensor, reader: str) -> tuple[int, int]:
    """The height and width of the map that tokens (B, N, C) form.

    Args:
        size: as it was given.
        tokens: the tokens.
        reader: what needs the size, for the error.

    Raises:
        ValueError: there is no size, or its places are not as many as the tokens.
    """
    if size is None:
        raise ValueError(f"{reader} needs the size (H, W) of the map that its tokens form, got None")
    height, width = size
    if height * width != tokens.shape[1]:
        raise ValueError(f"{reader}: a map of {height} x {width} has other than {tokens.shape[1]} tokens")
    return height, width
