"""Masks applied to a network: for a trial, or for good by smaller modules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from .layers import ConstantBranch, NoBranch, PrunableLayer, kept_rows, prunable_layers
from .masks import PruningMasks
from .refit import Products, refitted

MODES = ("mask", "remove")


@dataclass(frozen=True)
class PrunableModel:
    """The layers of a network.

    Args:
        layers: as `prunable_layers` gives them.
        num_groups: groups that hidden channels are cut into.
        top_k: keys that hard attention keeps (published: 30 of 128 tokens).
        products: of the inputs of what reads heads and hidden channels, see `input_products`; such a layer is then
            refitted to those that stay. Of others the weights stay as they are.

    Raises:
        ValueError: hidden channels are not divisible by the groups.
    """

    layers: Sequence[PrunableLayer]
    num_groups: int = 12
    top_k: int = 30
    products: Products = field(default_factory=dict)

    def __post_init__(self) -> None:
        for layer in self.layers:
            if layer.hidden is not None and layer.hidden.inner.out_features % self.num_groups:
                raise ValueError(
                    f"{layer.hidden.inner.out_features} hidden channels are not divisible by {self.num_groups} groups"
                )

    @property
    def heads(self) -> list[int]:
        """Heads of each layer, 0 of those without."""
        return [0 if layer.heads is None else len(layer.heads) for layer in self.layers]

    @property
    def groups(self) -> list[int]:
        """Groups of each layer, 0 of those without hidden channels."""
        return [0 if layer.hidden is None else self.num_groups for layer in self.layers]

    def masked(self, masks: PruningMasks) -> ExitStack:
        """From now on the network runs without what ``masks`` names, until the result is closed."""
        self.check(masks)
        with ExitStack() as stack:
            for number, layer in enumerate(self.layers):
                self._mask_layer(layer, masks, number, stack)
            return stack.pop_all()

    def remove(self, masks: PruningMasks) -> None:
        """Make the modules smaller, in place; outputs are those of the masked network, up to rounding."""
        self.check(masks)
        for number, layer in enumerate(self.layers):
            for outer, gone in _readers(layer, masks, number):
                if any(gone) and outer in self.products:
                    _refit(outer, kept_rows(outer.in_features, 1, gone), self.products[outer], ExitStack())
            _remove_attention(layer, masks, number, self.top_k)
            _remove_feed_forward(layer, masks, number)

    def _mask_layer(self, layer: PrunableLayer, masks: PruningMasks, number: int, stack: ExitStack) -> None:
        for outer, gone in _readers(layer, masks, number):
            if any(gone):
                self._mask_columns(outer, kept_rows(outer.in_features, 1, gone), stack)
        if layer.heads is not None and masks.hard_attn[number]:
            _swap(layer.heads.module, "top_k", self.top_k, stack)
        for is_gone, name in ((masks.attn_prune[number], layer.mixer), (masks.ffn_prune[number], layer.ffn)):
            if is_gone:
                _swap(layer.owner, name, NoBranch(), stack)

    def _mask_columns(self, outer: nn.Linear, kept: Tensor, stack: ExitStack) -> None:
        if outer in self.products:
            _refit(outer, kept, self.products[outer], stack)
            return
        mask = torch.zeros_like(outer.weight[0])
        mask[kept.to(mask.device)] = 1
        parametrize.register_parametrization(outer, "weight", ColumnMask(mask))
        stack.callback(parametrize.remove_parametrizations, outer, "weight", leave_parametrized=False)

    def check(self, masks: PruningMasks) -> None:
        """Refuse masks of other layers, by a ValueError."""
        own = PruningMasks.none(self.heads, self.groups)
        shapes = [
            ([len(row) for row in one.ffn_approx], [len(row) for row in one.attn_approx]) for one in (own, masks)
        ]
        if shapes[0] != shapes[1]:
            raise ValueError(f"masks must be of groups and heads {shapes[0]}, got {shapes[1]}")


def apply_masks(
    model: nn.Module, masks: PruningMasks, mode: str = "remove", *, num_groups: int = 12, top_k: int = 30
) -> nn.Module:
    """Prune a network in place, and give it.

    Args:
        model: has layers that `prunable_layers` finds.
        masks: what goes.
        mode: "mask" keeps all shapes and multiplies by zeros; "remove" makes the modules smaller. Weights of a pruned
            network fit a new one to which the same masks have been applied by "remove".
        num_groups: groups of the hidden channels, as in the search.
        top_k: keys that hard attention keeps, likewise.

    Raises:
        ValueError: there is no such mode, or the masks are of another network.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    network = PrunableModel(prunable_layers(model), num_groups, top_k)
    if mode == "remove":
        network.remove(masks)
    else:
        network.masked(masks)                      # and never closed
    return model


class ColumnMask(nn.Module):
    """A weight (out, in) some of whose columns are 0.

    Args:
        kept: (in,) of the weight's dtype, 1 or 0.
    """

    def __init__(self, kept: Tensor) -> None:
        super().__init__()
        self.kept: Tensor
        self.register_buffer("kept", kept, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """(out, in) -> (out, in)."""
        return weight * self.kept


def _readers(layer: PrunableLayer, masks: PruningMasks, number: int) -> list[tuple[nn.Linear, Sequence[bool]]]:
    """What reads heads and hidden channels of a layer, and which of them are left out."""
    parts = ((layer.heads, masks.attn_approx[number]), (layer.hidden, masks.ffn_approx[number]))
    return [(part.outer, gone) for part, gone in parts if part is not None]


def _refit(outer: nn.Linear, kept: Tensor, products: Tensor, stack: ExitStack) -> None:
    weight, bias = refitted(outer, kept, products)
    for name, value in (("weight", weight), ("bias", bias)):
        if value is not None:
            _swap(outer, name, nn.Parameter(value, outer.weight.requires_grad), stack)


def _swap(owner: Any, name: str, value: Any, stack: ExitStack) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


def _remove_attention(layer: PrunableLayer, masks: PruningMasks, number: int, top_k: int) -> None:
    heads, gone = layer.heads, masks.attn_approx[number]
    if masks.attn_prune[number]:
        _drop_branch(layer.owner, layer.mixer, layer.mixer_norm)
    elif heads is not None and all(gone):
        setattr(layer.owner, layer.mixer, _bias_of(heads.outer))
    elif heads is not None:
        for projection, kinds in heads.projections:
            _shrink(projection, kept_rows(projection.out_features, kinds, gone), dim=0)
        _shrink(heads.outer, kept_rows(heads.outer.in_features, 1, gone), dim=1)
        setattr(heads.module, heads.count, len(gone) - sum(gone))
        heads.module.top_k = top_k if masks.hard_attn[number] else None


def _remove_feed_forward(layer: PrunableLayer, masks: PruningMasks, number: int) -> None:
    hidden, gone = layer.hidden, masks.ffn_approx[number]
    if masks.ffn_prune[number]:
        _drop_branch(layer.owner, layer.ffn, layer.ffn_norm)
    elif hidden is not None and all(gone):
        setattr(layer.owner, layer.ffn, _bias_of(hidden.outer))
    elif hidden is not None:
        kept = kept_rows(hidden.inner.out_features, 1, gone)
        _shrink(hidden.inner, kept, dim=0)
        _shrink(hidden.outer, kept, dim=1)


def _drop_branch(owner: nn.Module, branch: str, norm: str | None) -> None:
    setattr(owner, branch, NoBranch())
    if norm is not None:
        setattr(owner, norm, nn.Identity())


def _bias_of(outer: nn.Linear) -> nn.Module:
    return NoBranch() if outer.bias is None else ConstantBranch(outer.bias)


@torch.no_grad()
def _shrink(layer: nn.Linear, kept: Tensor, dim: int) -> None:
    """Keep some outputs (0) or inputs (1) of a layer."""
    kept = kept.to(layer.weight.device)
    layer.weight = nn.Parameter(layer.weight.index_select(dim, kept), layer.weight.requires_grad)
    if dim == 0 and layer.bias is not None:
        layer.bias = nn.Parameter(layer.bias[kept], layer.bias.requires_grad)
    layer.out_features, layer.in_features = layer.weight.shape
