"""The stages of a detector on one frame: latency, memory, operations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from .detectors import TimedDetector, num_parameters
from .flops import count_flops
from .memory import peak_mib
from .rows import Row, percentiles
from .setting import Setting
from .timing import Call, interleaved_ms

WHOLE, TRAINING_STEP, COLD_START = "whole prediction", "training step", "first run of the compiled network"


def benchmark_model(detector: TimedDetector, setting: Setting, *, repeats: int = 30) -> Iterator[Row]:
    """Time the stages of a detector, its whole prediction and, if the frame is annotated, a training step.

    Args:
        detector: the model and its frame.
        setting: dtype of autocast, device, and the machine's limits.
        repeats: calls of each stage, which are called in turn; a training step is called a third as often.

    Yields:
        A row a stage. Operations are those of `count_flops`; a stage without any has no share of the peak. A model that
        is compiled runs its stages as written, its whole prediction compiled, and tells how long compiling took.
    """
    model, stages = detector.model, inference_stages(detector, setting)
    times = interleaved_ms(list(stages.values()), repeats, setting.device)
    columns = {name: percentiles(times[:, i]) for i, name in enumerate(stages)}
    for timing in columns.values():
        timing["share"] = timing["ms"] / columns[WHOLE]["ms"]
    if _is_trainable(detector):
        step = stages[TRAINING_STEP] = _training_step(detector, setting)
        columns[TRAINING_STEP] = percentiles(interleaved_ms([step], max(repeats // 3, 1), setting.device)[:, 0])
    parts = {
        "voxel encoder": (model.voxel_encoder,),
        "LiDAR backbone": (model.lidar_backbone,),
        "BEV backbone and neck": (model.bev_backbone, model.neck),
        "head": (model.head,),
        WHOLE: (model,),
    }
    with _as_written(model):                       # a counter sees nothing of a compiled graph
        flops = {name: count_flops(call) for name, call in stages.items()}
    for name, call in stages.items():
        yield setting.row(
            detector.name, detector.num_points, stage=name, **columns[name], peak_mib=peak_mib(call, setting.device),
            parameters=sum(map(num_parameters, parts[name])) if name in parts else None,
            **setting.achieved(flops[name] / 1e9, columns[name]["ms"]),
        )
    for (pillars, _), seconds in model.compiled.cold_starts.items() if model.compiled is not None else ():
        yield setting.row(detector.name, pillars, stage=COLD_START, ms=seconds * 1e3)


@contextmanager
def _as_written(model: Any) -> Iterator[None]:
    compiled, model.compiled = model.compiled, None
    try:
        yield
    finally:
        model.compiled = compiled


def inference_stages(detector: TimedDetector, setting: Setting) -> dict[str, Call]:
    """The stages by name in their order, each a call on what the one before it gave; the last is all of them."""
    model, batch = detector.model, detector.batch
    under, clouds = setting.inference, batch["inputs"]["points"]
    encode = under(partial(model.voxel_encoder, clouds))
    features, coords = encode()
    scatter = under(lambda: model.lidar_backbone(features, coords, 1).contiguous(memory_format=model.memory_format))
    canvas = scatter()
    convolve = under(lambda: model.neck(model.bev_backbone(canvas)))
    dense = convolve()
    find = under(partial(model.head, dense))
    maps = find()
    return {
        "voxel encoder": encode,
        "LiDAR backbone": scatter,
        "BEV backbone and neck": convolve,
        "head": find,
        "decode": under(partial(model.decode, maps, batch["data_samples"])),
        WHOLE: under(partial(model, **batch, mode="predict")),
    }


def _is_trainable(detector: TimedDetector) -> bool:
    annotations = detector.batch["data_samples"][0].annotations
    return annotations is not None and tuple(annotations.classes) == tuple(detector.model.classes)


def _training_step(detector: TimedDetector, setting: Setting) -> Call:
    model = detector.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        model.train()
        with torch.autocast(setting.device.type, setting.dtype, enabled=setting.dtype is not torch.float32):
            loss = sum(model(**detector.batch, mode="loss").values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()                      # last, so that a call leaves no memory behind
        model.eval()

    return step
