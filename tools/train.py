"""Train a model from a config.

Examples:
    python tools/train.py configs/flatformer/flatformer_tiny.py
    python tools/train.py CONFIG --work-dir work_dirs/try --seed 1 --cfg-options optim_wrapper.optimizer.lr=1e-4
    python tools/train.py CONFIG --resume                         # goes on from the newest checkpoint, bit for bit
    python tools/train.py CONFIG --resume work_dirs/try/iter_500.pth
    torchrun --nproc-per-node 2 tools/train.py CONFIG --launcher pytorch

Results go to work_dirs/CONFIG_NAME: iter_N.pth, last_checkpoint, config.py, scalars.jsonl, tensorboard/ and a log;
work_dirs/latest points at the newest run. Ctrl-C and kill are harmless: run again with --resume.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="what to train, on what, for how long")
    parser.add_argument("--work-dir", type=Path, help="folder for results (work_dirs/CONFIG_NAME)")
    parser.add_argument(
        "--resume", nargs="?", const=True, default=False, metavar="CHECKPOINT",
        help="go on from a checkpoint; without a path: the newest of the work directory",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (bfloat16), on GPUs and CPUs")
    parser.add_argument("--seed", type=int, help="of the initial weights, the dropout and the order of the data")
    parser.add_argument("--device", help="auto, cpu, cuda or cuda:N (the config's, which is auto by default)")
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm"), default="none", help="what started this")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="changes to the config")
    parser.add_argument("--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.engine.build import build_runner
    from perception.engine.config import load_config

    cfg = load_config(args.config, args.cfg_options)
    work_dir = args.work_dir or Path(cfg.get("work_dir") or Path("work_dirs") / args.config.stem)
    runner = build_runner(
        cfg, work_dir, resume=args.resume, amp=args.amp, seed=args.seed, device=args.device, launcher=args.launcher
    )
    if runner.rank == 0 and work_dir.parent.name == "work_dirs":
        point_latest(work_dir)
    runner.train()
    if runner.rank == 0:
        print(f"wrote {work_dir}")
    return 0


def point_latest(work_dir: Path) -> None:
    """Make the link ``latest`` beside ``work_dir`` point at it."""
    link, fresh = work_dir.parent / "latest", work_dir.parent / f".latest.{os.getpid()}"
    if link.is_dir() and not link.is_symlink():
        return                                     # a folder of that name is somebody's run
    fresh.symlink_to(work_dir.name, target_is_directory=True)
    os.replace(fresh, link)


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
