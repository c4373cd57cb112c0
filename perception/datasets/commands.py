"""What ``tools/create_data.py`` does but to make data: indexes, databases of objects, counts of pixels."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError

Progress = Callable[[Sequence[Any]], Iterable[Any]]
INDEXED = ("nuscenes", "argoverse2")


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``index``."""
    _add_source(parser)
    parser.add_argument("--out", type=Path, help="Parquet file (default: in ROOT, where the data set looks for it)")
    parser.add_argument("--max-sweeps", type=int, default=10, help="earlier sweeps to list with a frame (%(default)s)")


def add_objects_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``objects``."""
    _add_source(parser)
    parser.add_argument("--index", type=Path, help="index made by the command index (default: in ROOT)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the database")
    parser.add_argument("--num-sweeps", type=int, default=9, help="earlier sweeps whose points to keep (%(default)s)")
    parser.add_argument("--min-points", type=int, default=5, help="leave out objects with fewer points (%(default)s)")


def add_counts_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``counts``."""
    parser.add_argument("config", type=Path, help="config of a training that draws rare classes more often")
    parser.add_argument("--workers", type=int, default=2, help="threads (%(default)s)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="changes to the config")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", choices=INDEXED, help="what ROOT holds; the synthetic city is a nuscenes root")
    parser.add_argument("root", type=Path, metavar="ROOT", help="folder of the data set")
    parser.add_argument("--version", default="v1.0-trainval", help="nuscenes: folder of the tables (%(default)s)")
    parser.add_argument("--split", default="train", help='name of the split; nuscenes also has "all" (%(default)s)')


def make_index(args: argparse.Namespace, progress: Progress = iter) -> str:
    """Write the index of a split; gives the sentence to print.

    Args:
        args: options of `add_index_arguments`.
        progress: wraps the list of drives, to show a bar.

    Raises:
        DataError: the data set is absent or malformed, or holds nothing of the split.
        ConfigError: the split or version is unknown, or ``max_sweeps`` is negative.
    """
    if args.max_sweeps < 0:
        raise ConfigError(f"--max-sweeps must be >= 0, got {args.max_sweeps}")
    if args.dataset == "nuscenes":
        from .nuscenes_index import build_nuscenes_index

        path = build_nuscenes_index(
            args.root, args.version, args.split, args.out, max_sweeps=args.max_sweeps, progress=progress
        )
    else:
        from .argoverse2 import build_argoverse2_index

        path = build_argoverse2_index(args.root, args.split, args.out, max_sweeps=args.max_sweeps, progress=progress)
    return f"wrote {path}"


def make_objects(args: argparse.Namespace, progress: Progress = iter) -> str:
    """Cut the objects of a split out for pasting; gives the sentence to print.

    Args:
        args: options of `add_objects_arguments`.
        progress: wraps the data set, to show a bar.

    Raises:
        DataError: the index is absent, or a file of the data set is absent or malformed.
        ConfigError: the split or version is unknown, or ``min_points`` is below one.
    """
    from ..registry import DATASETS
    from .object_database import build_object_database

    if args.min_points < 1:
        raise ConfigError(f"--min-points must be >= 1, got {args.min_points}")
    config: dict[str, Any] = {
        "root": args.root, "split": args.split, "index": args.index, "num_sweeps": args.num_sweeps,
        "transforms": [{"type": "AggregateSweeps", "num_sweeps": args.num_sweeps, "pad_empty": False}],
    }
    if args.dataset == "nuscenes":
        config.update(type="NuScenesDataset", version=args.version)
    else:
        config.update(type="Argoverse2Dataset")
    count = build_object_database(progress(DATASETS.build(config)), args.out, min_points=args.min_points)
    return f"wrote {count} objects to {args.out}"


def make_counts(args: argparse.Namespace, progress: Progress = iter) -> str:
    """Count the pixels of each class in the source pictures of a config; gives the sentence to print.

    Args:
        args: options of `add_counts_arguments`.
        progress: wraps the numbers of the pictures, to show a bar.

    Raises:
        DataError: the data set is absent or malformed.
        ConfigError: the config names no source data set or no file for the counts, or ``workers`` is below one.
    """
    from ..engine.config import load_config
    from ..registry import DATASETS
    from .pixel_counts import count_pixels, write_counts

    if args.workers < 1:
        raise ConfigError(f"--workers must be >= 1, got {args.workers}")
    pairs = (load_config(args.config, args.cfg_options).get("train_dataloader") or {}).get("dataset") or {}
    if not pairs.get("source") or not pairs.get("counts"):
        raise ConfigError(f"{args.config}: expected train_dataloader.dataset with a source and a file for its counts")
    dataset = DATASETS.build({**pairs["source"], "transforms": []})
    counts = count_pixels(
        dataset, len(dataset.classes), pairs.get("camera"), workers=args.workers, progress=progress
    )
    write_counts(pairs["counts"], dataset.frame_tokens, counts)
    return f"wrote {pairs['counts']}"
