"""Argument checks that all ops share: each refuses early and says what came and what was wanted."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MOST = 2**31 - 1    # rows, cells, slots or segments at a time: kernels and torch's own ops number them in int32
FLOATING = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_tensor(name: str, tensor: Tensor, shape: tuple[int | str, ...], dtypes: tuple[torch.dtype, ...]) -> None:
    """Refuse a tensor of another shape or dtype.

    Args:
        name: the argument's name, for the message.
        tensor: the argument.
        shape: wanted sizes; a letter stands for any size.
        dtypes: the dtypes that are taken.

    Raises:
        ValueError: shape or dtype differ.
    """
    fits = tensor.ndim == len(shape) and all(
        isinstance(want, str) or size == want for size, want in zip(tensor.shape, shape, strict=True)
    )
    if fits and tensor.dtype in dtypes:
        return
    wanted_dtype = "floating" if dtypes is FLOATING else " or ".join(str(dtype) for dtype in dtypes)
    wanted_shape = f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"
    raise ValueError(f"{name} must be {wanted_dtype} {wanted_shape}, got {tensor.dtype} {tuple(tensor.shape)}")


def check_device(name: str, tensor: Tensor, /, **others: Tensor | None) -> None:
    """Refuse tensors that do not lie where the first one lies."""
    for other_name, other in others.items():
        if other is not None and other.device != tensor.device:
            raise ValueError(f"{other_name} must lie on {tensor.device} as {name} does, got {other.device}")


def check_values(name: str, tensor: Tensor) -> None:
    """Refuse a meta tensor where the result's shape depends on values."""
    if tensor.device.type == "meta":
        raise ValueError(f"{name} must have values, got a tensor on the meta device")


def check_count(what: str, *sizes: int) -> None:
    """Refuse more things than an int32 numbers: the product of `sizes`, unless only a traced graph will know them."""
    if all(isinstance(size, int) for size in sizes) and math.prod(sizes) > MOST:
        raise ValueError(f"{what} must be at most {MOST}, got {' x '.join(map(str, sizes))}")


def check_positive(**sizes: int) -> None:
    """Refuse integer arguments below 1, by name."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name} must be at least 1, got {size}")


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuse NaN and infinity; reads the values, so it belongs inside an op."""
    if bool(torch.isfinite(tensor.sum())):         # the quicker look; finite numbers too can add up to infinity
        return
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0, 0])
        raise ValueError(f"{name} must be finite, row {row} is {tensor[row].tolist()}")


def check_range(name: str, values: Tensor, upper: int) -> None:
    """Refuse integers outside [0, upper); reads the values, so it belongs inside an op. A tracer has none to read."""
    if torch.compiler.is_compiling() or values.numel() == 0:
        return
    lowest, highest = (int(bound) for bound in values.aminmax())
    if lowest < 0 or highest >= upper:
        raise ValueError(f"{name} must lie in [0, {upper}), got {lowest if lowest < 0 else highest}")
