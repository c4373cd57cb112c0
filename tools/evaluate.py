"""Score files of predictions with the rules of their benchmark, without a model or a config.

Examples:
    python tools/evaluate.py nuscenes-detection results_nusc.json data/nuscenes --report work_dirs/scores.html
    python tools/evaluate.py nuscenes-detection results_nusc.json data/nuscenes --version v1.0-mini --split mini_val \
--backend official
    python tools/evaluate.py nuscenes-lidarseg folder/of/results data/nuscenes --json work_dirs/lidarseg.json
    python tools/evaluate.py argoverse2 detections.feather data/argoverse2/sensor/val
    python tools/evaluate.py waymo predictions.bin ground_truths.bin --report work_dirs/waymo.html
    python tools/evaluate.py vector-map results_map.json data/nuscenes --convention streammapnet
    python tools/evaluate.py openlanev2 results_openlanev2.json data/OpenLane-V2
    python tools/evaluate.py METRIC --help

Prints a table; --json writes all numbers, --report one HTML page with precision over recall, errors of matched boxes
and breakdowns by range and visibility where the data has them. Distances are in metres (_m), angles in radians (_rad).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from perception.evaluation.files.listing import file_metric, list_metrics

if TYPE_CHECKING:
    from perception.evaluation.files.scored_files import ScoredFiles


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    metrics = parser.add_subparsers(dest="metric", required=True, metavar="METRIC")
    for name in list_metrics():
        metric = file_metric(name)
        text = (metric.__doc__ or "").strip()
        options = metrics.add_parser(
            name, help=text.splitlines()[0], description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        options.add_argument("predictions", type=Path, help=metric.PREDICTIONS)
        options.add_argument("ground_truth", type=Path, help=metric.GROUND_TRUTH)
        metric.add_arguments(options)
        options.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file")
        options.add_argument("--report", type=Path, metavar="FILE", help="write a page with plots (.html)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from rich.console import Console

    scored = file_metric(args.metric).score(args)
    Console(width=None if sys.stdout.isatty() else 200).print(scored.table)      # a file is as wide as it needs to be
    for note in scored.notes:
        print(note)
    if args.json is not None:
        print(f"wrote {written(args.json, partial(write_numbers, args.metric, scored))}")
    if args.report is not None:
        print(f"wrote {written(args.report, partial(write_page, scored))}")
    return 0


def written(path: Path, write: Callable[[Path], Path]) -> Path:
    """The file that ``write`` makes. Raises PerceptionError if it cannot be written."""
    from perception.errors import PerceptionError

    try:
        return write(path)
    except OSError as error:
        raise PerceptionError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_numbers(metric: str, scored: ScoredFiles, path: Path) -> Path:
    """All numbers as JSON."""
    from perception.atomic_write import write_json

    return write_json(path, {"metric": metric, "metrics": dict(scored.metrics), "notes": list(scored.notes)})


def write_page(scored: ScoredFiles, path: Path) -> Path:
    """The report."""
    from perception.visualization.score_report import score_report

    return score_report(scored).save(path)


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
