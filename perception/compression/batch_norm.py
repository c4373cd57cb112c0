"""Batch normalisation at inference: a scale and a shift that the layer before, or the one behind, can take over."""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


@runtime_checkable
class Foldable(Protocol):
    """A module that knows which of its layers a normalisation follows, or leads to."""

    def fold_batch_norm(self) -> None:
        """Give the scale and the shift of the normalisation to that layer, and drop it."""


@runtime_checkable
class AffineNorm(Protocol):
    """A normalisation that scales and shifts each channel at evaluation, besides those of torch."""

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What it multiplies each channel by and then adds, (C,) each."""


@runtime_checkable
class AffineReader(Protocol):
    """A module whose layers can take over a scale and a shift of what it reads."""

    def absorb_affine(self, scale: Tensor, shift: Tensor) -> None:
        """From now on give for x what scale * x + shift gave; both are (C,)."""


def fold_batch_norms(model: nn.Module) -> int:
    """Fold the normalisations of a model's foldable parts, in place; outputs stay as they were, up to rounding.

    Args:
        model: in evaluation mode; its parameters have other names and shapes afterwards, so load weights before.

    Returns:
        The number of parts that were folded.

    Raises:
        ValueError: the model is in training mode, in which a normalisation does something else.
    """
    if model.training:
        raise ValueError("fold_batch_norms wants a model in evaluation mode: call model.eval() first")
    parts = [cast(Foldable, part) for part in model.modules() if isinstance(part, Foldable)]
    for part in parts:
        part.fold_batch_norm()
    return len(parts)


def fold_into_next(owner: nn.Module, name: str, *readers: nn.Module) -> None:
    """Let the only readers of a normalisation take it over; where one can't, or it is none of channels, it stays.

    Args:
        owner: has it as its attribute ``name``, which becomes the identity.
        readers: linear layers, convolutions without padding, or `AffineReader`s.
    """
    affine = affine_of(getattr(owner, name))
    if affine is not None and all(_can_absorb(reader) for reader in readers):
        for reader in readers:
            absorb(reader, *affine)
        setattr(owner, name, nn.Identity())


@torch.no_grad()
def fold_into_previous(owner: nn.Module, name: str, layer: nn.Linear | nn.Conv2d) -> None:
    """Let the layer whose output a normalisation alone reads take it over, W' = a W and c' = a c + b.

    Args:
        owner: has it as its attribute ``name``, which becomes the identity; one that is none of channels stays.
        layer: the layer.
    """
    affine = affine_of(getattr(owner, name))
    if affine is not None:
        scale, shift = (part.double() for part in affine)
        rows = scale.view(-1, *(1,) * (layer.weight.dim() - 1))
        _assign(layer, layer.weight * rows, shift if layer.bias is None else layer.bias * scale + shift)
        setattr(owner, name, nn.Identity())


@torch.no_grad()
def affine_of(norm: nn.Module) -> tuple[Tensor, Tensor] | None:
    """Scale and shift that a normalisation is at evaluation, None if its statistics are those of each input.

    Returns:
        (C,) each, float64 of torch's batch normalisation: a small variance makes a large scale.
    """
    if isinstance(norm, AffineNorm):
        return norm.scale_and_shift()
    if not isinstance(norm, _BatchNorm) or norm.running_mean is None or norm.running_var is None:
        return None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    scale = scale if norm.weight is None else scale * norm.weight
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


@torch.no_grad()
def absorb(reader: nn.Module, scale: Tensor, shift: Tensor) -> None:
    """Let a module give for x what scale * x + shift gave, both (C,): W' = W diag(a), c' = c + W b.

    Raises:
        ValueError: it is no linear layer, no convolution without padding and no `AffineReader`.
    """
    if not _can_absorb(reader):
        raise ValueError(f"a scale and a shift want a linear layer or a convolution without padding, got {reader}")
    scale, shift = scale.double(), shift.double()
    if isinstance(reader, nn.Linear):
        moved = reader.weight.double() @ shift
        _assign(reader, reader.weight * scale, moved if reader.bias is None else reader.bias + moved)
    elif isinstance(reader, nn.Conv2d):
        repeats = reader.out_channels // reader.groups
        columns = [x.view(reader.groups, -1).repeat_interleave(repeats, dim=0) for x in (scale, shift)]  # (O, I) each
        moved = (reader.weight.double().sum(dim=(2, 3)) * columns[1]).sum(dim=1)
        weight = reader.weight * columns[0][:, :, None, None]
        _assign(reader, weight, moved if reader.bias is None else reader.bias + moved)
    else:
        cast(AffineReader, reader).absorb_affine(scale, shift)


def _can_absorb(reader: nn.Module) -> bool:
    if isinstance(reader, nn.Conv2d):
        return reader.padding in ((0, 0), "valid")        # zeros at the border are not what the shift would make them
    return isinstance(reader, (nn.Linear, AffineReader))


def _assign(layer: nn.Linear | nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
    dtype, is_trained = layer.weight.dtype, layer.weight.requires_grad
    layer.weight, layer.bias = (nn.Parameter(part.to(dtype), is_trained) for part in (weight, bias))
