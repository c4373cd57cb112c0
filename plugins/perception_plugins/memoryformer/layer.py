"""Tables in place of a linear layer's matrix, and the layer that is put in its place (MemoryFormer, NeurIPS 2024)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from perception_ops import hash_lookup

from .hashing import HashCodes, SignHash, Weighting

TABLE_STD, BIAS_STD = 0.02, 0.001                    # of the authors' code


class MemoryTables(nn.Module):
    """K tables of 2^bits rows, of each of which one is read and added by weight. The bias is always there.

    Args:
        out_channels: width of the rows.
        tables: K.
        bits: of an address.
    """

    def __init__(self, out_channels: int, tables: int, bits: int) -> None:
        super().__init__()
        self.tables = nn.Parameter(torch.empty(tables << bits, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        nn.init.normal_(self.tables, std=TABLE_STD)
        nn.init.normal_(self.bias, std=BIAS_STD)

    @property
    def out_channels(self) -> int:
        """Width of what is read."""
        return self.bias.shape[0]

    def read(self, at: HashCodes) -> Tensor:
        """(M, K) codes and scores, such as several layers share -> (M, out_channels), of the tables' dtype."""
        return hash_lookup(at.scores.to(self.tables.dtype), at.codes, self.tables, self.bias)


class MemoryLayer(MemoryTables):
    """What a linear layer is replaced by: (..., in_channels) -> (..., out_channels) by K reads.

    There is no matrix product, unless a projection is asked for, and no activation: the authors' ``act_fn`` is never
    applied. The output jumps where an input changes its sign; the gradient with respect to it is that of the scores.

    Args:
        in_channels, out_channels: widths.
        tables: K; None takes as many as read all channels.
        bits: of an address: channels that a table reads.
        weighting, temperature, projection: see `SignHash`.

    Raises:
        ValueError: as `SignHash`, or there is no output.
    """

    def __init__(
        self, in_channels: int, out_channels: int, tables: int | None = None, bits: int = 8, *,
        weighting: Weighting = "released", temperature: float = 1.0, projection: bool = False,
    ) -> None:
        if out_channels < 1:
            raise ValueError(f"out_channels must be >= 1, got {out_channels}")
        number = -(-in_channels // max(bits, 1)) if tables is None else tables
        checked = SignHash(
            in_channels, number, bits, weighting=weighting, temperature=temperature, projection=projection
        )
        super().__init__(out_channels, number, bits)
        self.hash = checked

    def forward(self, x: Tensor) -> Tensor:
        """(..., in_channels) -> (..., out_channels).

        Raises:
            ValueError: the input has another width.
        """
        if x.shape[-1] != self.hash.in_channels:
            raise ValueError(f"x must be (..., {self.hash.in_channels}), got {tuple(x.shape)}")
        return self.read(self.hash(x)).view(*x.shape[:-1], self.out_channels)


def replace_linear_layers(
    model: nn.Module, *, bits: int = 8, where: Callable[[str, nn.Linear], bool] | None = None,
    weighting: Weighting = "released", temperature: float = 1.0,
) -> list[str]:
    """Put a fresh `MemoryLayer` in the place of linear layers; the network is to be trained anew.

    A layer whose owner reads its ``weight`` instead of calling it must be left out by ``where``.

    Args:
        model: changed in place.
        bits: of an address.
        where: whether a layer is replaced, by its name in the model; None replaces all. Subclasses always stay.
        weighting, temperature: see `SignHash`.

    Returns:
        The names of what was replaced.
    """
    found = [
        (name, module) for name, module in model.named_modules()
        if type(module) is nn.Linear and name and (where is None or where(name, module))
    ]
    for name, linear in found:
        memory = MemoryLayer(
            linear.in_features, linear.out_features, bits=bits, weighting=weighting, temperature=temperature
        )
        owner, _, last = name.rpartition(".")
        setattr(model.get_submodule(owner), last, memory.to(linear.weight.device, linear.weight.dtype))
    return [name for name, _ in found]
