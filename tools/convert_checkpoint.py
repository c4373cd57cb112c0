"""Convert a checkpoint of the authors' code into one that loads here. Code inside a checkpoint is never run.

Examples:
    python tools/convert_checkpoint.py flatformer work_dirs/official/epoch_24.pth work_dirs/flatformer_waymo.pth
    python tools/convert_checkpoint.py centerpoint_pillar centerpoint_02pillar_second_secfpn.pth work_dirs/pillar.pth
    python tools/convert_checkpoint.py centerpoint_pillar centerpoint_0075voxel_second_secfpn.pth work_dirs/voxel.pth
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plugin", help="name of the architecture's plugin, as tools/list.py shows it")
    parser.add_argument("source", type=Path, help="official checkpoint (.pth or .safetensors)")
    parser.add_argument("target", type=Path, help="file to write; replaced as a whole or not at all")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.engine.convert import convert_checkpoint

    converted = convert_checkpoint(args.plugin, args.source, args.target)
    print(f"wrote {args.target}: {converted.num_tensors} tensors, {converted.num_values:,} numbers")
    if converted.config_options:
        options = " ".join(f"{key}={value}" for key, value in converted.config_options.items())
        print(f"load it with --cfg-options {options}")
    return 0


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
