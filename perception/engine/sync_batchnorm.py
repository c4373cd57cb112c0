"""Batch normalisation over all processes, on CPUs too, and batch normalisation that stays as it is."""

from __future__ import annotations

import torch
from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F

from ..errors import ConfigError

MODES = (None, "all_reduce", "frozen")
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class _AnyShapeBatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of (N, C, ...) for any number of further axes."""

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise ValueError(f"batch normalisation takes (N, C, ...), got {tuple(input.shape)}")


class AllReduceBatchNorm(_AnyShapeBatchNorm):
    """Batch normalisation by the mean and variance over all processes; works with gloo on CPUs.

    Processes may hold different numbers of rows, none included. In evaluation, and in a single process, it is the
    ordinary one.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        self._check_input_dim(input)
        if not self.training or get_world_size() == 1:
            return super().forward(input)
        axes = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1] + [1] * (input.ndim - 2)
        values = input.float()
        rows = values.new_tensor([values.numel() / max(values.shape[1], 1)])
        total = all_reduce(torch.cat([values.sum(axes), rows]))                            # (C + 1,)
        count = total[-1].detach().clamp(min=1)
        mean = total[:-1] / count                                                          # (C,)
        centred = values - mean.view(shape)
        variance = all_reduce(centred.square().sum(axes)) / count                          # (C,), biased
        self._track(mean.detach(), variance.detach(), count)
        normalised = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            normalised = normalised * self.weight.view(shape) + self.bias.view(shape)
        return normalised.to(input.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        unbiased = variance * count / (count - 1).clamp(min=1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), momentum)


class FrozenBatchNorm(_AnyShapeBatchNorm):
    """Batch normalisation by the stored statistics, in training too; its scale and shift are not trained."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, ...) -> the same shape."""
        self._check_input_dim(input)
        return F.batch_norm(input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def convert_batch_norms(model: nn.Module, mode: str | None, device: torch.device) -> nn.Module:
    """Replace the batch normalisations of a model; names, weights and statistics are kept.

    Args:
        model: changed in place, unless it is itself a batch normalisation.
        mode: "all_reduce" (torch's SyncBatchNorm on GPUs), "frozen", or None: nothing is done.
        device: where the model will run.

    Raises:
        ConfigError: the mode is another.
    """
    if mode not in MODES:
        raise ConfigError(f'sync_bn: expected "all_reduce", "frozen" or None, got {mode!r}')
    if mode is None:
        return model
    if mode == "all_reduce" and device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return _converted(model, AllReduceBatchNorm if mode == "all_reduce" else FrozenBatchNorm)


def _converted(module: nn.Module, kind: type[_AnyShapeBatchNorm]) -> nn.Module:
    if type(module) in BATCH_NORMS:
        return _replacement(module, kind)          # type: ignore[arg-type]  # one of BATCH_NORMS
    for name, child in module.named_children():
        setattr(module, name, _converted(child, kind))
    return module


def _replacement(old: nn.modules.batchnorm._BatchNorm, kind: type[_AnyShapeBatchNorm]) -> _AnyShapeBatchNorm:
    new = kind(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
    new.weight, new.bias = old.weight, old.bias
    new.running_mean, new.running_var = old.running_mean, old.running_var
    new.num_batches_tracked = old.num_batches_tracked
    new.training = old.training
    if kind is FrozenBatchNorm:
        new.requires_grad_(False)
    return new
