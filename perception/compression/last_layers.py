"""Which layers give what a model gives: those that lose first when their numbers are rounded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor, nn

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PRODUCTS = ("ConvolutionBackward", "MkldnnConvolution", "AddmmBackward", "MmBackward", "BmmBackward", "LinearBackward",
            "BaddbmmBackward", "ScaledDotProduct")


def last_layers(model: nn.Module, run: Callable[[], Any]) -> list[str]:
    """Names of the modules whose matrices and kernels reach the output of a model through no later product.

    They are found in the graph of gradients, so it does not matter whether a module's own forward runs or something
    else reads its weights. Parameters that are not trained are not seen.

    Args:
        model: whose parameters are asked for.
        run: calls it and gives its raw output: tensors in dictionaries, lists or records.
    """
    with torch.enable_grad():
        outputs = list(tensors_of(run()))
    leaves, products = _walk_back(one.grad_fn for one in outputs)
    for product in products:
        leaves |= _walk_back(earlier for earlier, _ in product.next_functions)[0]
    found = {id(leaf.variable) for leaf in leaves}
    names = [name for name, value in model.named_parameters() if value.dim() > 1 and id(value) in found]
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def tensors_of(value: Any) -> Iterator[Tensor]:
    """All tensors in nested containers."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors_of(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from tensors_of(part)
    elif is_dataclass(value) and not isinstance(value, type):
        for entry in fields(value):
            yield from tensors_of(getattr(value, entry.name))


def _walk_back(ends: Iterable[Any]) -> tuple[set[Any], set[Any]]:
    """The parameters' nodes and the products that are reached through nothing but other operations."""
    leaves: set[Any] = set()
    products: set[Any] = set()
    waiting = [end for end in ends if end is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        if node.name().startswith(PRODUCTS):
            products.add(node)
            continue
        if hasattr(node, "variable"):
            leaves.add(node)
        for earlier, _ in node.next_functions:
            if earlier is not None and earlier not in seen:
                seen.add(earlier)
                waiting.append(earlier)
    return leaves, products
