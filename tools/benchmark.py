"""Time the ops and a detector on seeded clouds: no data set, no checkpoint.

Examples:
    python tools/benchmark.py all
    python tools/benchmark.py ops --threads 1
    python tools/benchmark.py detector --config configs/flatformer/flatformer_nuscenes.py --json work_dirs/bench.json

Times are medians in milliseconds. An op with a native kernel is compared with its reference in plain torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perception.engine.benchmark import Timing


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("ops", "detector", "all"), help="what to time")
    parser.add_argument(
        "--config", type=Path, default=Path("configs/flatformer/flatformer_synthetic.py"), help="detector (%(default)s)"
    )
    parser.add_argument("--points", type=int, default=100_000, help="points of a frame (%(default)s)")
    parser.add_argument("--repeats", type=int, default=10, help="calls that the median is taken of (%(default)s)")
    parser.add_argument("--threads", type=int, help="threads of torch (all cores)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    args = parser.parse_args(argv)
    for name in ("points", "repeats"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be >= 1, got {getattr(args, name)}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    import torch

    from perception.atomic_write import write_json
    from perception.engine.benchmark import benchmark_detector, benchmark_ops
    from perception.engine.config import load_config
    from perception.engine.distributed import resolve_device

    if args.threads:
        torch.set_num_threads(args.threads)
    device = resolve_device(args.device)
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    tables: dict[str, list[Timing]] = {}
    if args.what in ("ops", "all"):
        tables["ops"] = benchmark_ops(device, points=args.points, repeats=args.repeats)
    if args.what in ("detector", "all"):
        cfg = load_config(args.config)
        tables[f"{args.config.stem}, one frame"] = benchmark_detector(
            cfg, device, points=args.points, repeats=args.repeats
        )
    for title, timings in tables.items():
        show(f"{title}, {args.points} points, {machine}", timings)
    if args.json is not None:
        content = {title: [asdict(timing) for timing in timings] for title, timings in tables.items()}
        print(f"wrote {write_json(args.json, {'machine': machine, 'points': args.points, **content})}")
    return 0


def show(title: str, timings: Sequence[Timing]) -> None:
    """Print a table: a line an op or stage."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title)
    for heading in ("", "median (ms)", "reference (ms)", "ratio"):
        table.add_column(heading, justify="right" if heading else "left")
    for timing in timings:
        reference = timing.reference_ms
        compared = ("", "") if reference is None else (f"{reference:.2f}", f"{reference / timing.ms:.1f}")
        table.add_row(timing.name, f"{timing.ms:.2f}", *compared)
    Console().print(table)


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
