"""Attention to a learned table of parameter tokens, in place of a linear layer.

"TokenFormer: Rethinking Transformer Scaling with Tokenized Model Parameters" (Wang et al., ICLR 2025), section 3.2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

ACTIVATIONS = ("l2_norm_gelu", "gelu_l2_norm", "softmax")
KEY_STD = 0.02


class Pattention(nn.Module):
    """Tokens attend to n rows (key, value) that are parameters: y = f(x K^T) V, without bias.

    The scores are not scaled before f (the released code never passes another factor than 1); what f scales by is
    ``scale_tokens``, the number of rows that the table had when its scale was last set, see `grow`.

    Args:
        in_channels: width of what comes.
        out_channels: width of what is given.
        slots: rows n of the table.
        activation: f of the scores A of a token. "l2_norm_gelu", as all releases: GELU(A / |A| * sqrt(n)), 0 where |A|
            is exactly 0 (NaN in the reference). "gelu_l2_norm": GELU(A) / |GELU(A)| * sqrt(n). "softmax": n softmax(A).
        dropout: share of the weights f that are dropped in training.
        layers: of the network, which the first values of the table depend on: normal of 2 / (layers * sqrt(C_out)).

    Raises:
        ValueError: a width, ``slots`` or ``layers`` is below 1, or there is no such activation.
    """

    scale_tokens: Tensor

    def __init__(
        self, in_channels: int, out_channels: int, slots: int, *, activation: str = "l2_norm_gelu",
        dropout: float = 0.0, layers: int = 12,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, slots, layers) < 1:
            raise ValueError(
                f"in_channels, out_channels, slots and layers must be >= 1, got {in_channels}, {out_channels}, {slots} "
                f"and {layers}"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        self.activation, self.value_std = activation, 2 / (layers * math.sqrt(out_channels))
        self.key_param_tokens = nn.Parameter(torch.empty(slots, in_channels).normal_(std=KEY_STD))
        self.value_param_tokens = nn.Parameter(torch.empty(slots, out_channels).normal_(std=self.value_std))
        self.register_buffer("scale_tokens", torch.tensor(slots))
        self.dropout = nn.Dropout(dropout)

    @property
    def slots(self) -> int:
        """Rows of the table."""
        return len(self.key_param_tokens)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens through the table.

        Args:
            x: (..., L, C_in).
            mask: (L, n) bool or broadcast to (..., L, n): scores where it is False count as 0, not as minus infinity.

        Returns:
            (..., L, C_out).
        """
        weights = self.dropout(self.weights(x, mask)).to(self.value_param_tokens.dtype)
        return weights @ self.value_param_tokens

    def weights(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """f of the scores, (..., L, n), float32 at least; arguments as `forward`."""
        scores = F.linear(x, self.key_param_tokens)                                      # (..., L, n)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        scores = scores if mask is None else scores * mask
        scale = self.scale_tokens.to(scores.dtype)
        if self.activation == "softmax":
            return scores.softmax(dim=-1) * scale
        if self.activation == "gelu_l2_norm":
            return _of_length_one(F.gelu(scores)) * scale.sqrt()
        return F.gelu(_of_length_one(scores) * scale.sqrt())

    @torch.no_grad()
    def grow(
        self, rows: int, *, zero_keys: bool = True, pin_scale: bool = True
    ) -> dict[nn.Parameter, nn.Parameter]:
        """Append rows to the table, in place; the old ones stay as they are (section 3.3, progressive scaling).

        With the defaults the outputs stay equal up to rounding. That new keys of 0 alone do so is the paper's claim and
        does not hold: sqrt(n) grows with the table, and a softmax is diluted by exp(0) = 1. New values are drawn as at
        the start: if they were 0 too, new keys and values would never have a gradient.

        Args:
            rows: how many, >= 1.
            zero_keys: new keys are 0; else drawn as at the start, which is what the released loaders do.
            pin_scale: go on to scale by the number of rows of before; else by the new one, as the reference does.

        Returns:
            What each parameter has been replaced by, for `grow_optimizer`.

        Raises:
            ValueError: ``rows`` is below 1, or the scale is to be pinned with a softmax, which is never exact.
        """
        if rows < 1:
            raise ValueError(f"rows must be >= 1, got {rows}")
        if pin_scale and self.activation == "softmax":
            raise ValueError("a softmax grows by no means exactly: give pin_scale=False and train on")
        keys, values = self.key_param_tokens, self.value_param_tokens
        new_keys = keys.new_zeros(rows, keys.shape[1])
        self.key_param_tokens = _longer(keys, new_keys if zero_keys else new_keys.normal_(std=KEY_STD))
        self.value_param_tokens = _longer(values, values.new_empty(rows, values.shape[1]).normal_(std=self.value_std))
        if not pin_scale:
            self.scale_tokens.fill_(self.slots)
        return {keys: self.key_param_tokens, values: self.value_param_tokens}


def _of_length_one(x: Tensor) -> Tensor:
    """x over its length along the last axis; where that is 0, 0 with a finite gradient."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x / torch.where(length > 0, length, 1.0)


def _longer(table: nn.Parameter, rows: Tensor) -> nn.Parameter:
    return nn.Parameter(torch.cat([table, rows]), table.requires_grad)
