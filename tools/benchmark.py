"""Time ops, the stages of models, whole predictions and evaluations, beside what the machine can do at best.

Examples:
    python tools/benchmark.py ops --threads 1
    python tools/benchmark.py ops --only group_attention/144 voxelize --sizes 60000 200000 --dtype bfloat16
    python tools/benchmark.py model configs/flatformer/flatformer_synthetic.py --points 35000 --fuse --compile
    python tools/benchmark.py encoder --pillars 30000 --json work_dirs/encoder.json
    python tools/benchmark.py scaling --threads 2
    python tools/benchmark.py eval --only nuscenes --samples 600 --json work_dirs/evaluations.json
    python tools/benchmark.py compare configs/flatformer/flatformer_nuscenes.py \
configs/centerpoint_pillar/centerpoint_pillar02_nuscenes.py --source data/nuscenes --scene scene-0061
    python tools/benchmark.py segmentation --size 512 1024 --fuse --threads 2 --json work_dirs/segmentation.json
    python tools/benchmark.py clusters --size 1025 2049
    python tools/benchmark.py mixers --threads 2 --memory 8

Times are medians of calls in turn (ours, reference, ours, reference, ...); a ratio above 1 is faster than the
reference. Clouds are seeded and need no data set unless --source names a recording. "of peak" is the share of the
matrix-multiply peak, or of the copy bandwidth for ops without products, measured at the start of the same run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from perception.engine.benchmark import command_line
from perception.replay.command_line import progress_bar, source_from

if TYPE_CHECKING:
    import torch

    from perception.engine.benchmark.models import TimedModel
    from perception.engine.benchmark.rows import Row
    from perception.engine.benchmark.setting import Setting

    Measure = Callable[[Setting], Iterable[Row]]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    return command_line.parse_args(__doc__, argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    import torch

    from perception.atomic_write import write_json
    from perception.engine.benchmark.rows import as_records
    from perception.engine.benchmark.setting import DTYPES, Setting
    from perception.engine.distributed import resolve_device, share_of_cores
    from perception.engine.memory import keep_freed_memory

    device = resolve_device(args.device)
    keep_freed_memory()                                    # as the runner does
    torch.set_num_threads(args.threads or share_of_cores())
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    measure = PREPARE[args.command](args, device)          # before the limits: a wrong path is told at once
    rows: list[Row] = []
    for name in dict.fromkeys(args.dtype):
        setting = Setting.measured(DTYPES[name], device)
        limits = f"copy {setting.gbps:.1f} GB/s, {name} matrix multiply {setting.gflops:.3g} GFLOP/s"
        measured = list(measure(setting))
        show(f"{args.command} on {machine}: {limits}", measured)
        rows += [*setting.limits(), *measured]
    if args.json is not None:
        print(f"wrote {write_json(args.json, as_records(rows))}")
    return 0


def prepare_ops(args: argparse.Namespace, device: torch.device) -> Measure:
    """Ops against their references."""
    from perception.engine.benchmark.ops import benchmark_ops, plan_ops

    plan = plan_ops(args.only, args.sizes)
    return lambda setting: progress_bar(
        benchmark_ops(plan, setting, repeats=args.repeats, budget_s=args.budget), len(plan), "timing"
    )


def prepare_model(args: argparse.Namespace, device: torch.device) -> Measure:
    """The stages of a model."""
    from perception.engine.benchmark.model import benchmark_model

    (timed,) = models_from(args, [args.config], device, args.checkpoint and [args.checkpoint])
    return partial(benchmark_model, timed, repeats=args.repeats)


def prepare_encoder(args: argparse.Namespace, device: torch.device) -> Measure:
    """An encoder and its plain form."""
    from perception.engine.benchmark.encoder import benchmark_encoder, build_encoder
    from perception.engine.config import load_config
    from perception_plugins.flatformer.plain_encoder import plain_encode

    encoder = build_encoder(load_config(args.config), device)
    return partial(benchmark_encoder, encoder, plain_encode, args.pillars, repeats=args.repeats)


def prepare_scaling(args: argparse.Namespace, device: torch.device) -> Measure:
    """An encoder at several sizes, with one thread and with all that were asked for."""
    import torch

    from perception.engine.benchmark.encoder import build_encoder
    from perception.engine.benchmark.scaling import benchmark_scaling
    from perception.engine.config import load_config

    encoder, sizes = build_encoder(load_config(args.config), device), sorted(set(args.sizes))
    return partial(benchmark_scaling, encoder, sizes, torch.get_num_threads(), repeats=args.repeats)


def prepare_compare(args: argparse.Namespace, device: torch.device) -> Measure:
    """Whole predictions."""
    from perception.engine.benchmark.compare import compare_models

    models = models_from(args, args.configs, device, args.checkpoints)
    return partial(compare_models, models, repeats=args.repeats)


def prepare_segmentation(args: argparse.Namespace, device: torch.device) -> Measure:
    """Segmentors and torchvision's models."""
    from perception.engine.benchmark.segmentation import (
        benchmark_segmentors,
        segmentor_of_config,
        segmentor_of_torchvision,
    )

    builds = {
        config.stem: segmentor_of_config(config, device, size=args.size, fuse=args.fuse) for config in args.configs
    } | {
        name: segmentor_of_torchvision(name, device, num_classes=19, size=args.size) for name in args.torchvision
    }
    return partial(
        benchmark_segmentors, builds, reference=args.reference, variants=list(dict.fromkeys(args.variants)),
        repeats=args.repeats, budget_s=args.budget,
    )


def prepare_clusters(args: argparse.Namespace, device: torch.device) -> Measure:
    """Cross-attention of clusters."""
    from perception.engine.benchmark.cluster_attention import benchmark_cluster_attention
    from perception_plugins.kmax.kmeans_layer import kmeans_attention

    return partial(
        benchmark_cluster_attention, kmeans_attention, size=args.size, strides=args.strides, clusters=args.clusters,
        repeats=args.repeats,
    )


def prepare_mixers(args: argparse.Namespace, device: torch.device) -> Measure:
    """Token mixers."""
    from perception.engine.benchmark.token_mixers import benchmark_mixers, mixer_kinds

    return partial(
        benchmark_mixers, mixer_kinds(args.mixers), sizes=args.sizes, channels=args.channels, heads=args.heads,
        memory_gib=args.memory, repeats=args.repeats,
    )


def prepare_eval(args: argparse.Namespace, device: torch.device) -> Measure:
    """Evaluations of boxes and maps."""
    from perception.engine.benchmark.evaluations import benchmark_evaluations

    names = list(dict.fromkeys(args.only))
    return partial(
        benchmark_evaluations, names=names, samples=args.samples, predictions=args.predictions, repeats=args.repeats
    )


def models_from(
    args: argparse.Namespace, configs: Sequence[Path], device: torch.device, checkpoints: Sequence[Path] | None = None
) -> list[TimedModel]:
    """Models of the configs, all on the recorded frame or the seeded cloud that is asked for."""
    from perception.engine.benchmark.models import recorded_model, street_model
    from perception.engine.config import load_config
    from perception.replay.history import recorded_frame

    cfgs = [load_config(config, ["model.compile={}"] if args.compile else []) for config in configs]
    weights = zip(cfgs, checkpoints or [None] * len(cfgs), strict=True)
    if args.source is None:
        return [
            street_model(
                cfg, device, points=args.points, picture=args.picture, checkpoint=checkpoint, fuse=args.fuse
            )
            for cfg, checkpoint in weights
        ]
    frame = recorded_frame(source_from(args), args.frame)
    return [recorded_model(cfg, device, frame, checkpoint=checkpoint, fuse=args.fuse) for cfg, checkpoint in weights]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print a table: a line a row."""
    from rich.console import Console
    from rich.table import Table

    from perception.engine.benchmark.rows import as_table

    headings, cells = as_table(rows)
    exponents = command_line.EXPONENTS if any(row.time_exponent is not None for row in rows) else None
    table = Table(title=title, caption=exponents)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("", "stage", "variant", "dtype") else "right")
    for line in cells:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 200).print(table)       # a file is as wide as it needs to be


PREPARE: dict[str, Callable[[argparse.Namespace, torch.device], Measure]] = {
    "ops": prepare_ops, "model": prepare_model, "encoder": prepare_encoder, "scaling": prepare_scaling,
    "compare": prepare_compare, "segmentation": prepare_segmentation, "clusters": prepare_clusters,
    "mixers": prepare_mixers, "eval": prepare_eval,
}

if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
