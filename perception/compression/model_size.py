"""How large a model is, compressed or not."""

from __future__ import annotations

from torch import Tensor, nn

from .stored_tensor import StoredTensor


def num_numbers(model: nn.Module) -> int:
    """Parameters, those that are stored in another form included (of thin factors, the factors' numbers)."""
    stored = {part for part in model.modules() if isinstance(part, StoredTensor)}
    inside = {parameter for part in stored for parameter in part.parameters()}
    plain = sum(parameter.numel() for parameter in model.parameters() if parameter not in inside)
    return plain + sum(part.numel() for part in stored)


def num_bytes(model: nn.Module) -> int:
    """Bytes of all that the state dict names, tensors that stand in several places once."""
    tensors = {id(value): value for value in model.state_dict(keep_vars=True).values()}
    return sum(tensor_bytes(value) for value in tensors.values())


def tensor_bytes(tensor: Tensor) -> int:
    """Bytes of a tensor, or of the parts of one that only wraps others, as quantised ones of torchao do."""
    flatten = getattr(tensor, "__tensor_flatten__", None)
    if flatten is not None:
        return sum(tensor_bytes(getattr(tensor, name)) for name in flatten()[0])
    return tensor.numel() * tensor.element_size()
