"""Export a trained model's network to a graph that runs without this package, and prove that it says the same.

Examples:
    python tools/export.py CONFIG CHECKPOINT --format onnx --out work_dirs/model.onnx
    python tools/export.py CONFIG CHECKPOINT --format torch-export --out model.pt2 --samples data/synthetic:scene-0003
    python tools/export.py CONFIG CHECKPOINT --format aoti --out model.pt2 --samples data/kitti/drive --count 5 --fuse
    python tools/replay.py CONFIG CHECKPOINT log.mcap --backend onnx --model work_dirs/model.onnx

Points may be any number; pictures have the size of the first sample's. The file is run on every sample and compared
with the model; it stays only if no output differs by more than --tolerance, times the output's largest number where
that is above 1. --samples is a recording as tools/replay.py takes it; without, a seeded street serves, which needs no
data. Decoding, suppression included, is not in the graph. ONNX needs the extra [deploy], aoti a C++ compiler.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.deployment.formats import SUFFIXES
from perception.replay.command_line import SOURCE_HELP, add_source_options, source_from

if TYPE_CHECKING:
    from perception.deployment.export import Difference
    from perception.engine.inference import InferenceModel


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="model and pipeline config")
    parser.add_argument("checkpoint", type=Path, help="weights that fit the config")
    parser.add_argument("--format", choices=tuple(SUFFIXES), default="onnx", help="of the file (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="the file: .onnx, or .pt2 for the others")
    parser.add_argument("--samples", dest="source", help=SOURCE_HELP)
    add_source_options(parser)
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="of a model of pictures: which to take (all)")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="samples to compare on (%(default)s)")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest difference allowed (%(default)g)")
    parser.add_argument("--fuse", action="store_true", help="fold batch normalisation into the layers before it")
    parser.add_argument("--json", type=Path, help="write the printed differences to this file too")
    args = parser.parse_args(argv)
    if args.out.suffix != SUFFIXES[args.format]:
        parser.error(f"--out must end in {SUFFIXES[args.format]} for {args.format}, got {args.out}")
    if args.count < 1:
        parser.error(f"--count must be >= 1, got {args.count}")
    if not args.tolerance > 0:
        parser.error(f"--tolerance must be positive, got {args.tolerance:g}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from rich.console import Console

    from perception.atomic_write import write_json
    from perception.deployment.export import export_model
    from perception.engine.config import load_config
    from perception.engine.inference import load_model

    source = None if args.source is None else source_from(args)        # before the model: a wrong path is told at once
    cfg = load_config(args.config)
    cfg.model.pop("compile", None)                         # a graph is compiled by what runs it
    model = load_model(cfg, args.checkpoint, "cpu", fuse=args.fuse)
    batches = street_batches(model, args.count) if source is None else recorded_batches(model, source, args)
    differences = export_model(model, batches, args.format, args.out, args.tolerance)
    Console().print(table(differences, len(batches)))
    if args.json is not None:
        records = [{"output": one.name, "difference": one.largest, "largest": one.size} for one in differences]
        write_json(args.json, records)
    worst = max(one.largest for one in differences)
    print(f"largest difference from the model over {len(batches)} frames: {worst:.3g}")
    print(f"wrote {args.out} ({args.out.stat().st_size / 1e6:.2f} MB, {args.format})")
    return 0


def recorded_batches(model: InferenceModel, source: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """The first frames of a recording, as the model gets them. Raises DataError if it takes none of them."""
    from perception.errors import DataError
    from perception.replay.camera_pictures import source_for
    from perception.replay.history import recorded_frame

    played = source_for(model, source, args.cameras)
    try:
        return [model.preprocess(recorded_frame(played, i)) for i in range(min(args.count, len(played)))]
    except ValueError as error:
        raise DataError(args.source, "content", "what the model takes", error) from error


def street_batches(model: InferenceModel, count: int) -> list[dict[str, Any]]:
    """Frames of a seeded street, each with other points than the one before."""
    from perception.engine.benchmark.models import street_batch

    return [street_batch(model.model, model.cfg, points=30_000 - 1_000 * i) for i in range(count)]


def table(differences: Iterable[Difference], frames: int) -> Any:
    """Output by output, what the graph gives and how far it is from the model."""
    from rich.table import Table

    drawn = Table("output", "shape", "largest number", "largest difference", title=f"graph and model, {frames} frames")
    for one in differences:
        drawn.add_row(one.name, " x ".join(map(str, one.shape)), f"{one.size:.4g}", f"{one.largest:.3g}")
    return drawn


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
