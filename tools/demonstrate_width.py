"""Show that one attention layer with a wide perceptron approximates a function, and how fast: error against width.

Examples:
    python tools/demonstrate_width.py --out work_dirs/width.png
    python tools/demonstrate_width.py --tokens 4 --widths 4 8 16 32 64 --json work_dirs/width.json

The network is constructed, not trained ("Universal Approximation Theorem for a Single-Layer Transformer", 2025; the
construction is ours): a term of the function is drawn by W line segments, and the error falls as 1 / W^2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[4, 8, 16, 32, 64, 128], metavar="W",
                        help="line segments of a term (%(default)s)")
    parser.add_argument("--tokens", type=int, default=3, help="of the function (%(default)s)")
    parser.add_argument("--terms", type=int, default=2, help="of each of its outputs (%(default)s)")
    parser.add_argument("--samples", type=int, default=20_000, help="that errors are looked for on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the function (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="PNG", help="draw error and bound over width")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there as well")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.atomic_write import atomic_path, write_json
    from perception.visualization.curves import decay_figure
    from perception_plugins.wide_transformer.demonstration import errors_by_width, seeded_target

    target = seeded_target(args.tokens, terms=args.terms, seed=args.seed)
    rows = list(errors_by_width(target, 2, args.widths, samples=args.samples))
    print(f"{'segments':>9}{'units':>8}{'error':>12}{'bound':>12}{'bound/error':>13}")
    for row in rows:
        print(f"{row.segments:>9}{row.units:>8}{row.error:>12.3e}{row.bound:>12.3e}{row.bound / row.error:>13.2f}")
    if args.json is not None:
        print(f"wrote {write_json(args.json, [asdict(row) for row in rows])}")
    if args.out is not None:
        curves = {"largest error met": [row.error for row in rows], "bound": [row.bound for row in rows]}
        figure = decay_figure(args.widths, curves, "one constructed layer", "line segments of a term", "error")
        with atomic_path(args.out) as temporary:
            figure.savefig(temporary, format="png", dpi=150)
        print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
