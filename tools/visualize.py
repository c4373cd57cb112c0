"""Draw a recording: from above, through its cameras, and as an Open3D scene, with what is true and predicted in it.

Examples:
    python tools/visualize.py data/nuscenes:scene-0061 --keyframes                      # annotated boxes, in green
    python tools/visualize.py data/synthetic:scene-0003 --keyframes --config CONFIG --checkpoint CHECKPOINT
    python tools/visualize.py log.mcap --predictions work_dirs/replay/predictions.jsonl --views bev scene --video
    python tools/visualize.py data/argoverse2/sensor/val/LOG --window                   # on a desktop
    python tools/visualize.py LOG --predictions maps.jsonl --frames 0 --map-out maps    # one map of the drive
    python tools/visualize.py data/synthetic:scene-0003 --keyframes --labels --frames 0 --video       # true classes
    python tools/visualize.py data/synthetic:scene-0003 --keyframes --labels --config SEGMENTOR --checkpoint CHECKPOINT
    python tools/visualize.py folder/of/pictures --predictions work_dirs/replay/predictions.jsonl --video
    python tools/visualize.py data/synthetic_towns:scene-0003 --keyframes --config GEOLOCALIZER --checkpoint CHECKPOINT

Boxes, map lines, and classes of pixels and points with their instances are drawn; true classes (--labels) stand beside
predicted ones, each with a legend of those that occur. Pictures go to --out as NNNN_VIEW.png, videos as VIEW.mp4. A
predicted place on Earth is drawn on a map with the model's cells (or those of --partition), as NNNN_place.png or, of
one of several cameras, NNNN_place_CAMERA.png, with a .geojson beside. With --map-out, the maps that were predicted in
the drawn frames, or the true ones if nothing is predicted, are fused into map.geojson, map.png and (with the extra
[lanelet2]) map.osm in that folder. Nothing but --window needs a display or a GPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from perception.replay.command_line import add_source_arguments, progress_bar, source_from

if TYPE_CHECKING:
    import numpy as np

    from perception.engine.inference import InferenceModel
    from perception.geo import GeoPartition
    from perception.replay.source import FrameSource
    from perception.structures import Frame, GeoPrediction
    from perception.visualization.frame_pictures import Drawable

    Predict = Callable[[Frame], Drawable | None]
NUM_SWEEPS = 10                                            # past frames offered to a model that looks back


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """What the command line asks for; exits with status 2 if it makes no sense."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_source_arguments(parser)
    parser.add_argument("--config", type=Path, help="config of a model to run over the frames")
    parser.add_argument("--checkpoint", type=Path, help="its weights")
    parser.add_argument("--predictions", type=Path, help="predictions.jsonl of tools/replay.py or tools/test.py")
    parser.add_argument("--partition", type=Path, help="file whose cells are drawn around places in --predictions")
    parser.add_argument(
        "--labels", action="store_true", default=None, help="read and draw the true classes of pixels and points",
    )
    parser.add_argument("--cameras", nargs="+", metavar="NAME", help="draw these cameras alone")
    parser.add_argument(
        "--views", nargs="+", choices=("bev", "cameras", "scene"), default=["bev", "cameras", "scene"],
        help="what to draw (all)",
    )
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="frames, spread; 0: all (%(default)s)")
    parser.add_argument("--min-score", type=float, default=0.3, help="leave out predictions below it (%(default)s)")
    parser.add_argument("--points", action="store_true", help="draw the points into the camera pictures too")
    parser.add_argument("--out", type=Path, default=Path("work_dirs/pictures"), help="folder (%(default)s)")
    parser.add_argument("--video", action="store_true", help="also join the pictures of each view to an MP4 file")
    parser.add_argument("--map-out", type=Path, metavar="FOLDER", help="also fuse the maps of the frames to one, here")
    parser.add_argument("--window", action="store_true", help="show each frame in an Open3D window instead")
    parser.add_argument("--backend", choices=("auto", "open3d", "software"), default="auto", help="of the scene view")
    parser.add_argument("--device", default="auto", help="of the model: auto, cpu, cuda or cuda:N (%(default)s)")
    args = parser.parse_args(argv)
    if (args.config is None) != (args.checkpoint is None):
        parser.error("--config and --checkpoint go together")
    if args.config is not None and args.predictions is not None:
        parser.error("give either --config and --checkpoint or --predictions")
    if args.frames < 0:
        parser.error(f"--frames must be >= 0, got {args.frames}")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tool; gives the exit status of the process."""
    args = parse_args(argv)
    source = source_from(args)
    model = model_of(args)
    predict, drawn = predictor(args, model), chosen_frames(source, args.frames, args.cameras)
    return show(args, drawn, predict) if args.window else draw(args, source, drawn, predict, partition_of(args, model))


def model_of(args: argparse.Namespace) -> InferenceModel | None:
    """The model to run over the frames, if one is named."""
    if args.config is None:
        return None
    from perception.engine.inference import load_model

    return load_model(args.config, args.checkpoint, args.device)


def partition_of(args: argparse.Namespace, model: InferenceModel | None) -> GeoPartition | None:
    """The cells that are drawn around predicted places."""
    if args.partition is None:
        return None if model is None else getattr(model.model, "partition", None)
    from perception.geo.partition_file import load_partition

    return load_partition(args.partition)


def predictor(args: argparse.Namespace, model: InferenceModel | None) -> Predict:
    """What gives the predictions of a frame: a model, a file, or nothing."""
    if model is not None:
        from perception.replay.camera_pictures import by_camera

        return partial(by_camera, model) if model.sees_one_picture else model.predict
    if args.predictions is not None:
        from perception.replay.camera_pictures import recorded_predictions
        from perception.structures.prediction_lines import read_prediction_lines

        return partial(recorded_predictions, read_prediction_lines(args.predictions))
    return lambda frame: None


def chosen_frames(
    source: FrameSource, count: int, cameras: Sequence[str] | None = None
) -> Iterator[tuple[int, Frame]]:
    """Numbers and frames, evenly spread over the recording, with the frames before them as sweeps.

    With ``cameras`` they have these alone, in this order; a frame without pictures stays as it is.
    """
    from perception.replay.camera_pictures import with_cameras
    from perception.replay.history import with_history

    every = max(1, len(source) // count) if count else 1
    entries = with_history(source.pending(), 0 if source.brings_sweeps else NUM_SWEEPS)
    chosen = islice(enumerate(entries), 0, every * count if count else None, every)
    total = len(range(0, min(len(source), every * count or len(source)), every))
    for number, entry in progress_bar(chosen, total, "drawing"):
        yield number, with_cameras(entry.load(), cameras)


def show(args: argparse.Namespace, drawn: Iterator[tuple[int, Frame]], predict: Predict) -> int:
    """Show each frame in a window, one after the other, with the classes of its points if they are known."""
    from rich.console import Console

    from perception.visualization.scene3d import show_scene
    from perception.visualization.segment_panels import point_classes

    for _, frame in drawn:
        found = predict(frame)
        classes = point_classes(frame, found)
        if classes is not None:
            swatches = (f"[on rgb({r},{g},{b})]   [/] {name}" for name, (r, g, b) in classes.legend().items())
            Console().print("  ".join(swatches))
        shapes = None if isinstance(found, Mapping) or places_of(found) else found
        show_scene(frame, shapes, min_score=args.min_score, classes=classes)
    return 0


def draw(
    args: argparse.Namespace, source: FrameSource, drawn: Iterator[tuple[int, Frame]], predict: Predict,
    partition: GeoPartition | None = None,
) -> int:
    """Write the pictures and, if wanted, the videos."""
    from perception.replay.sinks.global_map import GlobalMapSink, true_map_of
    from perception.structures import MapPredictions
    from perception.visualization.frame_pictures import frame_pictures, save_picture
    from perception.visualization.video import same_size, write_video

    reels: dict[str, list[tuple[int, np.ndarray]]] = {}
    paths: list[Path] = []
    whole = None if args.map_out is None else GlobalMapSink(args.map_out)
    for number, frame in drawn:
        found = predict(frame)
        pictures = frame_pictures(
            frame, found, views=args.views, min_score=args.min_score, with_points=args.points, backend=args.backend,
        )
        placed = found if isinstance(found, MapPredictions) else true_map_of(frame) if found is None else None
        if whole is not None and placed is not None:
            whole.write(frame, placed)
        paths += [save_picture(args.out / f"{number:04d}_{view}.png", picture) for view, picture in pictures.items()]
        for view, place in places_of(found).items():
            paths += draw_place(args.out / f"{number:04d}_{view}.png", place, frame, partition)
        for view, picture in pictures.items() if args.video else ():
            reels.setdefault(view, []).append((frame.timestamp_ns, picture))
    for view, reel in reels.items():
        stamps, pictures_of_view = zip(*reel, strict=True)
        paths.append(write_video(args.out / f"{view}.mp4", same_size(pictures_of_view), frame_rate(stamps)))
    if whole is not None:
        fused = whole.close()
        print(f"wrote a map of {len(fused)} elements to {', '.join(map(str, whole.paths))}")
    print(f"wrote {len(paths)} files to {args.out}")
    return 0


def places_of(found: Drawable | None) -> dict[str, GeoPrediction]:
    """Predicted places by the name that their picture gets."""
    from perception.structures import GeoPrediction

    if not isinstance(found, Mapping):
        return {"place": found} if isinstance(found, GeoPrediction) else {}
    places = {name: place for name, place in found.items() if isinstance(place, GeoPrediction)}
    return {f"place_{name}" if len(places) > 1 else "place": place for name, place in places.items()}


def draw_place(path: Path, place: GeoPrediction, frame: Frame, partition: GeoPartition | None) -> list[Path]:
    """Write the map picture of a place and, beside it, its GeoJSON; gives both paths."""
    from perception.atomic_write import write_json
    from perception.visualization.frame_pictures import save_picture
    from perception.visualization.place_map import place_geojson, render_place

    truth = None if frame.wgs84 is None else frame.wgs84[:2]
    save_picture(path, render_place(place, partition, truth))
    return [path, write_json(path.with_suffix(".geojson"), place_geojson(place, truth))]


def frame_rate(stamps_ns: Sequence[int]) -> float:
    """Frames a second, such that a video lasts as long as the recording; 2 for a single frame."""
    span = (stamps_ns[-1] - stamps_ns[0]) * 1e-9 if stamps_ns else 0.0
    return (len(stamps_ns) - 1) / span if span > 0 else 2.0


if __name__ == "__main__":
    from perception.engine.cli import run_tool

    sys.exit(run_tool(main))
