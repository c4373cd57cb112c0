"""A feed-forward net whose first hidden units are a feed-forward net too.

"MatFormer: Nested Transformer for Elastic Inference" (Devvrit et al., NeurIPS 2024), section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import absorb
from perception.models.mixers.feed_forward import FeedForward, activation_of, hidden_width
from perception.models.mixers.traits import MixerTraits
from perception.models.token_layout import keep_real
from perception.registry import MODELS

FACTORS = (8, 4, 2, 1)                               # what the hidden units are divided by in both released trainers


@MODELS.register_module(role="channel_mixer")
class NestedFeedForward(nn.Module):
    """W2[:, :m] act(W1[:m] x + b1[:m]) + b2 of each token by itself; b2 is always used in full.

    The number m of hidden units is told with the call or by `active_widths`, else all are used. Keys are those of a
    `FeedForward`, whose weights it can start from.

    Args:
        channels: width C of the tokens.
        ratio: hidden over outer width; the hidden width is rounded down.
        hidden: hidden width in place of ``ratio``.
        widths: the m that are trained, ascending, the last of them the hidden width; None takes an eighth, a quarter,
            half and all of it, rounded down, at least 1. Any other m can be used too.
        activation: see `FeedForward`.
        gated: the first layer gives values and, behind them, as many gates: value * act(gate). Both are cut alike (the
            released code cuts the fused matrix and fails).
        bias: of both layers.
        dropout: share of numbers dropped in training, behind the non-linearity and behind the second layer.

    Raises:
        ValueError: the hidden width is below 1, ``widths`` are not ascending up to it, or there is no such activation.
    """

    TRAITS = MixerTraits(cost="N", causal="always")

    def __init__(
        self, channels: int, *, ratio: float = 4.0, hidden: int | None = None, widths: Sequence[int] | None = None,
        activation: str = "gelu", gated: bool = False, bias: bool = True, dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.hidden = hidden_width(channels, ratio, hidden)
        self.widths = halvings(self.hidden) if widths is None else tuple(widths)
        if not self.widths or self.widths[-1] != self.hidden or list(self.widths) != sorted({*self.widths} - {0}):
            raise ValueError(f"widths must be ascending, >= 1 and end with {self.hidden}, got {self.widths}")
        self.activation, self.activate, self.gated = activation, activation_of(activation), gated
        self.fc1 = nn.Linear(channels, self.hidden * (2 if gated else 1), bias=bias)
        self.fc2 = nn.Linear(self.hidden, channels, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.active: int | None = None               # see `active_widths`

    def forward(
        self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None, *, width: int | None = None
    ) -> Tensor:
        """Tokens by the first hidden units.

        Args:
            x: (..., C).
            size: not needed.
            mask: (B, N) bool, of (B, N, C) tokens, which become 0 where it is False.
            width: hidden units m; None uses as many as are active.

        Returns:
            (..., C).

        Raises:
            ValueError: ``width`` lies outside 1 to the hidden width.
        """
        width = self.checked(self.active if width is None else width)
        hidden = self.dropout(self._hidden_units(x, width))                              # (..., m)
        y = F.linear(hidden, self.fc2.weight[:, :width], self.fc2.bias)
        return keep_real(self.dropout(y), mask)

    def _hidden_units(self, x: Tensor, width: int) -> Tensor:
        if not self.gated:
            return self.activate(self._first_layer(x, 0, width))
        return self._first_layer(x, 0, width) * self.activate(self._first_layer(x, self.hidden, width))

    def _first_layer(self, x: Tensor, first: int, width: int) -> Tensor:
        rows, bias = slice(first, first + width), self.fc1.bias
        return F.linear(x, self.fc1.weight[rows], None if bias is None else bias[rows])

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """Take a scale and a shift of the tokens over, at all widths."""
        absorb(self.fc1, scale, shift)

    def checked(self, width: int | None) -> int:
        """A number of hidden units, None being all. Raises ValueError if there are not as many."""
        width = self.hidden if width is None else width
        if not 1 <= width <= self.hidden:
            raise ValueError(f"a width must lie in 1 to {self.hidden}, got {width}")
        return width

    def parameters_at(self, width: int) -> int:
        """Parameters of the net that `extract` gives."""
        rows, columns = self.fc1.weight.shape[1] + (self.fc1.bias is not None), len(self.fc2.weight)
        outputs = 0 if self.fc2.bias is None else columns
        return self.checked(width) * (rows * (2 if self.gated else 1) + columns) + outputs

    def extract(self, width: int) -> nn.Module:
        """The net of the first hidden units, with weights of its own.

        Returns:
            A plain `FeedForward`; where that is not the same, with gates or without bias, one of this class of one
            width.

        Raises:
            ValueError: as `forward`.
        """
        width, channels, has_bias = self.checked(width), len(self.fc2.weight), self.fc1.bias is not None
        options: dict[str, Any] = {"hidden": width, "dropout": self.dropout.p, "activation": self.activation}
        small: nn.Module
        if self.gated or not has_bias:
            small = NestedFeedForward(channels, widths=(width,), gated=self.gated, bias=has_bias, **options)
        else:
            small = FeedForward(channels, **options)
        state = self.state_dict()
        for key, value in state.items():
            if key.startswith("fc1."):               # a half, or the whole, at a time
                state[key] = value.unflatten(0, (-1, self.hidden))[:, :width].flatten(0, 1)
        state["fc2.weight"] = state["fc2.weight"][:, :width]
        small.to(self.fc1.weight.device, self.fc1.weight.dtype).load_state_dict(state)
        return small.train(self.training)


def halvings(hidden: int) -> tuple[int, ...]:
    """An eighth, a quarter, half and all of the hidden units, rounded down, at least 1; ascending, each once."""
    return tuple(sorted({max(1, hidden // factor) for factor in FACTORS}))
