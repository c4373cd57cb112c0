"""What ``tools/create_data.py`` does but to make data: indexes, databases of objects, counts of pixels, partitions."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError

Progress = Callable[[Sequence[Any]], Iterable[Any]]
INDEXED = ("nuscenes", "argoverse2", "waymo")


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``index``."""
    _add_source(parser)
    parser.add_argument("--out", type=Path, help="Parquet file (default: in ROOT, where the data set looks for it)")
    parser.add_argument("--max-sweeps", type=int, default=10, help="earlier sweeps to list with a frame (%(default)s)")
    parser.add_argument("--skip-corrupt", action="store_true", help="waymo: leave corrupt records out and count them")


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


def add_partition_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``partition``."""
    parser.add_argument("source", type=Path, metavar="SOURCE",
                        help="table of places (.csv or .parquet), or config whose training data set tells places")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file of the partition")
    parser.add_argument("--tau-max", type=int, nargs="+", default=(5000, 1000, 200), metavar="N",
                        help="most pictures of a cell, of each hierarchy, coarse to fine (%(default)s)")
    parser.add_argument("--tau-min", type=int, default=20, metavar="N",
                        help="cells of at most so many pictures are dropped (%(default)s)")
    parser.add_argument("--level-min", type=int, default=2, help="S2 level of the largest cells (%(default)s)")
    parser.add_argument("--level-max", type=int, default=30, help="S2 level of the smallest cells (%(default)s)")
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
        ConfigError: the split or version is unknown, ``max_sweeps`` is negative, or the data set has no records to
            skip.
    """
    if args.max_sweeps < 0:
        raise ConfigError(f"--max-sweeps must be >= 0, got {args.max_sweeps}")
    if args.skip_corrupt and args.dataset != "waymo":
        raise ConfigError(f"--skip-corrupt is for records, which {args.dataset} has none of")
    if args.dataset == "nuscenes":
        from .nuscenes_index import build_nuscenes_index

        path = build_nuscenes_index(
            args.root, args.version, args.split, args.out, max_sweeps=args.max_sweeps, progress=progress
        )
    elif args.dataset == "argoverse2":
        from .argoverse2 import build_argoverse2_index

        path = build_argoverse2_index(args.root, args.split, args.out, max_sweeps=args.max_sweeps, progress=progress)
    else:
        from .waymo_open import build_waymo_index

        path, skipped = build_waymo_index(
            args.root, args.split, args.out, max_sweeps=args.max_sweeps, skip_corrupt=args.skip_corrupt,
            progress=progress,
        )
        if args.skip_corrupt:
            return f"wrote {path}, skipped {skipped} corrupt records"
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
        config.update(type="Argoverse2Dataset" if args.dataset == "argoverse2" else "WaymoDataset")
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


def make_partition(args: argparse.Namespace, progress: Progress = iter) -> str:
    """Cut the Earth into cells with similar numbers of pictures; gives the sentence to print.

    Args:
        args: options of `add_partition_arguments`.
        progress: not used, since it takes seconds.

    Raises:
        DataError: the table or the data set is absent or malformed.
        ConfigError: the config's training data set tells no places, or the bounds make no sense or leave no cell.
    """
    from ..geo import NO_CELL, adaptive_partition
    from ..geo.partition_file import save_partition

    latlng = _places(args.source, args.cfg_options)
    try:
        partition = adaptive_partition(
            latlng, args.tau_max, tau_min=args.tau_min, level_min=args.level_min, level_max=args.level_max
        )
    except ValueError as error:
        raise ConfigError(str(error)) from error
    outside = int((partition.labels_of(latlng)[:, -1] == NO_CELL).sum())
    save_partition(partition, args.out)
    cells = ", ".join(map(str, partition.num_classes))
    return f"wrote {args.out}: {cells} cells of {len(latlng)} pictures, {outside} of which are in none of the finest"


def _places(source: Path, options: Sequence[str]) -> Any:
    """(N, 2) latitudes and longitudes of a table, or of the training data set of a config."""
    from ..engine.config import load_config
    from ..registry import DATASETS
    from .geotagged_table import GeotaggedTable

    if source.suffix != ".py":
        return GeotaggedTable(source.parent, source.name).latlng
    dataset = (load_config(source, options).get("train_dataloader") or {}).get("dataset") or {}
    if not dataset:
        raise ConfigError(f"{source}: expected train_dataloader.dataset whose pictures tell places")
    built = DATASETS.build({**dataset, "transforms": []})    # its transforms may want the partition that is to be made
    if not hasattr(built, "latlng"):
        raise ConfigError(f"{source}: {type(built).__name__} doesn't know where on Earth its frames are")
    return built.latlng
