"""Make a trained model smaller: a new checkpoint and the config that builds it, with figures before and after.

Examples:
    python tools/compress.py Int8Weights configs/flatformer/flatformer_synthetic.py work_dirs/demo/iter_2000.pth \
--out work_dirs/int8
    python tools/test.py work_dirs/int8/config.py work_dirs/int8/weights.pth
    python tools/compress.py SmoothScale+Int8Dynamic CONFIG CHECKPOINT --out work_dirs/dynamic --calibration 16
    python tools/compress.py BCT CONFIG CHECKPOINT --out work_dirs/bct --set bits=4 block=(1,32) --json bct.json
    python tools/compress.py PruneHidden CONFIG CHECKPOINT --out work_dirs/sweep --sweep share=0.25,0.5,0.75
    python tools/compress.py Int4Weights CONFIG CHECKPOINT --out work_dirs/search --search group=8:128 smallest=64|1024
    python tools/compress.py --list

METHOD names a compressor, or several that are applied in turn, joined by "+". --set KEY=VALUE goes to the last of them,
--set METHOD.KEY=VALUE to another. Batch normalisation is folded first where a method wants it. The last layers of a
model stay in float unless --set keep=[...] says otherwise. --sweep writes a folder a setting, and OUT/pareto.png with
the metric over bytes and over latency; its values are parted by ",", or, where some are lists, by ";", as in
"widths=16;16,16,32,32;32". --search seeks settings instead.

Latency is the median and the 99th percentile of 50 predictions of one frame after 10 that are not counted, the model
before and the one after in turn, on this machine. On a CPU integers are often slower than floats: look at it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perception.engine.compress.run import CompressionRun, CompressionTask

LISTED = 12                                        # parts in float that are named


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", nargs="?", help="compressor, or several joined by +")
    parser.add_argument("config", nargs="?", type=Path, help="model, test data and metrics")
    parser.add_argument("checkpoint", nargs="?", type=Path, help="weights that fit the config; never changed")
    parser.add_argument("--out", type=Path, help="folder for config.py and weights.pth (work_dirs/CONFIG_NAME/METHOD)")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="arguments of the compressors")
    parser.add_argument("--sweep", metavar="KEY=A,B,C", help="run several settings and draw them")
    parser.add_argument("--search", nargs="+", default=[], metavar="KEY=LOW:HIGH", help="seek settings, or KEY=A|B")
    parser.add_argument("--trials", type=int, default=12, help="settings that --search tries (%(default)s)")
    parser.add_argument("--calibration", type=int, default=8, help="training frames to look at (%(default)s)")
    parser.add_argument("--samples", type=int, help="test frames to score: the first of them; 0 scores none (all)")
    parser.add_argument("--metric", help="the metric that counts (the first of mAP, NDS, mIoU ... that is there)")
    parser.add_argument("--repeats", type=int, default=50, help="predictions that are timed (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="changes to the config")
    parser.add_argument("--list", action="store_true", help="list the compressors and end")
    args = parser.parse_args(argv)
    if not args.list and args.checkpoint is None:
        parser.error("METHOD, CONFIG and CHECKPOINT are needed")
    if args.search and args.sweep:
        parser.error("--search and --sweep exclude each other")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    if args.list:
        return list_compressors()
    from perception.atomic_write import write_json
    from perception.engine.compress.options import parse_methods
    from perception.engine.compress.run import CompressionTask
    from perception.engine.compress.table import record

    asked = CompressionTask(
        args.config, args.checkpoint, args.out or Path("work_dirs") / args.config.stem / args.method,
        parse_methods(args.method, args.set), cfg_options=args.cfg_options, calibration=args.calibration,
        samples=args.samples, metric=args.metric, device=args.device, repeats=args.repeats,
    )
    if args.sweep or args.search:
        runs = several(args, asked)
        content: Any = [record(run) for run in runs.values()]
        plot(asked, list(runs), list(runs.values()))
    else:
        content = record(one(asked))
    if args.json is not None:
        print(f"wrote {write_json(args.json, content)}")
    print(f"wrote {asked.out}")
    return 0


def one(asked: CompressionTask) -> CompressionRun:
    """Compress once, and print the figures."""
    from perception.engine.compress.run import compress

    done = compress(asked)
    show(done)
    return done


def several(args: argparse.Namespace, asked: CompressionTask) -> dict[str, CompressionRun]:
    """Compress with the settings of --sweep, or with those that --search finds: runs by setting."""
    from perception.engine.compress.options import parse_methods, parse_sweep
    from perception.engine.compress.search import search
    from perception.engine.compress.table import figure
    from perception.errors import ConfigError

    runs: dict[str, CompressionRun] = {}
    if asked.samples == 0:
        raise ConfigError("--sweep and --search draw a metric, which --samples 0 leaves out")

    def evaluate(settings: Sequence[str]) -> tuple[float, float]:
        name = " ".join(settings)
        if name not in runs:
            methods = parse_methods(args.method, [*args.set, *settings])
            known = next((run.before.metrics for run in runs.values()), None)
            out = asked.out / name.replace(" ", "_")
            runs[name] = one(replace(asked, methods=methods, out=out, source_metrics=known))
        return figure(runs[name].after, runs[name].metric, "bytes")

    if args.search:
        search(args.search, args.trials, evaluate)
    else:
        for setting in parse_sweep(args.sweep):
            evaluate([setting])
    return runs


def list_compressors() -> int:
    """Print a line a compressor."""
    from perception.errors import PluginError
    from perception.registry import COMPRESSORS, list_registered, load_plugin, plugin_modules

    for plugin in plugin_modules():
        try:
            load_plugin(plugin)
        except PluginError as error:
            print(error, file=sys.stderr)
    for name in list_registered(COMPRESSORS):
        print(f"{name:<16}  {(COMPRESSORS.module_dict[name].__doc__ or '').strip().splitlines()[0]}")
    return 0


def show(done: CompressionRun) -> None:
    """Print the table, the parts that stayed in float, and what a compressor has to tell."""
    from rich.console import Console

    from perception.engine.compress.table import table

    Console(width=None if sys.stdout.isatty() else 160).print(table(done))
    notes: dict[str, Any] = {key: value for _, report in done.reports for key, value in report.notes.items()}
    for key, value in notes.items():
        print(f"{key}: {value:.4f}" if isinstance(value, float) else f"{key}: {value}")
    print(f"left in float: {listed(done.left_float)}")


def listed(names: Sequence[str]) -> str:
    """The first names, biases left out, and how many more there are."""
    shown = [name for name in names if not name.endswith(".bias")][:LISTED]
    more = len(names) - len(shown)
    return f"{', '.join(shown) or 'nothing'}{f' and {more} more, biases among them (see --json)' if more else ''}"


def plot(asked: CompressionTask, settings: Sequence[str], runs: Sequence[CompressionRun]) -> None:
    """Draw the settings."""
    from perception.engine.compress.plot import plot_pareto

    front = plot_pareto(asked.out / "pareto.png", settings, runs)
    print(f"not beaten in {runs[0].metric} and bytes: {', '.join(front)}")


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
