"""Energy of a network's arithmetic, from the number of multiplications and additions.

"EcoFormer: Energy-Saving Attention with Linear Complexity" (Liu et al., NeurIPS 2022), whose figures for float32 at
45 nm are those of Horowitz, "Computing's Energy Problem", ISSCC 2014. Only convolutions, linear layers and attention
are counted; the published totals, which are about 2 % higher, include normalisation and activations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.mixers.attention import AttentionMixer

from .attention import HashAttention, SharedAttention
from .pvt_parts import ReducedAttentionMixer

MULTIPLICATION_PJ, ADDITION_PJ = 3.7, 0.9            # float32 at 45 nm


@dataclass(frozen=True)
class Operations:
    """Numbers of scalar operations.

    Args:
        multiplications: as told.
        additions: as told.
    """

    multiplications: int = 0
    additions: int = 0

    def __add__(self, other: Operations) -> Operations:
        return Operations(self.multiplications + other.multiplications, self.additions + other.additions)

    @property
    def energy_pj(self) -> float:
        """Energy, in picojoules."""
        return MULTIPLICATION_PJ * self.multiplications + ADDITION_PJ * self.additions


def softmax_operations(tokens: int, channels: int, heads: int, keys: int | None = None) -> Operations:
    """Of softmax attention without its linear layers; ``keys`` are as many as the tokens unless told."""
    keys = tokens if keys is None else keys
    products = 2 * tokens * keys * channels
    return Operations(products + heads * tokens * keys, products)


def hash_operations(tokens: int, channels: int, heads: int, bits: int = 16, anchors: int = 25) -> Operations:
    """Of a `HashAttention` without its linear layers; codes of -1 and 1 are added, not multiplied."""
    width, rows = channels // heads, heads * tokens
    distances, projection = 2 * rows * anchors * width, rows * anchors * bits
    sums = rows * bits + rows * bits                                     # of keys, and for the denominator
    products = rows * bits * width + rows * bits * width                 # of codes with values, and with their sum
    additions = distances + projection + sums + products + rows * width
    return Operations(2 * rows * anchors + projection + rows * bits + rows + rows * width, additions)


@torch.no_grad()
def count_operations(network: nn.Module, image_size: tuple[int, int]) -> Operations:
    """Of a backbone or classifier, for one picture.

    Args:
        network: takes (1, 3, H, W); it may lie on the meta device, so that nothing is computed.
        image_size: H, W.
    """
    counted: list[Operations] = []

    def note(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        counted.append(_COUNTS[type(module)](module, inputs, output))

    hooks = [module.register_forward_hook(note) for module in network.modules() if type(module) in _COUNTS]
    was_training = network.training
    try:
        like = next(network.parameters())
        network.eval()(torch.zeros(1, 3, *image_size, device=like.device, dtype=like.dtype))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return sum(counted, Operations())


def _products(products: int) -> Operations:
    """Each product is added to a sum."""
    return Operations(products, products)


def _of_weights(module: nn.Linear | nn.Conv2d, inputs: tuple[Any, ...], output: Tensor) -> Operations:
    return _products(output.numel() * module.weight[0].numel())


def _of_softmax(module: AttentionMixer | SharedAttention, inputs: tuple[Any, ...], output: Tensor) -> Operations:
    return softmax_operations(output.shape[1], output.shape[2], module.heads)


def _of_hash(module: HashAttention, inputs: tuple[Any, ...], output: Tensor) -> Operations:
    anchors = module.hash.anchors.shape[2]
    return hash_operations(output.shape[1], output.shape[2], module.heads, module.hash.bits, anchors)


def _of_reduced(module: ReducedAttentionMixer, inputs: tuple[Any, ...], output: Tensor) -> Operations:
    height, width = (side // module.reduction for side in inputs[1])
    return softmax_operations(output.shape[1], output.shape[2], module.heads, height * width)


_COUNTS: dict[type[nn.Module], Callable[[Any, tuple[Any, ...], Any], Operations]] = {
    nn.Linear: _of_weights, nn.Conv2d: _of_weights, AttentionMixer: _of_softmax, SharedAttention: _of_softmax,
    HashAttention: _of_hash, ReducedAttentionMixer: _of_reduced,
}
