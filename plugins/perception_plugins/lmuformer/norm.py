"""Batch normalisation of tokens, some of which are not real."""

from __future__ import annotations

from torch import Tensor, nn

from perception.models.metaformer.norm import token_norm


class RealTokenNorm(nn.Module):
    """Batch normalisation whose statistics are those of the real tokens of a batch, or no norm at all.

    Args:
        channels: width C.
        norm: "batch" or "none".

    Raises:
        ValueError: ``norm`` is neither.
    """

    def __init__(self, channels: int, norm: str = "batch") -> None:
        super().__init__()
        if norm not in ("batch", "none"):
            raise ValueError(f'norm must be "batch" or "none", got {norm!r}')
        self.norm = token_norm("batch" if norm == "batch" else None, channels)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, C) -> (B, N, C); in training, those where ``mask`` (B, N) is False don't count and become 0."""
        if mask is None or not self.training or isinstance(self.norm, nn.Identity):
            return self.norm(tokens) if tokens.shape[1] else tokens
        normed = self.norm(tokens[mask][None])[0]                                          # (real tokens, C)
        return normed.new_zeros(tokens.shape).masked_scatter(mask[:, :, None], normed)
