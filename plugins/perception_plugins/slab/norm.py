"""Batch normalisation that a transformer can be trained with, and that its linear layers take over at inference.

"SLAB: Efficient Transformers with Simplified Linear Attention and Progressive Re-parameterized Batch Normalization"
(Guo et al., ICML 2024), section 3.1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from perception.compression.batch_norm import affine_of
from perception.registry import MODELS


@MODELS.register_module()
class RepBN(nn.Module):
    """Batch normalisation beside a scaled shortcut, BN(x) + alpha x: a scale and a shift of each channel at inference.

    Loads the weights of a `PRepBN` too, of which it is what remains.

    Args:
        channels: width C.
        eps: added to the variance.
        momentum: of the running statistics, which are those of all tokens of a batch.
    """

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm1d(channels, eps=eps, momentum=momentum)
        self.alpha = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.bn(x.flatten(0, -2)).view_as(x) + self.alpha * x

    @torch.no_grad()
    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What it multiplies each channel by at inference and then adds, (C,) each, float64."""
        affine = affine_of(self.bn)
        assert affine is not None
        return affine[0] + self.alpha, affine[1]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}norm2.alpha" in state_dict:
            for name in [name for name in state_dict if name.startswith(prefix)]:
                value = state_dict.pop(name)
                if name.startswith(f"{prefix}norm2."):
                    state_dict[prefix + name.removeprefix(f"{prefix}norm2.")] = value
        super()._load_from_state_dict(state_dict, prefix, *args)


@MODELS.register_module()
class PRepBN(nn.Module):
    """Layer normalisation that fades into a `RepBN` while a network is trained (equation 5); inference is the latter.

    The share of layer normalisation falls linearly, first * left / steps, with ``left`` counted down from ``steps``: by
    the calls in training, as the authors' code does it, until `set_progress` takes over, for which there is the
    `ProgressiveNormHook`. Calls are more than iterations where gradients are accumulated, a norm is shared, or blocks
    are run again for the gradient; the last of these needs the hook, since both runs must have the same share.

    Args:
        channels: width C.
        steps: T, over which layer normalisation fades.
        warm: calls before that with layer normalisation alone, in which the statistics of the other stay.
        first: share of layer normalisation at the beginning.
        eps: of the layer normalisation; 1e-6 in the authors' DeiT and PVT, 1e-5 in their Swin and CSWin.
        batch_eps, momentum: of the `RepBN`.

    Raises:
        ValueError: ``steps`` is below 1, ``warm`` negative, or ``first`` outside [0, 1].
    """

    warm: Tensor
    iter: Tensor
    total_step: Tensor

    def __init__(
        self, channels: int, *, steps: int = 300_000, warm: int = 0, first: float = 1.0, eps: float = 1e-6,
        batch_eps: float = 1e-5, momentum: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0.0 <= first <= 1.0:
            raise ValueError(f"first must lie in [0, 1], got {first}")
        _check_schedule(steps, warm)
        self.norm1 = nn.LayerNorm(channels, eps=eps)
        self.norm2 = RepBN(channels, eps=batch_eps, momentum=momentum)
        self.register_buffer("warm", torch.tensor(warm))
        self.register_buffer("iter", torch.tensor(steps))
        self.register_buffer("total_step", torch.tensor(steps))
        self.first, self.counts_calls = first, True
        self._warm_left = warm                       # the buffer again, which lies where reading it may wait

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        if not self.training:
            return self.norm2(x)
        if self._warm_left > 0:
            self._count_down()
            return self.norm1(x)
        share = self.first * self.iter / self.total_step
        self._count_down()
        return share * self.norm1(x) + (1 - share) * self.norm2(x)

    def set_progress(self, step: int, *, steps: int, warm: int = 0) -> None:
        """Go to a place of the schedule, and count no calls from now on.

        Args:
            step: how many steps of the training are done.
            steps, warm: of the schedule, in steps of the training.

        Raises:
            ValueError: ``steps`` is below 1, or ``warm`` negative.
        """
        _check_schedule(steps, warm)
        self.counts_calls, self._warm_left = False, max(0, warm - step)
        self.warm.fill_(self._warm_left)
        self.iter.fill_(steps - min(max(0, step - warm), steps))
        self.total_step.fill_(steps)

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """What it multiplies each channel by at inference and then adds, (C,) each, float64."""
        return self.norm2.scale_and_shift()

    @torch.no_grad()
    def _count_down(self) -> None:
        if not self.counts_calls:
            return
        if self._warm_left > 0:
            self._warm_left -= 1
            self.warm.sub_(1)
        else:
            self.iter.sub_(1).clamp_(min=0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if f"{prefix}iter" in state_dict:            # the authors' detectors have no warm phase, and no counter of it
            state_dict.setdefault(f"{prefix}warm", torch.zeros_like(state_dict[f"{prefix}iter"]))
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not self.warm.is_meta:
            self._warm_left = int(self.warm)


def _check_schedule(steps: int, warm: int) -> None:
    if steps < 1 or warm < 0:
        raise ValueError(f"steps must be >= 1 and warm >= 0, got {steps} and {warm}")


def replace_layer_norms(model: nn.Module, *, steps: int = 300_000, warm: int = 0) -> int:
    """Make every layer normalisation of a network a `PRepBN` that begins with it, weights included.

    Where the network's parts are foldable and read norms of channels, `fold_batch_norms` removes them after training.

    Args:
        model: changed in place; norms of several dimensions, and subclasses for maps, stay.
        steps, warm: of the schedule.

    Returns:
        The number of norms.
    """
    found = [
        (owner, name, norm) for owner in model.modules() for name, norm in owner.named_children()
        if type(norm) is nn.LayerNorm and len(norm.normalized_shape) == 1 and not isinstance(owner, PRepBN)
    ]
    for owner, name, norm in found:
        like = next(norm.parameters(), torch.empty(0))
        progressive = PRepBN(norm.normalized_shape[0], steps=steps, warm=warm).to(like.device, like.dtype)
        progressive.norm1 = norm
        setattr(owner, name, progressive.train(norm.training))
    return len(found)
