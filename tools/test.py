"""Score a checkpoint on the test data of its config.

Examples:
    python tools/test.py configs/flatformer/flatformer_tiny.py work_dirs/flatformer_tiny/iter_2000.pth
    python tools/test.py CONFIG CHECKPOINT --json metrics.json --out predictions.jsonl --fuse
    torchrun --nproc-per-node 2 tools/test.py CONFIG CHECKPOINT --launcher pytorch

--out takes the predictions of every task as JSON lines that tools/visualize.py --predictions draws; masks of pixels
and points lie beside NAME.jsonl in NAME_masks, as PNG and .npz files.

Prints one line a metric; distances are in metres (_m), angles in radians (_rad), times in seconds (_s).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="model, test data and metrics")
    parser.add_argument("checkpoint", type=Path, help="weights that fit the config")
    parser.add_argument("--out", type=Path, help="write predictions here: a .jsonl file or a folder; masks go beside")
    parser.add_argument("--json", type=Path, help="write the metrics to this file")
    parser.add_argument("--work-dir", type=Path, help="folder for the log (work_dirs/CONFIG_NAME/test)")
    parser.add_argument("--fuse", action="store_true", help="fold batch normalisation into the layers before it")
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
    from perception.engine.fuse_hook import FuseHook
    from perception.engine.prediction_log import PredictionLogHook
    from perception.errors import ConfigError

    cfg = load_config(args.config, args.cfg_options)
    if cfg.get("test_dataloader") is None:
        raise ConfigError(f"{args.config}: has no test_dataloader")
    work_dir = args.work_dir or Path("work_dirs") / args.config.stem / "test"
    runner = build_runner(cfg, work_dir, load_from=args.checkpoint, device=args.device, launcher=args.launcher)
    if args.fuse:
        runner.register_hook(FuseHook())
    if args.out is not None:
        runner.register_hook(PredictionLogHook(args.out))
    metrics = runner.test()
    if runner.rank == 0:
        report(metrics, args.json)
    return 0


def report(metrics: Mapping[str, float], json_file: Path | None) -> None:
    """Print the table, and write it as JSON."""
    from perception.atomic_write import write_json
    from perception.errors import PerceptionError

    width = max((len(name) for name in metrics), default=0)
    for name, value in metrics.items():
        print(f"{name:<{width}}  {value:.4f}" if isinstance(value, float) else f"{name:<{width}}  {value}")
    if json_file is not None:
        try:
            print(f"wrote {write_json(json_file, dict(metrics))}")
        except OSError as error:
            raise PerceptionError(f"{json_file}: cannot be written: {error.strerror or error}") from error


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
