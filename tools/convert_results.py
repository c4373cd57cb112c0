"""Convert detection results between the files of nuScenes, Argoverse 2, Waymo and KITTI.

Examples:
    python tools/convert_results.py results_nusc.json detections.feather --from nuscenes --to argoverse2 \
--root data/nuscenes --drop-unmatched
    python tools/convert_results.py detections.feather results.json --from argoverse2 --to nuscenes \
--root data/argoverse2/sensor/val --classes BICYCLIST=bicycle MOTORCYCLIST=
    python tools/convert_results.py predictions.bin results/kitti --from waymo --to kitti --drop-unmatched
    python tools/convert_results.py results/kitti predictions.bin --from kitti --to waymo --root data/kitti

nuScenes' boxes are global: to read them, and to write them from another data set, poses are needed. They come from
--root (a nuScenes root, an Argoverse 2 split folder) or from --places, a JSON file {FRAME: {"scene": "drive-1",
"timestamp_ns": 100, "global_from_ego": [qw, qx, qy, qz, x, y, z]}}; --ego-is-global does without. KITTI's boxes are in
the frame of a camera that the calibration files of --root place; those of other data sets get a level camera.
Results of Argoverse 2 and KITTI have no velocities. Boxes whose class has no partner in the other data set are an
error unless --classes names one (A=B; A= takes it away) or --drop-unmatched leaves them out, which is counted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from perception.evaluation.result_formats.names import FORMATS


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", type=Path, help="results: a file, or KITTI's folder")
    parser.add_argument("output", type=Path, help="where the converted ones go: a file, or a new folder for KITTI's")
    parser.add_argument("--from", dest="own", choices=FORMATS, required=True, help="format of the input")
    parser.add_argument("--to", dest="other", choices=FORMATS, required=True, help="format of the output")
    parser.add_argument("--root", type=Path, help="data set of the input, for poses and calibrations")
    parser.add_argument("--version", default="v1.0-trainval", help="of a nuScenes root (%(default)s)")
    parser.add_argument("--places", type=Path, metavar="FILE", help="JSON file of times and poses in place of --root")
    parser.add_argument("--ego-is-global", action="store_true", help="put vehicles without a pose at the origin")
    parser.add_argument("--classes", nargs="+", default=[], metavar="A=B", help="class B of the output for A")
    parser.add_argument("--class-table", type=Path, metavar="FILE", help="JSON file {A: B} of the same; --classes win")
    parser.add_argument("--drop-unmatched", action="store_true", help="leave out boxes whose class has no partner")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts to this file too")
    args = parser.parse_args(argv)
    for word in args.classes:
        if not word.partition("=")[1] or not word.partition("=")[0]:
            parser.error(f"--classes takes words A=B, got {word!r}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from dataclasses import asdict

    from perception.atomic_write import write_json
    from perception.evaluation.result_formats.conversion import convert_results
    from perception.evaluation.result_formats.frame_results import FrameSource

    conversion = convert_results(
        args.input, args.output, args.own, args.other, source=FrameSource(args.root, args.version, args.places),
        classes=classes_from(args), drop_unmatched=args.drop_unmatched, ego_is_global=args.ego_is_global,
    )
    for note in conversion.notes:
        print(f"note: {note}")
    for name, count in sorted(conversion.dropped.items()):
        print(f"dropped {count} boxes of class {name}: {args.other} has no partner for it")
    if args.json is not None:
        print(f"wrote {write_json(args.json, asdict(conversion))}")
    print(f"wrote {conversion.boxes} boxes of {conversion.frames} frames to {args.output}")
    return 0


def classes_from(args: argparse.Namespace) -> dict[str, str]:
    """Partners of classes that go before those of the built-in table. Raises DataError for a malformed file."""
    from perception.errors import DataError
    from perception.evaluation.json_files import read_json_object

    partners = {} if args.class_table is None else read_json_object(args.class_table, "classes by class")
    for name, partner in partners.items():
        if not isinstance(partner, str):
            raise DataError(args.class_table, name, "the name of a class", partner)
    return {**partners, **dict(word.split("=", 1) for word in args.classes)}


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
