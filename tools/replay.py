"""Replay a recorded drive through a detector, a map model or a segmentation model, without ROS.

Examples:
    python tools/replay.py CONFIG CHECKPOINT data/synthetic:scene-0003                     # at the sensor's pace
    python tools/replay.py CONFIG CHECKPOINT log.mcap --rate 0 --pictures 8                # as fast as it goes
    python tools/replay.py CONFIG CHECKPOINT data/nuscenes --scene scene-0061 --keyframes
    python tools/replay.py CONFIG CHECKPOINT data/waymo/validation/segment-1024_with_camera_labels.tfrecord
    python tools/replay.py CONFIG CHECKPOINT log.mcap --source-options base_frame=base_link topic=/lidar/points
    python tools/replay.py SEGMENTOR CHECKPOINT data/synthetic:scene-0003 --keyframes --cameras CAM_FRONT CAM_BACK
    python tools/replay.py CONFIG CHECKPOINT log.mcap --save-state work_dirs/memory.safetensors      # then, if stopped,
    python tools/replay.py CONFIG CHECKPOINT log.mcap --restore-state work_dirs/memory.safetensors --out work_dirs/rest
    python tools/replay.py SEGMENTOR CHECKPOINT folder/of/pictures --source-options fps=25
    python tools/replay.py CONFIG CHECKPOINT log.mcap --backend onnx --model model.onnx      # of tools/export.py

The source is a nuScenes scene (ROOT:SCENE), an Argoverse 2 log folder, a Waymo segment (a TFRecord, or its file in
the folder lidar of the Parquet form), a KITTI raw drive or object root, a folder of point clouds or of pictures, or an
MCAP file with Foxglove schemas; NAME:PATH says which if the path does not. At --rate 1 frames are released at their
recorded times and those that the model is too slow for are dropped and counted.
For a model of pictures each camera of a frame is a frame of its own, called TOKEN/CAMERA, with the frame's time.

Writes predictions.jsonl (one line a frame; masks of pixels and points lie beside it in predictions_masks),
latency.json and, with --pictures, PNG files into the folder --out; tools/visualize.py --predictions draws them all, as
a video too. If the recording has poses, what a map model says is also fused to one map of the drive: map.geojson,
map.png and, with the extra [lanelet2], map.osm.
What a model with a memory knows is kept, frame by frame, in the file of --save-state; --restore-state goes on behind
the frame that it was kept at, as if the replay had never been stopped.
With --backend onnx the network of --model runs in place of the checkpoint's, by onnxruntime on the CPU; what is before
and behind it stays the model's. That needs the extra [deploy].
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
    from mmengine.config import Config

    from perception.engine.inference import InferenceModel
    from perception.models.temporal.memory_state import MemoryState
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
    parser.add_argument("--backend", choices=("torch", "onnx"), default="torch", help="runs the network (%(default)s)")
    parser.add_argument("--model", type=Path, metavar="FILE", help="of --backend onnx: what tools/export.py wrote")
    parser.add_argument("--pictures", type=int, default=0, metavar="N", help="draw N frames, evenly spread")
    parser.add_argument("--save-state", type=Path, metavar="FILE", help="keep the model's memory in this file")
    parser.add_argument("--restore-state", type=Path, metavar="FILE", help="go on from a memory that was kept")
    parser.add_argument("--json", type=Path, help="write the printed figures to this file too")
    args = parser.parse_args(argv)
    if not 0.0 <= args.rate < float("inf"):
        parser.error(f"--rate must be finite and >= 0, got {args.rate:g}")
    if args.max_frames is not None and args.max_frames < 1:
        parser.error(f"--max-frames must be >= 1, got {args.max_frames}")
    if args.pictures < 0:
        parser.error(f"--pictures must be >= 0, got {args.pictures}")
    if (args.model is None) == (args.backend == "onnx"):
        parser.error("--backend onnx and --model FILE go together")
    if args.backend == "onnx" and (args.compile or args.device not in ("auto", "cpu")):
        parser.error("--backend onnx runs on the CPU and is not compiled: leave --device and --compile")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    from perception.engine.config import load_config
    from perception.replay.camera_pictures import source_for

    source = source_from(args)                             # before the model: a wrong path is told at once
    cfg = load_config(args.config, ["model.compile={}"] if args.compile else [])
    model = model_from(args, cfg)
    return replay(args, source_for(model, source, args.cameras), model, synchronize_for(model.model))


def model_from(args: argparse.Namespace, cfg: Config) -> InferenceModel:
    """The model, whose network is the checkpoint's or an exported one; for errors see `load_model`."""
    from perception.deployment.exported_model import load_exported
    from perception.engine.inference import load_model

    if args.backend == "onnx":
        return load_exported(cfg, args.checkpoint, args.model, fuse=args.fuse)
    return load_model(cfg, args.checkpoint, args.device, fuse=args.fuse)


def replay(
    args: argparse.Namespace, source: FrameSource, detector: FrameDetector, synchronize: Callable[[], None] | None
) -> int:
    """Play the source to a detector, print the table and say where the results lie."""
    from rich.console import Console

    from perception.atomic_write import write_json
    from perception.errors import DataError
    from perception.replay.pipeline import Replay
    from perception.replay.sinks.global_map import GlobalMapSink
    from perception.replay.sinks.json_lines import JsonLinesSink
    from perception.replay.sinks.memory_file import MemoryFileSink
    from perception.replay.sinks.pictures import PictureSink
    from perception.structures import MapPredictions

    state = restored_state(args, detector)
    after_ns = None if state is None else state.last_ns
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
        player = Replay(detector, sinks, synchronize=synchronize, state=state)
        if args.save_state is not None:
            sinks.append(MemoryFileSink(args.save_state, lambda: player.state))
        report = player.run(source, args.rate, args.max_frames, progress_bar, after_ns)
    if after_ns is not None and not report.frames:
        raise DataError(args.source, "frames", f"some later than the restored state's last, at {after_ns} ns", "none")
    Console().print(report.table())
    saved = report.save(args.out)
    if args.json is not None:
        write_json(args.json, report.as_dict())
    if whole is not None:
        print(f"wrote the map of the drive to {', '.join(map(str, whole.paths))}")
    print(f"wrote {lines.path} ({report.frames} frames) and {saved}")
    return 0


def restored_state(args: argparse.Namespace, detector: FrameDetector) -> MemoryState | None:
    """The memory to go on from, if one is asked for.

    Raises:
        ConfigError: a memory is to be kept or restored, and the model has none.
        CheckpointError: the file is no saved memory.
    """
    from perception.errors import ConfigError
    from perception.models.temporal.memory_state import MemoryState

    if (args.save_state or args.restore_state) and not getattr(detector, "streams", False):
        raise ConfigError("--save-state and --restore-state are for models with a memory, this one has none")
    return None if args.restore_state is None else MemoryState.load(args.restore_state)


def synchronize_for(model: Any) -> Callable[[], None] | None:
    """What waits for the model's device, so that stages are timed to their end; None on a CPU."""
    import torch

    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    return None if device.type != "cuda" else lambda: torch.cuda.synchronize(device)


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
