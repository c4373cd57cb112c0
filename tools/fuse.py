"""Fuse checkpoints of one architecture, trained apart, into one by optimal transport: no training.

The units of each model are matched with those of the last checkpoint, the anchor, whose config the result runs with.

Examples:
    python tools/fuse.py CONFIG seed0.pth seed1.pth --out work_dirs/fused.pth
    python tools/test.py CONFIG work_dirs/fused.pth
    python tools/fuse.py CONFIG seed0.pth seed1.pth --out work_dirs/average.pth --plain     # what it is compared with
    python tools/fuse.py CONFIG wide.pth narrow.pth --config0 WIDE_CONFIG --out work_dirs/narrowed.pth
    python tools/fuse.py CONFIG a.pth b.pth c.pth --solver emd --out work_dirs/three.pth    # equal shares
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="config of the last checkpoint")
    parser.add_argument("checkpoints", type=Path, nargs="+", metavar="checkpoint", help="two or more; the last stays")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write; must not be there")
    parser.add_argument("--config0", type=Path, help="config of the first checkpoint, if its widths differ")
    parser.add_argument("--alpha", type=float, help="weight of the last of two checkpoints (0.5)")
    parser.add_argument("--mode", choices=("corrected", "parity"), default="corrected",
                        help="parity: heads may mix, scales and statistics as in the released code (%(default)s)")
    parser.add_argument("--solver", choices=("sinkhorn", "emd"), default="sinkhorn", help="soft or exact (%(default)s)")
    parser.add_argument("--reg", type=float, default=0.08, help="weight of Sinkhorn's entropy (%(default)s)")
    parser.add_argument("--samples", type=int, default=32, help="frames that units are compared on (%(default)s)")
    parser.add_argument("--plain", action="store_true", help="average without matching")
    parser.add_argument("--json", type=Path, help="write what was done to this file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="changes to the configs")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from dataclasses import asdict

    from perception.atomic_write import write_json
    from perception.engine.fuse_checkpoints import FuseRequest, fuse_checkpoints

    report = fuse_checkpoints(FuseRequest(
        args.config, args.checkpoints, args.out, args.config0, args.cfg_options, args.alpha, args.mode, args.plain,
        args.solver, args.reg, args.samples, args.device,
    ))
    units = sum(size for _, size in report.matched.values())
    print(f"matched {units} units of {len(report.matched)} sets on {report.frames} frames; "
          f"{report.moved:.0%} found their partner in another place")
    for told, names in (("kept in place", report.in_place), ("averaged as they are", report.undeclared)):
        if names:
            print(f"{told}: {', '.join(names)}")
    if args.json is not None:
        print(f"wrote {write_json(args.json, asdict(report))}")
    print(f"wrote {report.out}")
    return 0


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
