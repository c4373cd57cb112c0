"""The whole road in one command: make a city, train a detector, score it, replay a drive, write a report.

Everything lands under work_dirs/demo; each step prints the command that does the same by hand. A city of the same
size that lies there is used again.

Examples:
    python tools/demo.py
    python tools/demo.py --out work_dirs/look --train-scenes 2 --val-scenes 1 --cfg-options max_iters=20   # seconds
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CONFIG = "configs/flatformer/flatformer_synthetic.py"
TRAIN_SCENES, VAL_SCENES = 24, 4
REPLAY_SCENE = "scene-0003"                                # the first of the validation scenes


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("work_dirs/demo"), help="folder for everything (%(default)s)")
    parser.add_argument("--train-scenes", type=int, default=TRAIN_SCENES, help="drives to train on (%(default)s)")
    parser.add_argument("--val-scenes", type=int, default=VAL_SCENES, help="drives to score on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the city and of the training (%(default)s)")
    parser.add_argument("--cfg-options", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the config")
    return parser.parse_args(argv)


class Steps:
    """Runs the tools one after another, each as its own process, and keeps the time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, name: str, *command: object) -> None:
        """Run a tool. Raises PerceptionError if it fails."""
        from perception.errors import PerceptionError

        words = [str(word) for word in command]
        print(f"\n=== {name}\n$ python {shlex.join(words)}", flush=True)
        began = time.perf_counter()
        status = subprocess.run([sys.executable, *words], check=False).returncode
        self.seconds[name] = round(time.perf_counter() - began, 1)
        if status:
            raise PerceptionError(f"the step {name!r} ended with status {status}")
        print(f"--- {name}: {self.seconds[name]:.0f} s", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.engine.checkpoint import latest_checkpoint

    out, city, steps = args.out, args.out / "city", Steps()
    make_city(args, city, steps)
    options = [
        f"data_root={city}", f"randomness.seed={args.seed}", f"test_evaluator.output_dir={out / 'evaluation'}",
        *args.cfg_options,
    ]
    steps.run(                                             # scored once, by the step after it
        "train", "tools/train.py", CONFIG, "--work-dir", out / "train", "--cfg-options", *options, "val_dataloader=None"
    )
    checkpoint = latest_checkpoint(out / "train")
    steps.run(
        "evaluate", "tools/test.py", CONFIG, checkpoint, "--work-dir", out / "test", "--json", out / "metrics.json",
        "--cfg-options", *options,
    )
    drive = f"{city}:{REPLAY_SCENE}"
    steps.run("replay", "tools/replay.py", CONFIG, checkpoint, drive, "--out", out / "replay")
    steps.run(
        "pictures", "tools/visualize.py", drive, "--config", CONFIG, "--checkpoint", checkpoint, "--keyframes",
        "--frames", 4, "--views", "bev", "cameras", "scene", "--out", out / "pictures",
    )
    conclude(out, steps)
    return 0


def make_city(args: argparse.Namespace, city: Path, steps: Steps) -> None:
    """Generate the city, unless one of that size and seed is there; list its frames and cut its objects out."""
    from perception.synthetic.generate import MARKER

    wanted = {"train_scenes": args.train_scenes, "val_scenes": args.val_scenes, "seed": args.seed}
    marker = city / MARKER
    if not marker.is_file() or wanted.items() - json.loads(marker.read_text(encoding="utf-8")).items():
        scenes = ("--train-scenes", args.train_scenes, "--val-scenes", args.val_scenes, "--seed", args.seed)
        steps.run("create data", "tools/create_data.py", "synthetic", city, *scenes, "--cameras", "val")
    for split in ("train", "val"):
        steps.run(f"index {split}", "tools/create_data.py", "index", "nuscenes", city, "--split", split)
    steps.run(
        "cut objects out", "tools/create_data.py", "objects", "nuscenes", city, "--split", "train", "--num-sweeps", 2,
        "--out", city / "objects",
    )


def conclude(out: Path, steps: Steps) -> None:
    """Write the report and the summary, and print the table."""
    from rich.console import Console

    from perception.atomic_write import write_json
    from perception.evaluation.nuscenes_detection import nuscenes_table
    from perception.visualization.run_report import DetectionRun

    run = DetectionRun.read(
        out / "metrics.json", out / "evaluation", out / "train", out / "replay", out / "pictures", steps.seconds
    )
    report = run.report("FlatFormer on the synthetic city").save(out / "report.html")
    summary = write_json(out / "summary.json", run.summary())
    Console().print(nuscenes_table(run.metrics, "nuScenes detection, scenes not trained on"))
    print(f"total {sum(steps.seconds.values()):.0f} s: {', '.join(f'{k} {v:.0f}' for k, v in steps.seconds.items())}")
    print(f"replay  {out / 'replay/predictions.jsonl'}\nsummary {summary}\nreport  {report}")


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
