"""The command line of tools/benchmark.py; importing it loads nothing heavy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...replay.command_line import SOURCE_HELP, add_source_options

ENCODER = Path("configs/flatformer/flatformer_waymo_D1_2x_3class.py")
SEGMENTORS = [Path(f"configs/{name}.py") for name in (
    "p2at/p2at_s_cityscapes", "pem/pem_r50_cityscapes_panoptic", "pem/pem_stdc1_cityscapes_semantic"
)]
TORCHVISION = ["lraspp_mobilenet_v3_large", "deeplabv3_resnet50"]
VARIANTS = ("eager", "compile", "bfloat16", "compile-bfloat16")
SCALING_SIZES = [5_000, 10_000, 20_000, 50_000, 100_000, 200_000]
MIXERS = ["SimplifiedLinearAttention", "HashAttention", "PoolingMixer", "DecomposedManhattanAttention"]
ALL_MIXERS, LINEAR_MIXERS = "all", "linear"        # in place of names; the second, of those that claim less than N^1.5
MIXER_SIZES = [256, 512, 1024, 2048, 4096, 8192, 16384]
EVALUATIONS = ("nuscenes", "argoverse2", "vector-map", "waymo", "waymo-reading")
EXPONENTS = (
    "N^ are the exponents of time and of peak memory: least squares of their logarithms against that of the tokens, "
    "over the upper half of the token counts."
)


def parse_args(description: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense.

    Args:
        description: the tool's help.
        argv: arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    _add_ops_and_models(commands)
    _add_comparisons(commands)
    _add_mixing(commands)
    _add_evaluations(commands)
    args = parser.parse_args(argv)
    _check(args, commands.choices[args.command])
    return args


def _add_ops_and_models(commands: Any) -> None:
    """Parts by themselves, and how a model's stages grow."""
    ops = _add_command(commands, "ops", "each op against its reference in plain torch", repeats=11)
    ops.add_argument("--only", nargs="+", metavar="NAME", help="ops to time (all)")
    ops.add_argument("--sizes", nargs="+", type=_positive, metavar="N", help="points, tokens or boxes (each op's own)")
    ops.add_argument("--budget", type=_positive, default=20, metavar="SECONDS", help="for an op's size (%(default)s)")

    model = _add_command(commands, "model", "latency, memory and operations by stage", repeats=30)
    model.add_argument("config", type=Path, help="model")
    model.add_argument("--checkpoint", type=Path, help="weights that fit the config (initial ones)")
    _add_cloud(model)

    encoder = _add_command(commands, "encoder", "FlatFormer's encoder against plain torch", repeats=11)
    encoder.add_argument("config", type=Path, nargs="?", default=ENCODER, help="detector (%(default)s)")
    encoder.add_argument("--pillars", type=_positive, default=30_000, help="tokens (%(default)s)")

    scaling = _add_command(commands, "scaling", "the encoder by pillars and threads", repeats=5)
    scaling.add_argument("config", type=Path, nargs="?", default=ENCODER, help="detector (%(default)s)")
    scaling.add_argument("--sizes", nargs="+", type=_positive, default=SCALING_SIZES, metavar="N", help="pillars")


def _add_comparisons(commands: Any) -> None:
    """Whole models beside each other."""
    compare = _add_command(commands, "compare", "whole predictions in turn on one cloud", repeats=30)
    compare.add_argument("configs", type=Path, nargs="+", metavar="CONFIG", help="two or more, compared with the first")
    compare.add_argument(
        "--checkpoints", type=Path, nargs="+", metavar="FILE", help="weights of each model (seeded initial ones)"
    )
    _add_cloud(compare)

    segmentation = _add_command(
        commands, "segmentation", "segmentation models beside torchvision's, in one run", repeats=20, has_dtype=False
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


def _add_mixing(commands: Any) -> None:
    """Attention and what takes its place."""
    clusters = _add_command(commands, "clusters", "k-means against softmax attention", repeats=11)
    clusters.add_argument("--clusters", type=_positive, default=128, metavar="N", help="queries (%(default)s)")
    clusters.add_argument("--strides", nargs="+", type=_positive, default=[32, 16, 8], metavar="S", help="of the maps")
    _add_picture(clusters, "--size")

    mixers = _add_command(commands, "mixers", "token mixers and softmax attention by numbers of tokens", repeats=11)
    mixers.description += f" {EXPONENTS}"
    mixers.add_argument("--mixers", nargs="+", metavar="NAME", default=MIXERS,
                        help=f'registered names, "{ALL_MIXERS}", or "{LINEAR_MIXERS}" by their claim (%(default)s)')
    mixers.add_argument(
        "--sizes", nargs="+", type=_positive, default=MIXER_SIZES, metavar="N", help="tokens of a map (%(default)s)"
    )
    mixers.add_argument("--channels", type=_positive, default=128, help="width of the tokens (%(default)s)")
    mixers.add_argument("--heads", type=_positive, default=4, help="of mixers that have heads (%(default)s)")
    mixers.add_argument(
        "--memory", type=_positive_number, default=4.0, metavar="GIB", help="limit of a call (%(default)s)"
    )


def _add_evaluations(commands: Any) -> None:
    """Scores."""
    evaluation = _add_command(
        commands, "eval", "evaluations against the official code on seeded sets", repeats=3, has_dtype=False
    )
    evaluation.add_argument(
        "--only", nargs="+", choices=EVALUATIONS, default=list(EVALUATIONS), metavar="NAME",
        help="evaluations to time (%(default)s)",
    )
    evaluation.add_argument("--samples", type=_positive, help="frames (those of a validation set)")
    evaluation.add_argument("--predictions", type=_positive, help="boxes or map elements in each (each one's own)")


def _check(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Exit with status 2 where arguments do not go together; fill in the reference model."""
    if args.command == "compare" and len(args.configs) < 2:
        parser.error("compare takes two configs or more")
    if args.command == "compare" and len(args.checkpoints or args.configs) != len(args.configs):
        parser.error("--checkpoints takes a file for each config")
    if args.command == "segmentation":
        named = [*(config.stem for config in args.configs), *args.torchvision]
        args.reference = args.reference or named[-1]
        if args.reference not in named:
            parser.error(f"--reference takes the name of a model that is timed: {', '.join(named)}")
    if args.command == "scaling" and len(set(args.sizes)) < 3:
        parser.error("--sizes takes three different sizes or more: a line goes through any two")
    if args.command == "mixers" and len(set(args.sizes)) < 3:
        parser.error("--sizes takes three different sizes or more: exponents are fitted to the upper half of them")


def _add_command(commands: Any, name: str, text: str, repeats: int, has_dtype: bool = True) -> Any:
    parser = commands.add_parser(name, help=text, description=f"Time {text}.")
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


def _positive_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number > 0, got {text}")
    return value
