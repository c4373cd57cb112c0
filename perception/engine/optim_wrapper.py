"""The optimizer's surroundings: autocast on CPU and GPU, accumulation, clipping, parameters without weight decay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS as MMENGINE_OPTIMIZERS
from torch import Tensor, nn

from ..precision import computes_in_bfloat16
from ..registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS

DTYPES = {None: None, "float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
NORM_MODULES = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """mmengine's OptimWrapper with mixed precision wherever the parameters are, the CPU included.

    Args:
        dtype: "bfloat16", "float16" (with dynamic loss scaling), None for full precision, or "auto": bfloat16 where
            the device computes in it, full precision where it would be emulated (on a CPU six times slower and more).
        kwargs: of `mmengine.optim.OptimWrapper`: optimizer, accumulative_counts, clip_grad.

    Raises:
        ValueError: the dtype is another.
    """

    def __init__(self, dtype: str | None = None, **kwargs: Any) -> None:
        if dtype != "auto" and dtype not in DTYPES:
            raise ValueError(f"dtype must be auto, bfloat16, float16 or None, got {dtype!r}")
        super().__init__(**kwargs)
        parameters: list[nn.Parameter] = self.optimizer.param_groups[0]["params"]
        self.device_type = parameters[0].device.type
        if dtype == "auto":
            dtype = "bfloat16" if computes_in_bfloat16(self.device_type) else None
        self.dtype = DTYPES[dtype]
        # torch's first scale, 65536, is itself beyond float16 and costs the first steps
        self.scaler = torch.amp.GradScaler(self.device_type, init_scale=4096.0, enabled=self.dtype is torch.float16)

    @property
    def accumulative_counts(self) -> int:
        """Forward passes for one step of the optimizer."""
        return self._accumulative_counts

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no gradient exchange while gradients accumulate."""
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        """Gradients of the loss, scaled if the type needs it."""
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Clip the unscaled gradients, then step; a step with infinite ones is left out."""
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """With the state of the loss scale."""
        return {**super().state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Also a state without loss scale, of a training in another type."""
        state = dict(state_dict)
        self.scaler.load_state_dict(state.pop("scaler", {}) or self.scaler.state_dict())
        super().load_state_dict(state)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DecayGroupsConstructor:
    """Builds an optimizer with two groups, of parameters with weight decay and of those without, a learning rate.

    Args:
        optim_wrapper_cfg: config of the wrapper, with that of its ``optimizer``.
        paramwise_cfg: ``no_decay``: parts of names whose parameters get no decay, by default ``("norm",)``; parameters
            of normalisation layers get none in any case. ``lr_mult``: factors on the learning rate by part of a name;
            the first part that a name has counts.

    Raises:
        ValueError: ``paramwise_cfg`` holds something else, or a part of ``lr_mult`` is in no name.
    """

    def __init__(self, optim_wrapper_cfg: Mapping[str, Any], paramwise_cfg: Mapping[str, Any] | None = None) -> None:
        unknown = set(paramwise_cfg or {}) - {"no_decay", "lr_mult"}
        if unknown:
            raise ValueError(
                f"paramwise_cfg of DecayGroupsConstructor takes no_decay and lr_mult, got {sorted(unknown)}"
            )
        self.optim_wrapper_cfg = dict(optim_wrapper_cfg)
        self.no_decay = tuple((paramwise_cfg or {}).get("no_decay", ("norm",)))
        self.lr_mult: dict[str, float] = dict((paramwise_cfg or {}).get("lr_mult", {}))

    def __call__(self, model: nn.Module) -> OptimWrapper:
        model = getattr(model, "module", model)
        cfg = dict(self.optim_wrapper_cfg)
        optimizer = dict(cfg.pop("optimizer"))
        decayed, free = split_by_decay(model, self.no_decay)
        factors = self._lr_factors(model)
        optimizer["params"] = [
            {
                "params": [parameter for parameter in parameters if factors[parameter] == factor],
                **({} if factor == 1.0 else {"lr": factor * optimizer["lr"]}), **options,
            }
            for parameters, options in ((decayed, {}), (free, {"weight_decay": 0.0}))
            for factor in dict.fromkeys(factors[parameter] for parameter in parameters)
        ]
        cfg.setdefault("type", "AutocastOptimWrapper")
        built = MMENGINE_OPTIMIZERS.build(optimizer)
        return OPTIM_WRAPPERS.build(cfg, default_args={"optimizer": built})

    def _lr_factors(self, model: nn.Module) -> dict[nn.Parameter, float]:
        named = dict(model.named_parameters())
        unused = [part for part in self.lr_mult if not any(part in name for name in named)]
        if unused:
            raise ValueError(f"lr_mult names {unused[0]!r}, which is in no parameter of {type(model).__name__}")
        return {
            parameter: next((factor for part, factor in self.lr_mult.items() if part in name), 1.0)
            for name, parameter in named.items()
        }


def split_by_decay(model: nn.Module, no_decay: Sequence[str]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Trainable parameters with and without weight decay, in the model's order.

    Raises:
        ValueError: the model has no trainable parameter.
    """
    norms = {id(p) for module in model.modules() if isinstance(module, NORM_MODULES) for p in module.parameters()}
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            without = id(parameter) in norms or any(part in name for part in no_decay)
            (free if without else decayed).append(parameter)
    if not decayed and not free:
        raise ValueError(f"{type(model).__name__} has no trainable parameter")
    return decayed, free
