"""Time ops, the stages of models, whole predictions and the map evaluation, beside what the machine can do at best.

Examples:
    python tools/benchmark.py ops --threads 1
    python tools/benchmark.py ops --only group_attention/144 voxelize --sizes 60000 200000 --dtype bfloat16
    python tools/benchmark.py model configs/flatformer/flatformer_synthetic.py --points 35000 --fuse --compile
    python tools/benchmark.py encoder --pillars 30000 --json work_dirs/encoder.json
    python tools/benchmark.py scaling --threads 2
    python tools/benchmark.py eval --samples 500 --predictions 50
    python tools/benchmark.py compare configs/flatformer/flatformer_nuscenes.py \
configs/centerpoint_pillar/centerpoint_pillar02_nuscenes.py --source data/nuscenes --scene scene-0061
    python tools/benchmark.py segmentation --size 512 1024 --fuse --threads 2 --json work_dirs/segmentation.json
    python tools/benchmark.py clusters --size 1025 2049

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
from typing import TYPE_CHECKING, Any

from perception.replay.command_line import SOURCE_HELP, add_source_options, progress_bar, source_from

if TYPE_CHECKING:
    import torch

    from perception.engine.benchmark.models import TimedModel
    from perception.engine.benchmark.rows import Row
    from perception.engine.benchmark.setting import Setting

    Measure = Callable[[Setting], Iterable[Row]]

ENCODER = Path("configs/flatformer/flatformer_waymo_D1_2x_3class.py")
SEGMENTORS = [Path(f"configs/{name}.py") for name in (
    "p2at/p2at_s_cityscapes", "pem/pem_r50_cityscapes_panoptic", "pem/pem_stdc1_cityscapes_semantic"
)]
TORCHVISION = ["lraspp_mobilenet_v3_large", "deeplabv3_resnet50"]
VARIANTS = ("eager", "compile", "bfloat16", "compile-bfloat16")
SCALING_SIZES = [5_000, 10_000, 20_000, 50_000, 100_000, 200_000]


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    ops = _add_command(commands, "ops", "each op against its reference in plain torch", prepare_ops, repeats=11)
    ops.add_argument("--only", nargs="+", metavar="NAME", help="ops to time (all)")
    ops.add_argument("--sizes", nargs="+", type=_positive, metavar="N", help="points, tokens or boxes (each op's own)")
    ops.add_argument("--budget", type=_positive, default=20, metavar="SECONDS", help="for an op's size (%(default)s)")

    model = _add_command(commands, "model", "latency, memory and operations by stage", prepare_model, repeats=30)
    model.add_argument("config", type=Path, help="model")
    model.add_argument("--checkpoint", type=Path, help="weights that fit the config (initial ones)")
    _add_cloud(model)

    encoder = _add_command(commands, "encoder", "FlatFormer's encoder against plain torch", prepare_encoder, repeats=11)
    encoder.add_argument("config", type=Path, nargs="?", default=ENCODER, help="detector (%(default)s)")
    encoder.add_argument("--pillars", type=_positive, default=30_000, help="tokens (%(default)s)")

    scaling = _add_command(commands, "scaling", "the encoder by pillars and threads", prepare_scaling, repeats=5)
    scaling.add_argument("config", type=Path, nargs="?", default=ENCODER, help="detector (%(default)s)")
    scaling.add_argument("--sizes", nargs="+", type=_positive, default=SCALING_SIZES, metavar="N", help="pillars")

    compare = _add_command(commands, "compare", "whole predictions in turn on one cloud", prepare_compare, repeats=30)
    compare.add_argument("configs", type=Path, nargs="+", metavar="CONFIG", help="two or more, compared with the first")
    compare.add_argument(
        "--checkpoints", type=Path, nargs="+", metavar="FILE", help="weights of each model (seeded initial ones)"
    )
    _add_cloud(compare)

    segmentation = _add_command(
        commands, "segmentation", "segmentation models beside torchvision's, in one run", prepare_segmentation,
        repeats=20, has_dtype=False,
    )
    segmentation.add_argument(
        "configs", type=Path, nargs="*", metavar="CONFIG", default=SEGMENTORS, help="models (P2AT-S and two of PEM)"
    )
    segmentation.add_argument(
        "--torchvision", nargs="*", metavar="NAME", default=TORCHVISION, help="its models (%(default)s)"
    )
    segmentation.add_argument("--reference", metavar="NAME", help="the model that ratios refer to (the last one)")
    segmentation.add_argument(
        "--variants", nargs="+", choices=VARIANTS, default=["eager"],
        help="how models are run; ratios refer to the first (%(default)s)",
    )
    segmentation.add_argument("--fuse", action="store_true", help="fold batch normalisation of the configs' models")
    segmentation.add_argument("--budget", type=_positive, default=600, metavar="SECONDS", help="for all (%(default)s)")
    _add_picture(segmentation, "--size")

    clusters = _add_command(commands, "clusters", "k-means against softmax attention", prepare_clusters, repeats=11)
    clusters.add_argument("--clusters", type=_positive, default=128, metavar="N", help="queries (%(default)s)")
    clusters.add_argument("--strides", nargs="+", type=_positive, default=[32, 16, 8], metavar="S", help="of the maps")
    _add_picture(clusters, "--size")

    evaluation = _add_command(commands, "eval", "the map evaluation against pair by pair", prepare_eval, repeats=3)
    evaluation.add_argument("--samples", type=_positive, default=500, help="frames of seeded maps (%(default)s)")
    evaluation.add_argument("--predictions", type=_positive, default=50, help="elements in each (%(default)s)")

    args = parser.parse_args(argv)
    if args.command == "compare" and len(args.configs) < 2:
        compare.error("compare takes two configs or more")
    if args.command == "compare" and len(args.checkpoints or args.configs) != len(args.configs):
        compare.error("--checkpoints takes a file for each config")
    if args.command == "segmentation":
        named = [*(config.stem for config in args.configs), *args.torchvision]
        args.reference = args.reference or named[-1]
        if args.reference not in named:
            segmentation.error(f"--reference takes the name of a model that is timed: {', '.join(named)}")
    if args.command == "scaling" and len(set(args.sizes)) < 3:
        scaling.error("--sizes takes three different sizes or more: a line goes through any two")
    return args


def _add_command(
    commands: Any, name: str, text: str, prepare: Callable[..., Measure], repeats: int, has_dtype: bool = True
) -> Any:
    parser = commands.add_parser(name, help=text, description=f"Time {text}.")
    parser.set_defaults(prepare=prepare)
    parser.add_argument("--repeats", type=_positive, default=repeats, help="rounds of calls in turn (%(default)s)")
    parser.add_argument("--threads", type=_positive, help="threads of torch (all cores)")
    if has_dtype:
        parser.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), help="one or both (float32)")
    parser.set_defaults(dtype=["float32"])
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows to this file too")
    return parser


def _add_cloud(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--points", type=_positive, default=100_000, help="of the seeded cloud (%(default)s)")
    _add_picture(parser, "--picture")
    parser.add_argument("--source", help=f"take a recorded frame instead: {SOURCE_HELP}")
    parser.add_argument("--frame", type=int, default=0, help="its number in the recording (%(default)s)")
    add_source_options(parser)
    parser.add_argument("--fuse", action="store_true", help="fold batch normalisation into the layers before it")
    parser.add_argument("--compile", action="store_true", help="whole predictions through torch.compile")


def _add_picture(parser: argparse.ArgumentParser, option: str) -> None:
    parser.add_argument(option, type=_positive, nargs=2, default=[512, 1024], metavar=("H", "W"),
                        help="size of the random picture of a picture model [pixels] (%(default)s)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer >= 1, got {text}")
    return int(text)


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
    measure = args.prepare(args, device)                   # before the limits: a wrong path is told at once
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


def prepare_eval(args: argparse.Namespace, device: torch.device) -> Measure:
    """Average precisions of vector maps."""
    from perception.engine.benchmark.map_evaluation import benchmark_map_evaluation

    return partial(
        benchmark_map_evaluation, samples=args.samples, predictions=args.predictions, repeats=args.repeats
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
    table = Table(title=title)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in ("", "stage", "variant", "dtype") else "right")
    for line in cells:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 200).print(table)       # a file is as wide as it needs to be


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
