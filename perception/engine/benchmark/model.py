"""The stages of a model on one frame: latency, memory, operations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

import torch

from ...models.stage import Stage
from .flops import count_flops
from .memory import peak_mib
from .models import TimedModel, num_parameters
from .rows import Row, percentiles
from .setting import Setting
from .timing import Call, interleaved_ms

WHOLE, TRAINING_STEP, COLD_START = "whole prediction", "training step", "first run of the compiled network"


def benchmark_model(timed: TimedModel, setting: Setting, *, repeats: int = 30) -> Iterator[Row]:
    """Time the stages of a model, its whole prediction and, if the frame is annotated, a training step.

    Args:
        timed: the model and its frame.
        setting: dtype of autocast, device, and the machine's limits.
        repeats: calls of each stage, which are called in turn; a training step is called a third as often.

    Yields:
        A row a stage. Operations are those of `count_flops`; a stage without any has no share of the peak. A model that
        is compiled runs its stages as written, its whole prediction compiled, and tells how long compiling took.
    """
    model, stages = timed.model, timed.model.stages(timed.batch)
    calls = inference_calls(timed, stages, setting)
    times = interleaved_ms(list(calls.values()), repeats, setting.device)
    columns = {name: percentiles(times[:, i]) for i, name in enumerate(calls)}
    for timing in columns.values():
        timing["share"] = timing["ms"] / columns[WHOLE]["ms"]
    if model.can_learn_from(timed.batch["data_samples"][0]):
        step = calls[TRAINING_STEP] = _training_step(timed, setting)
        columns[TRAINING_STEP] = percentiles(interleaved_ms([step], max(repeats // 3, 1), setting.device)[:, 0])
    parts = {stage.name: stage.parts for stage in stages if stage.parts} | {WHOLE: (model,)}
    with _as_written(model):                       # a counter sees nothing of a compiled graph
        flops = {name: count_flops(call) for name, call in calls.items()}
    for name, call in calls.items():
        yield setting.row(
            timed.name, timed.size, stage=name, **columns[name], peak_mib=peak_mib(call, setting.device),
            parameters=sum(map(num_parameters, parts[name])) if name in parts else None,
            **setting.achieved(flops[name] / 1e9, columns[name]["ms"]),
        )
    compiled = getattr(model, "compiled", None)
    for (*sizes, _), seconds in compiled.cold_starts.items() if compiled is not None else ():
        yield setting.row(timed.name, prod(sizes), stage=COLD_START, ms=seconds * 1e3)


@contextmanager
def _as_written(model: Any) -> Iterator[None]:
    compiled = getattr(model, "compiled", None)
    if compiled is not None:
        model.compiled = None
    try:
        yield
    finally:
        if compiled is not None:
            model.compiled = compiled


def inference_calls(timed: TimedModel, stages: Sequence[Stage], setting: Setting) -> dict[str, Call]:
    """The stages by name in their order, each a call on what the one before it gave; the last is all of them."""
    calls, value = {}, timed.batch["inputs"]
    for stage in stages:
        calls[stage.name] = setting.inference(partial(stage.run, value))
        value = calls[stage.name]()
    return calls | {WHOLE: setting.inference(partial(timed.model, **timed.batch, mode="predict"))}


def _training_step(timed: TimedModel, setting: Setting) -> Call:
    model = timed.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        model.train()
        with torch.autocast(setting.device.type, setting.dtype, enabled=setting.dtype is not torch.float32):
            loss = sum(model(**timed.batch, mode="loss").values())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()                      # last, so that a call leaves no memory behind
        model.eval()

    return step
