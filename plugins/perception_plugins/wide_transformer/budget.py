"""What depth and width cost, and wide forms of deep encoders.

The rule "heads" is the paper's ("Wide Attention Is The Way Forward For Transformers?", 2022); "params", the account and
stacking are ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

LAUNCHES = 8                                               # kernels of a layer, more or less
_LAYER = re.compile(r"layers\.(\d+)\.(.+)")
_JOINED_ROWS = ("attn.q.", "attn.k.", "attn.v.", "ffn.fc1.")
_JOINED_COLUMNS = ("attn.out.weight", "ffn.fc2.weight")
_SUMMED = ("attn.out.bias", "ffn.fc2.bias")


@dataclass(frozen=True)
class Shape:
    """Sizes of an encoder.

    Args:
        depth: L layers.
        channels: token width C.
        heads: of each layer.
        head_channels: D of each head; the inner width I is heads * D.
        hidden: F, width of the perceptron.
    """

    depth: int
    channels: int
    heads: int
    head_channels: int
    hidden: int

    @property
    def inner(self) -> int:
        """I."""
        return self.heads * self.head_channels

    def layer_parameters(self) -> int:
        """Of one layer: four projections, perceptron and two norms, with all biases."""
        return 4 * self.channels * self.inner + 3 * self.inner + (2 * self.hidden + 6) * self.channels + self.hidden


@dataclass(frozen=True)
class Account:
    """What one sample costs.

    Args:
        parameters: all of them, the last norm included.
        macs: multiply-adds.
        attention_map_floats: numbers that attention maps hold at once, unless attention is fused.
        sequential_steps: kernels that wait for each other.
    """

    parameters: int
    macs: int
    attention_map_floats: int
    sequential_steps: int

    def latency_s(self, launch_s: float, macs_per_s: float) -> float:
        """A model of the time: launches one after another, and the arithmetic."""
        return self.sequential_steps * launch_s + self.macs / macs_per_s


def account(shape: Shape, tokens: int) -> Account:
    """The cost of ``tokens`` tokens through an encoder."""
    projections = 4 * tokens * shape.channels * shape.inner
    attention = 2 * tokens**2 * shape.inner
    perceptron = 2 * tokens * shape.channels * shape.hidden
    return Account(
        parameters=shape.depth * shape.layer_parameters() + 2 * shape.channels,
        macs=shape.depth * (projections + attention + perceptron),
        attention_map_floats=shape.heads * tokens**2,
        sequential_steps=LAUNCHES * shape.depth,
    )


def widen(shape: Shape, match: str = "heads", depth: int = 1) -> Shape:
    """The form with fewer layers and the same number of heads in all.

    Args:
        shape: of the deep form.
        match: "heads" keeps the perceptron as it is, so that fewer remain; "params" widens it until parameters are
            equal but for less than 2 C + 1.
        depth: layers of the wide form; divides those of the deep one.

    Raises:
        ValueError: ``match`` is another, or ``depth`` does not divide that of the shape.
    """
    if match not in ("heads", "params"):
        raise ValueError(f"match must be heads or params, got {match!r}")
    if depth < 1 or shape.depth % depth:
        raise ValueError(f"depth must divide {shape.depth}, got {depth}")
    times = shape.depth // depth
    wide = replace(shape, depth=depth, heads=times * shape.heads)
    if match == "heads":
        return wide
    spare = 6 * shape.channels * (times - 1) // (2 * shape.channels + 1)           # of norms that are gone
    return replace(wide, hidden=times * shape.hidden + spare)


def stack_weights(state: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Weights of one layer in which ``depth`` layers lie side by side.

    It computes x1 = x + sum of MHA_l(norm1(x)), y = x1 + sum of FFN_l(norm2(x1)), with the norms of the first layer:
    not the deep network, but equal to it to first order in what its branches add.

    Args:
        state: of a `WideTransformer` of that depth.
        depth: its layers.

    Returns:
        The state of a `WideTransformer` of depth 1 with ``depth`` times the heads and the hidden width.

    Raises:
        ValueError: the state has other layers.
    """
    layers: dict[int, dict[str, Tensor]] = {}
    rest: dict[str, Tensor] = {}
    for key, value in state.items():
        match = _LAYER.fullmatch(key)
        if match:
            layers.setdefault(int(match[1]), {})[match[2]] = value
        else:
            rest[key] = value
    if sorted(layers) != list(range(depth)):
        raise ValueError(f"state must have the layers 0 to {depth - 1}, got {sorted(layers)}")
    stacked = {name: _joined(name, [layers[number][name] for number in range(depth)]) for name in layers[0]}
    return {f"layers.0.{name}": value for name, value in stacked.items()} | rest


def _joined(name: str, parts: list[Tensor]) -> Tensor:
    if name.startswith(_JOINED_ROWS):
        return torch.cat(parts)
    if name in _JOINED_COLUMNS:
        return torch.cat(parts, dim=1)
    return torch.stack(parts).sum(dim=0) if name in _SUMMED else parts[0]
