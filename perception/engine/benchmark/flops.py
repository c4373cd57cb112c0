"""Operations of a call: torch's own counter, taught the attention kernels that it does not know."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torchvision  # noqa: F401 - the import registers torch.ops.torchvision
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.module_tracker import ModuleTracker

import perception_ops  # noqa: F401 - the import registers torch.ops.perception

from .timing import Call

Shape = Sequence[int]


def count_flops(call: Call) -> int:
    """Operations of the matrix products, convolutions and attention in a call, two for each multiply-add.

    Element-wise work, sorting and the kernels of other packages (such as spconv's) count nothing.
    """
    counter = FlopCounterMode(display=False, custom_mapping=_FORMULAS)
    counter.mod_tracker = _NoModules()     # torch's own fails where a module is given a parameter without gradients
    with counter:
        call()
    return counter.get_total_flops()


class _NoModules(ModuleTracker):
    """Counts the whole alone, not each module."""

    def __init__(self) -> None:
        self.parents = {"Global"}

    def __enter__(self) -> _NoModules:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def group_attention_flops(qk: Shape, v: Shape, slots: Shape, back: Shape, valid: Any, group_size: int, *_: Any,
                          out_shape: Any = None, **__: Any) -> int:
    """Logits and weighted sum: 4 S^2 C for each group of S tokens."""
    return 4 * slots[0] * group_size * v[1]


def group_attention_backward_flops(grad: Shape, qk: Shape, v: Shape, slots: Shape, back: Shape, valid: Any,
                                   group_size: int, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """Logits again, their gradient, and the gradients of queries, keys and values: 10 S^2 C a group."""
    return 10 * slots[0] * group_size * v[1]


def group_layer_flops(tokens: Shape, position: Shape, slots: Shape, back: Shape, valid: Any, weights: Sequence[Shape],
                      group_size: int, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """The linear layers' products for each slot, and the attention of each group."""
    products = 2 * sum(prod(weight) for weight in weights if len(weight) == 2)
    return slots[0] * (products + 4 * group_size * tokens[1])


def attention_flops(q: Shape, k: Shape, v: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """q (.., L, D), k (.., S, D), v (.., S, E): 2 L S (D + E) a head."""
    return 2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


def attention_backward_flops(grad: Shape, q: Shape, k: Shape, v: Shape, *_: Any, out_shape: Any = None,
                             **__: Any) -> int:
    """Logits again, their gradient, and the gradients of q, k and v: 2 L S (3 D + 2 E) a head."""
    return 2 * prod(q[:-1]) * k[-2] * (3 * q[-1] + 2 * v[-1])


def deform_conv_flops(x: Shape, weight: Shape, *_: Any, out_shape: Any = None, **__: Any) -> int:
    """The convolution alone: what moves its taps is other layers' work, what reads them is not a product."""
    return 2 * prod(out_shape) * prod(weight[1:])


_FORMULAS: dict[Any, Any] = {
    torch.ops.perception.group_attention: group_attention_flops,
    torch.ops.perception.group_attention_backward: group_attention_backward_flops,
    torch.ops.perception.lean_decode: attention_flops,
    torch.ops.perception.group_layer: group_layer_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
    torch.ops.torchvision.deform_conv2d: deform_conv_flops,
}
