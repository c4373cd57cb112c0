"""Make or prepare data sets.

Examples:
    python tools/create_data.py synthetic data/synthetic             # 6 training, 2 validation scenes
    python tools/create_data.py synthetic data/city --train-scenes 20 --val-scenes 5 --seed 1 --workers 4
    python tools/create_data.py synthetic data/lidar --cameras none --json data/lidar.json
    python tools/create_data.py synthetic data/night --look night    # the same drives in the dark
    python tools/create_data.py synthetic data/towns --towns 8 --train-scenes 160 --val-scenes 24 --channels CAM_FRONT
    python tools/create_data.py index nuscenes data/nuscenes --version v1.0-trainval --split train
    python tools/create_data.py index waymo data/waymo --split train --skip-corrupt
    python tools/create_data.py objects nuscenes data/nuscenes --split train --out data/nuscenes-objects
    python tools/create_data.py counts configs/daformer/daformer_gta2cityscapes.py
    python tools/create_data.py partition data/places.csv --tau-max 5000 1000 200 --out data/partition.parquet
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perception.synthetic.generate import Progress
    from perception.synthetic.statistics import CityStatistics


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_synthetic(commands)
    add_preparation(commands)
    return parser.parse_args(argv)


def add_synthetic(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Options of ``synthetic``."""
    parser = commands.add_parser(
        "synthetic", help="ray-cast a procedural city and write it as a nuScenes data root",
        description="Ray-cast a procedural city and write it as a nuScenes v1.0 data root (tables, sweeps, images, "
                    "lidarseg, panoptic, map expansion) that the official devkit opens and scores. Training scenes "
                    "take place in grid, boulevard and suburb towns, validation scenes in ring and old-town ones, "
                    "each scene in a town and traffic of its own seed, so that no street and no route occurs in "
                    "both. The same seed gives the same files, and the same streets in every look, so that a model "
                    "can be adapted from one look to another. With --towns, the scenes of both splits are drives "
                    "through the same few towns instead, at other times and in other weather, to learn to recognise "
                    "places: maps/towns.json tells where on the globe they lie, maps/sd_tiles/ has their SD maps. A "
                    "synthetic city that stands at OUT is replaced, anything else is left alone.")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--train-scenes", type=int, default=6, metavar="N", help="training scenes (%(default)s)")
    parser.add_argument("--val-scenes", type=int, default=2, metavar="M", help="validation scenes (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the city (%(default)s)")
    parser.add_argument("--duration", type=float, default=10.0, metavar="SECONDS",
                        help="length of a scene, a multiple of 0.5 s (%(default)s)")
    parser.add_argument("--density", type=float, default=1.0, help="traffic relative to the default (%(default)s)")
    parser.add_argument("--columns", type=int, default=1080, help="LiDAR firings in one turn (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes (%(default)s)")
    parser.add_argument("--cameras", choices=("all", "val", "none"), default="all",
                        help="scenes to render images in, which takes half of the time (%(default)s)")
    parser.add_argument("--look", default="day", metavar="LOOK",
                        help="hour, weather and style: day, night, rain, dusk or foreign (%(default)s)")
    parser.add_argument("--towns", type=int, default=0, metavar="N",
                        help="towns that all scenes go through in turn; 0: each has one of its own (%(default)s)")
    parser.add_argument("--channels", nargs="+", default=(), metavar="NAME", help="cameras to render (all six)")
    parser.add_argument("--picture-scale", type=float, default=1.0, metavar="FACTOR",
                        help="size of the pictures, relative to 400 by 224 pixels (%(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the statistics there as well")
    parser.set_defaults(run=create_synthetic)


def add_preparation(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The commands ``index``, ``objects``, ``counts`` and ``partition``."""
    from perception.datasets.commands import (
        add_counts_arguments,
        add_index_arguments,
        add_objects_arguments,
        add_partition_arguments,
        make_counts,
        make_index,
        make_objects,
        make_partition,
    )

    index = commands.add_parser("index", help="list the frames of a split in a Parquet file, which loaders read",
                                description="Read the tables of a data set once and list the frames of a split, with "
                                            "all their paths, poses and boxes, in a Parquet file.")
    add_index_arguments(index)
    index.set_defaults(run=prepare, make=make_index)
    objects = commands.add_parser("objects", help="cut annotated objects out, for PasteObjects",
                                  description="Cut every annotated object of a split out with its points, for the "
                                              "augmentation PasteObjects. An older database at OUT is replaced.")
    add_objects_arguments(objects)
    objects.set_defaults(run=prepare, make=make_objects)
    counts = commands.add_parser("counts", help="count pixels by class, for a training that draws rare classes",
                                 description="Count the pixels of each class in the source pictures of a config, and "
                                             "keep them in the JSON file that its training reads. Without that file "
                                             "the training counts for itself when it begins.")
    add_counts_arguments(counts)
    counts.set_defaults(run=prepare, make=make_counts)
    partition = commands.add_parser("partition", help="cut the Earth into cells, for geo-localization",
                                    description="Cut the Earth into S2 cells with similar numbers of pictures, at "
                                                "several granularities, for the model GeoLocalizer and the transform "
                                                "LabelGeoCells. Make it of training pictures alone.")
    add_partition_arguments(partition)
    partition.set_defaults(run=prepare, make=make_partition)


def prepare(args: argparse.Namespace) -> int:
    """Make what the command says with a bar on the terminal, then say where it lies."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    print(args.make(args, progress=lambda items: track(items, description=args.command, console=console)))
    return 0


def create_synthetic(args: argparse.Namespace) -> int:
    """Generate the city, then print what it holds."""
    from perception.errors import PerceptionError
    from perception.synthetic.generate import generate_city

    start = time.perf_counter()
    try:
        statistics = generate_city(
            args.out, args.train_scenes, args.val_scenes, args.seed, duration_s=args.duration, density=args.density,
            cameras=args.cameras, columns=args.columns, look=args.look, towns=args.towns, channels=args.channels,
            picture_scale=args.picture_scale, workers=args.workers, progress=show_progress(start))
    except ValueError as error:
        raise PerceptionError(str(error)) from error
    for line in describe(statistics):
        print(line)
    if args.json:
        args.json.write_text(json.dumps(dataclasses.asdict(statistics), indent=1) + "\n")
    print(f"wrote {args.out} in {time.perf_counter() - start:.0f} s")
    return 0


def describe(statistics: CityStatistics) -> list[str]:
    """The statistics as lines of text."""
    seconds = list(statistics.seconds.values())
    lines = [
        f"scenes                             {statistics.scenes}",
        f"keyframes, sweeps, images          {statistics.keyframes}, {statistics.sweeps}, {statistics.images}",
        f"objects in range, median           {statistics.median_objects:.0f} in a keyframe",
        f"less than 80 % visible             {100 * statistics.occluded_share:.0f} %",
        f"time                               {sum(seconds) / len(seconds):.1f} s a scene",
        f"{'boxes':<24}{'train':>8}{'val':>8}",
    ]
    train, val = statistics.boxes["train"], statistics.boxes["val"]
    return lines + [f"  {name:<22}{train[name]:>8}{val[name]:>8}" for name in train]


def show_progress(start: float) -> Progress:
    """A callback that keeps one line with the time left up to date, or prints plain lines when not on a terminal."""
    ending = "\r" if sys.stderr.isatty() else "\n"

    def show(done: int, total: int, name: str) -> None:
        left = (time.perf_counter() - start) / done * (total - done)
        bar = "#" * (20 * done // total)
        print(f"[{bar:<20}] {done}/{total} scenes, {left:.0f} s left ({name})", end=ending if done < total else "\n",
              file=sys.stderr, flush=True)

    return show


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    return int(args.run(args))


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
