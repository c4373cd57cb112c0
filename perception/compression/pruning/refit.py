"""What reads heads or hidden channels, refitted to those that stay, so that it gives what it gave before.

Least squares over what the layer read of some samples: of n inputs and a bias only the products of each with each are
needed, which are summed up in one run of the whole network, whatever is left out later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

DAMPING = 1e-4                                     # of the mean square of what stays, added to each

Products = Mapping[nn.Linear, Tensor]


def input_products(readers: Iterable[nn.Linear], run: Callable[[], object]) -> dict[nn.Linear, Tensor]:
    """Sums of x x^T over all rows x that each layer reads, with a one behind them: (n + 1, n + 1) float64.

    Args:
        readers: layers of a network.
        run: calls the network with all samples.
    """
    sums: dict[nn.Linear, Tensor] = {}

    def listen(layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(layer, nn.Linear)
        rows = inputs[0].detach().flatten(0, -2).double()
        rows = torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
        sums[layer] = sums.get(layer, 0) + rows.T @ rows

    hooks = [layer.register_forward_pre_hook(listen) for layer in readers]
    try:
        with torch.enable_grad():                          # kernels that do a whole layer at once call no parts of it
            run()
    finally:
        for hook in hooks:
            hook.remove()
    return sums


@torch.no_grad()
def refitted(layer: nn.Linear, kept: Tensor, products: Tensor) -> tuple[Tensor, Tensor | None]:
    """Weight (out, n) and bias of a layer that reads only some of its inputs, and gives nearly what it gave.

    Args:
        layer: as it is, reading all n.
        kept: indices of the inputs that stay; the other columns of the result are 0.
        products: of its inputs, see `input_products`.
    """
    n, weight = layer.in_features, layer.weight.double()
    read = kept.to(products.device)
    if layer.bias is not None:
        weight = torch.cat([weight, layer.bias.double()[:, None]], dim=1)
        read = torch.cat([read, read.new_tensor([n])])
    all_of_them = products[: weight.shape[1], : weight.shape[1]]
    square = all_of_them[read][:, read]
    square.diagonal().add_(DAMPING * square.diagonal().mean())
    found = torch.zeros_like(weight)
    found[:, read] = torch.linalg.solve(square, all_of_them[read] @ weight.T).T
    found = found.to(layer.weight.dtype)
    return found[:, :n], None if layer.bias is None else found[:, n]
