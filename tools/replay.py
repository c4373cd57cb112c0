"""Replay a recorded drive through a detector, a map model or a segmentation model, without ROS.

Examples:
    python tools/replay.py CONFIG CHECKPOINT data/synthetic:scene-0003                     # at the sensor's pace
    python tools/replay.py CONFIG CHECKPOINT log.mcap --rate 0 --pictures 8                # as fast as it goes
    python tools/replay.py CONFIG CHECKPOINT data/nuscenes --scene scene-0061 --keyframes
    python tools/replay.py CONFIG CHECKPOINT data/waymo/validation/segment-1024_with_camera_labels.tfrecord
    python tools/replay.py CONFIG CHECKPOINT log.mcap --source-options base_frame=base_link topic=/lidar/points
    python tools/replay.py SEGMENTOR CHECKPOINT data/synthetic:scene-0003 --keyframes --cameras CAM_FRONT CAM_BACK
    python tools/replay.py SEGMENTOR CHECKPOINT folder/of/pictures --source-options fps=25

The source is a nuScenes scene (ROOT:SCENE), an Argoverse 2 log folder, a Waymo segment (a TFRecord, or its file in
the folder lidar of the Parquet form), a KITTI raw drive or object root, a folder of point clouds or of pictures, or an
MCAP file with Foxglove schemas; NAME:PATH says which if the path does not. At --rate 1 frames are released at their
recorded times and those that the model is too slow for are dropped and counted.
For a model of pictures each camera of a frame is a frame of its own, called TOKEN/CAMERA, with the frame's time.

Writes predictions.jsonl (one line a frame; masks of pixels and points lie beside it in predictions_masks),
latency.json and, with --pictures, PNG files into the folder --out; tools/visualize.py --predictions draws them all, as
a video too. If the recording has poses, what a map model says is also fused to one map of the drive: map.geojson,
map.png and, with the extra [lanelet2], map.osm.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perception.replay.command_line import add_source_arguments, progress_bar, source_from

if TYPE_CHECKING:
    from perception.replay.pipeline import FrameDetector, Sink
    from perception.replay.source import FrameSource


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="model and pipeline config")
    parser.add_argument("checkpoint", type=Path, help="weights that fit the config")
    add_source_arguments(parser)
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="of a model of pictures: which to play (all)")
    parser.add_argument("--rate", type=float, default=1.0, help="speed relative to the sensor; 0: no waiting, no drops")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/replay"), help="folder for results (%(default)s)")
    parser.add_argument("--max-frames", type=int, metavar="N", help="stop after N frames of the recording")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (%(default)s)")
    parser.add_argument("--fuse", action="store_true", help="fold batch normalisation into the layers before it")
    parser.add_argument("--compile", action="store_true", help="run the network through torch.compile")
    parser.add_argument("--pictures", type=int, default=0, metavar="N", help="draw N frames, evenly spread")
    parser.add_argument("--json", type=Path, help="write the printed figures to this file too")
    args = parser.parse_args(argv)
    if not 0.0 <= args.rate < float("inf"):
        parser.error(f"--rate must be finite and >= 0, got {args.rate:g}")
    if args.max_frames is not None and args.max_frames < 1:
        parser.error(f"--max-frames must be >= 1, got {args.max_frames}")
    if args.pictures < 0:
        parser.error(f"--pictures must be >= 0, got {args.pictures}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.engine.config import load_config
    from perception.engine.inference import load_model
    from perception.replay.camera_pictures import source_for

    source = source_from(args)                             # before the model: a wrong path is told at once
    cfg = load_config(args.config, ["model.compile={}"] if args.compile else [])
    model = load_model(cfg, args.checkpoint, args.device, fuse=args.fuse)
    return replay(args, source_for(model, source, args.cameras), model, synchronize_for(model.model))


def replay(
    args: argparse.Namespace, source: FrameSource, detector: FrameDetector, synchronize: Callable[[], None] | None
) -> int:
    """Play the source to a detector, print the table and say where the results lie."""
    from rich.console import Console

    from perception.atomic_write import write_json
    from perception.replay.pipeline import Replay
    from perception.replay.sinks.global_map import GlobalMapSink
    from perception.replay.sinks.json_lines import JsonLinesSink
    from perception.replay.sinks.pictures import PictureSink
    from perception.structures import MapPredictions

    with ExitStack() as stack:
        lines = stack.enter_context(JsonLinesSink(args.out / "predictions.jsonl"))
        sinks: list[Sink] = [lines]
        if args.pictures:
            frames = min(len(source), args.max_frames or len(source))
            every = max(1, frames // args.pictures)
            sinks.append(PictureSink(args.out / "pictures", args.pictures, every))
        first = Replay(detector, synchronize=synchronize).warm_up(source)
        whole = None
        if isinstance(first, MapPredictions) and first.global_from_ego is not None:
            whole = stack.enter_context(GlobalMapSink(args.out))
            sinks.append(whole)
        report = Replay(detector, sinks, synchronize=synchronize).run(source, args.rate, args.max_frames, progress_bar)
    Console().print(report.table())
    saved = report.save(args.out)
    if args.json is not None:
        write_json(args.json, report.as_dict())
    if whole is not None:
        print(f"wrote the map of the drive to {', '.join(map(str, whole.paths))}")
    print(f"wrote {lines.path} ({report.frames} frames) and {saved}")
    return 0


def synchronize_for(model: Any) -> Callable[[], None] | None:
    """What waits for the model's device, so that stages are timed to their end; None on a CPU."""
    import torch

    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return None if device.type != "cuda" else lambda: torch.cuda.synchronize(device)


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
