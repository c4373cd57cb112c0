"""Segmentation models and torchvision's in one run, as written, compiled and in bfloat16."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torchvision
from mmengine.config import Config
from torch import Tensor, nn

from ...errors import ConfigError, suggestion
from ..config import load_config
from .flops import count_flops
from .memory import peak_mib
from .model import COLD_START, WHOLE
from .models import PICTURE, num_parameters, street_model
from .rows import Row, compared, percentiles
from .setting import Setting
from .timing import Call, interleaved_ms, once_ms

NETWORK = "network"


@dataclass(frozen=True)
class Variant:
    """How a model is run.

    Args:
        dtype: of the autocast region, if it is not float32.
        is_compiled: the network goes through torch.compile.
    """

    dtype: torch.dtype = torch.float32
    is_compiled: bool = False


VARIANTS = {
    "eager": Variant(),
    "compile": Variant(is_compiled=True),
    "bfloat16": Variant(torch.bfloat16),
    "compile-bfloat16": Variant(torch.bfloat16, is_compiled=True),
}


@dataclass(frozen=True)
class TimedSegmentor:
    """A model on one picture, as one variant runs it.

    Args:
        name: of its config, or of torchvision's builder.
        module: whose parameters are counted.
        network: picture to what the head gives.
        predict: picture to classes or segments of its size.
        pixels: of the picture.
    """

    name: str
    module: nn.Module
    network: Call
    predict: Call
    pixels: int


Build = Callable[[bool], TimedSegmentor]                     # whether it is compiled -> the model


def segmentor_of_config(
    config: Path | str, device: torch.device, *, size: Sequence[int] = PICTURE, fuse: bool = False,
    compile: Mapping[str, Any] | None = None,
) -> Build:
    """How to make a `Segmentor` with seeded weights on a random picture.

    Args:
        config: a file.
        device: where it runs.
        size: height and width of the picture.
        fuse: fold batch normalisation into the layers before it.
        compile: the arguments of ``model.compile`` where the model is compiled.

    Raises:
        ConfigError: the config is of another task model.
    """
    options = {"model.compile": dict(compile or {})}
    cfg = load_config(config)
    if cfg.get("model", {}).get("type") != "Segmentor":
        raise ConfigError(f"{config}: model: expected a Segmentor, got {cfg.get('model', {}).get('type')}")

    def build(is_compiled: bool) -> TimedSegmentor:
        chosen: Config = load_config(config, options) if is_compiled else cfg
        timed = street_model(chosen, device, picture=size, fuse=fuse)
        model, batch = timed.model, timed.batch

        def network() -> Any:
            return model(**batch, mode="tensor")

        def predict() -> Any:
            return model(**batch, mode="predict")

        return TimedSegmentor(timed.name, model, network, predict, timed.size)

    return build


def segmentor_of_torchvision(
    name: str, device: torch.device, *, num_classes: int, size: Sequence[int] = PICTURE,
    compile: Mapping[str, Any] | None = None,
) -> Build:
    """How to make one of torchvision's segmentation models, laid out channels last, with seeded weights.

    Its network resizes the logits to the picture by itself.

    Args:
        name: of the builder, such as "deeplabv3_resnet50".
        device: where it runs.
        num_classes: K.
        size: height and width of the picture.
        compile: the arguments of `torch.compile` where the model is compiled.

    Raises:
        ConfigError: torchvision has no such model.
    """
    known = torchvision.models.list_models(module=torchvision.models.segmentation)
    if name not in known:
        raise ConfigError(f'torchvision has no "{name}"{suggestion(name, known)}; there are {", ".join(known)}')

    def build(is_compiled: bool) -> TimedSegmentor:
        torch.manual_seed(0)
        model: Any = torchvision.models.get_model(
            name, weights=None, weights_backbone=None, num_classes=num_classes, aux_loss=False
        ).to(device, memory_format=torch.channels_last).eval()
        images = torch.randn(1, 3, *size, device=device).contiguous(memory_format=torch.channels_last)
        run = torch.compile(model, **{"dynamic": False, **(compile or {})}) if is_compiled else model

        def network() -> Tensor:
            return run(images)["out"]                              # (1, K, H, W)

        def predict() -> Tensor:
            return network().float().max(dim=1).indices            # (1, H, W)

        return TimedSegmentor(name, model, network, predict, images[0, 0].numel())

    return build


def benchmark_segmentors(
    builds: Mapping[str, Build], setting: Setting, *, reference: str, variants: Sequence[str] = ("eager",),
    repeats: int = 20, budget_s: float = float("inf"),
) -> Iterator[Row]:
    """Time networks and whole predictions of all models in all variants in turn.

    Args:
        builds: how each model is made, by name.
        setting: float32, device, and the machine's limits.
        reference: the model whose times in the first variant the others are compared with, stage by stage.
        variants: names of `VARIANTS`.
        repeats: rounds; in each, every model runs once in every variant, network and whole prediction.
        budget_s: no round begins after so many seconds.

    Yields:
        For each model and variant its first run if it is compiled, its network and its whole prediction.

    Raises:
        ValueError: the reference is none of the models.
    """
    if reference not in builds:
        raise ValueError(f'reference must be one of {", ".join(builds)}, got "{reference}"')
    models: dict[tuple[str, str], TimedSegmentor] = {}
    calls: dict[tuple[str, str, str], Call] = {}
    settings: dict[str, Setting] = {}
    for variant in variants:
        how = VARIANTS[variant]
        settings[variant] = replace(setting, dtype=how.dtype)
        for name, build in builds.items():
            model = models[name, variant] = build(how.is_compiled)
            for stage, call in ((NETWORK, model.network), (WHOLE, model.predict)):
                calls[name, variant, stage] = settings[variant].inference(call)
    first_ms = {key: once_ms(call, setting.device) for key, call in calls.items()}
    times = interleaved_ms(list(calls.values()), repeats, setting.device, budget_s=budget_s)     # (rounds, calls)
    own = dict(zip(calls, times.T, strict=True))
    for (name, variant), model in models.items():
        its, how = settings[variant], VARIANTS[variant]
        if how.is_compiled:
            cold_ms = first_ms[name, variant, NETWORK]
            yield its.row(name, model.pixels, stage=COLD_START, variant=variant, ms=cold_ms)
        for stage in (NETWORK, WHOLE):
            spent = own[name, variant, stage]
            columns: dict[str, Any] = percentiles(spent) | compared(spent, own[reference, variants[0], stage])
            del columns["p90_ms"]                                  # the table is wide enough
            if stage == WHOLE:
                columns["peak_mib"] = peak_mib(calls[name, variant, stage], setting.device)
            elif how == VARIANTS["eager"]:                         # a counter sees nothing of a compiled graph
                gflop = count_flops(calls[name, variant, stage]) / 1e9
                columns |= its.achieved(gflop, columns["ms"]) | {"parameters": num_parameters(model.module)}
            yield its.row(name, model.pixels, stage=stage, variant=variant, **columns)
