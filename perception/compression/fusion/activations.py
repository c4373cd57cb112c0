"""What the units of a network say on some samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

STD_EPS = 1e-9


def standardised(acts: Tensor, *, std: bool = True, center: bool = True, norm: bool = True) -> Tensor:
    """Activations (S, n) of a layer, unit by unit.

    Args:
        acts: rows are samples.
        std: subtract the mean and divide by the standard deviation (unbiased, + 1e-9).
        center: else, subtract the mean.
        norm: else, divide by the length over the samples.
    """
    if std:
        return (acts - acts.mean(dim=0)) / (acts.std(dim=0) + STD_EPS)
    if center:
        return acts - acts.mean(dim=0)
    return acts / (acts.norm(dim=0) + STD_EPS) if norm else acts


def central_tokens(tokens: Tensor, window: int, *, class_token: bool = True) -> Tensor:
    """The tokens in the middle of a square map, and the class token: the border says little.

    Args:
        tokens: (B, N, C), of a map of S x S places, behind a class token if there is one.
        window: side of the middle, even if S is; 0 keeps the class token alone.
        class_token: whether there is one.

    Returns:
        (B, window * window + 1, C), or without the 1.

    Raises:
        ValueError: the tokens form no square, or the window does not lie in its middle.
    """
    first = int(class_token)
    side = math.isqrt(tokens.shape[1] - first)
    if side * side != tokens.shape[1] - first:
        raise ValueError(f"{tokens.shape[1] - first} tokens form no square map")
    if not 0 <= window <= side or (side - window) % 2:
        raise ValueError(f"window must lie in the middle of {side} x {side} tokens, got {window}")
    border = (side - window) // 2
    kept = slice(border, border + window)
    middle = tokens[:, first:].unflatten(1, (side, side))[:, kept, kept].flatten(1, 2)
    return torch.cat([tokens[:, :first], middle], dim=1)


@torch.no_grad()
def record_outputs(
    model: nn.Module, batches: Iterable[Any], *, select: Callable[[str, Tensor], Tensor] | None = None,
    **transform: bool,
) -> dict[str, Tensor]:
    """Outputs of every module of a transformer as rows of channels, standardised.

    Args:
        model: called with each batch, in evaluation mode.
        batches: of few pictures each.
        select: takes the name of a module and its output (B, N, C), and gives the tokens to keep.
        transform: for `standardised`.

    Returns:
        (S, C) by module, a module that has children as ``NAME.data``; modules that give no tensor of three dimensions,
        and the model itself, are left out.
    """
    found: dict[str, list[Tensor]] = {}

    def listener(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def listen(module: nn.Module, inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.dim() == 3:
                kept = output if select is None else select(name, output)
                found.setdefault(name, []).append(kept.detach().flatten(0, 1))
        return listen

    hooks = [
        module.register_forward_hook(listener(f"{name}.data" if any(module.children()) else name))
        for name, module in model.named_modules() if name
    ]
    try:
        for batch in batches:
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: standardised(torch.cat(parts), **transform) for name, parts in found.items()}
