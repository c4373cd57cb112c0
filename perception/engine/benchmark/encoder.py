"""The transformer encoder of a LiDAR backbone alone, without the dense network, against plain torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from perception_ops import window_partition

from ...errors import ConfigError, PerceptionError
from ..build import build_model
from .clouds import street_pillars
from .flops import count_flops
from .memory import peak_mib
from .rows import Row, compared
from .setting import Setting
from .timing import interleaved_ms

PlainEncoder = Callable[[Any, Tensor, Tensor, int], Tensor]
# of the difference's norm to that of the result: rounding of sums in another order through eight layers
AGREEMENT = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


def build_encoder(cfg: Any, device: torch.device) -> Any:
    """The LiDAR backbone of a config with seeded weights, in evaluation mode.

    Args:
        cfg: with ``model.lidar_backbone``, whose class has ``encode``, ``grid``, ``window`` and ``group_size``.
        device: where it runs.

    Raises:
        ConfigError: the backbone has none of that, as one that only scatters pillars.
    """
    torch.manual_seed(0)
    encoder: Any = build_model(cfg.model.lidar_backbone).to(device).eval()
    missing = [name for name in ("encode", "grid", "window", "group_size") if not hasattr(encoder, name)]
    if missing:
        kind = cfg.model.lidar_backbone.type
        raise ConfigError(f"{cfg.filename}: model.lidar_backbone: {kind} has no encoder of groups to time, "
                          f"which needs {', '.join(missing)}")
    return encoder


def encoder_tokens(encoder: Any, pillars: int, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """Features (M, C), coords (M, 4) and the number of samples."""
    coords, samples = street_pillars(pillars, encoder.grid)
    draw = torch.Generator().manual_seed(0)
    return torch.randn(pillars, encoder.channels, generator=draw).to(device), coords.to(device), samples


def benchmark_encoder(
    encoder: Any, plain: PlainEncoder, pillars: int, setting: Setting, *, repeats: int = 11
) -> Iterator[Row]:
    """Time an encoder and the same layers in plain torch in turn, then its index work by itself.

    Args:
        encoder: as `build_encoder` gives it.
        plain: (encoder, features, coords, batch_size) -> what ``encoder.encode`` gives for the same.
        pillars: number of tokens.
        setting: dtype of autocast, device, and the machine's limits.
        repeats: rounds.

    Yields:
        The encoder, its operations counted in the plain form; the plain form; the index work and its share.

    Raises:
        PerceptionError: the two disagree, so that their times say nothing.
    """
    device, (features, coords, samples) = setting.device, encoder_tokens(encoder, pillars, setting.device)
    calls = [
        setting.inference(partial(run, features, coords, samples)) for run in (encoder.encode, partial(plain, encoder))
    ]
    _check_agreement(calls[0](), calls[1](), AGREEMENT[setting.dtype])
    times = interleaved_ms(calls, repeats, device)                                       # (rounds, 2)
    gflop = count_flops(calls[1]) / 1e9
    for name, own, call in zip(("encoder", "encoder in plain torch"), times.T, calls, strict=True):
        timing = compared(own, times[:, 1])
        achieved = setting.achieved(gflop, timing["ms"])
        yield setting.row(name, pillars, **timing, **achieved, peak_mib=peak_mib(call, device))
    index_work = {
        "window_partition": partial(
            window_partition, coords, samples, encoder.grid, encoder.window, encoder.group_size
        ),
        "orders of all blocks": partial(encoder.orders, coords, samples),
    }
    for name, work in index_work.items():
        spent = float(np.median(interleaved_ms([setting.inference(work)], repeats, device)))
        yield setting.row(name, pillars, ms=spent, share=spent / float(np.median(times[:, 0])))


def _check_agreement(ours: Tensor, plain: Tensor, tolerance: float) -> None:
    difference = float((ours.float() - plain.float()).norm() / plain.float().norm())
    if not difference <= tolerance:
        raise PerceptionError(f"the encoder differs from plain torch by {difference:.2g} of its norm, "
                              f"expected at most {tolerance:g}; times are not compared")
