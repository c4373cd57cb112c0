"""The whole city: simulate every planned scene and write one nuScenes data root."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import PerceptionError
from .camera import photograph
from .city_plan import ScenePlan, drives_on_the_right, plan_scenes
from .labels import annotate
from .lidar import scan
from .looks import DAY, Look, find_look
from .map_writer import MapExpansion
from .nuscenes_writer import (
    SCENE_TABLES,
    SWEEPS_PER_KEYFRAME,
    Moment,
    Row,
    SceneLabel,
    Tables,
    is_keyframe,
    scene_tables,
    shared_tables,
    token,
    write_picture,
    write_sweep,
    write_tables,
)
from .options import Options
from .raycast import SceneCaster
from .rig import Rig
from .scene import Scene
from .sd_map_writer import SDMapWriter
from .statistics import CityStatistics, measure
from .town import Town
from .town_character import look_of
from .town_files import write_town_files

MARKER = "synthetic_city.json"

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class SceneResult:
    """What a finished scene hands back: its rows, its town and how long it took."""

    plan: ScenePlan
    shift: tuple[float, float]
    tables: Tables
    town: Town
    seconds: float


def generate_city(root: Path | str, train_scenes: int, val_scenes: int, seed: int = 0, *, duration_s: float = 10.0,
                  cameras: str = "all", density: float = 1.0, columns: int = 1080, look: str = "day",
                  towns: int = 0, channels: Sequence[str] = (), picture_scale: float = 1.0,
                  workers: int = 2, progress: Progress | None = None) -> CityStatistics:
    """Write a synthetic city as a nuScenes data root that the official devkit opens.

    The root appears at once when all is done; a city that stood there is replaced.

    Args:
        root: folder to write; absent, empty or an older synthetic city.
        train_scenes: scenes with names of the official training split, at most 700.
        val_scenes: scenes with names of the official validation split, at most 150.
        seed: the same seed gives the same files.
        duration_s: length of a scene [s], a multiple of half a second.
        cameras: the scenes that images are rendered in, one of `CAMERAS`.
        density: traffic relative to the default.
        columns: firings of the LiDAR in one turn; fewer make smaller sweeps.
        look: hour, weather and style, one of `LOOKS`; the streets are the same in all of them.
        towns: how many towns, at different places on the globe, the scenes of both splits are drives through, at other
            times and in other weather; 0 gives each scene a town of its own. See `write_town_files`.
        channels: the cameras; none named is all of them.
        picture_scale: size of the pictures, relative to 400 by 224 pixels.
        workers: processes.
        progress: called with finished scenes, all scenes and the finished one's name.

    Raises:
        PerceptionError: the folder holds something else, or can't be written.
        ValueError: an argument is out of range.
    """
    options = Options(
        seed, duration_s, cameras, density, columns, look, towns, tuple(channels), picture_scale)
    plans = plan_scenes(train_scenes, val_scenes, seed, towns)
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    with _replacing(Path(root)) as beside:
        results = list(_simulate(beside, plans, options, workers, progress))
        tables = merge_tables(results, beside, seed)
        write_tables(beside, tables)
        if towns:
            write_town_files(beside, [(result.plan, result.town) for result in results])
        statistics = measure(tables, {result.plan.name: result.seconds for result in results})
        record = {"format": 1, "train_scenes": train_scenes, "val_scenes": val_scenes, **options.record()}
        (beside / MARKER).write_text(json.dumps(record, indent=1) + "\n")
    return statistics


def simulate_scene(root: Path, plan: ScenePlan, options: Options, threads: int = 1) -> SceneResult:
    """Build one scene, look at it with all sensors and write its files below ``root``."""
    from .world import build_scene

    start = time.perf_counter()
    look = look_of(plan, find_look(options.look))
    scene = build_scene(plan.name, plan.location, plan.seed, duration_s=options.duration_s, layout=plan.layout,
                        density=options.density, slot=plan.slot, look=look, drive=plan.drive)
    shift = (plan.page * scene.town.edge[0], 0.0)
    label = SceneLabel(plan.name, plan.number, f"city-{options.seed}", plan.location, shift,
                       f"synthetic {plan.layout} town {look.words}".rstrip() + f", seed {plan.seed}")
    rig = options.rig(plan.split)
    moments = record_scene(root, scene, rig, label, plan.seed, threads, look)
    tables = scene_tables(scene, rig, label, moments)
    return SceneResult(plan, shift, tables, scene.town, time.perf_counter() - start)


def record_scene(root: Path, scene: Scene, rig: Rig, label: SceneLabel, seed: int, threads: int = 1,
                 look: Look = DAY) -> list[Moment]:
    """Simulate every sweep and image of a scene and write their files below ``root``.

    Args:
        root: folder of the data root.
        scene: the drive.
        rig: its sensors.
        label: names and place.
        seed: of the sensors' noise; each sweep has a generator of its own.
        threads: sweeps simulated at the same time.
        look: in whose light the cameras see it.
    """
    caster = SceneCaster(scene, look)
    count = round(scene.duration_s / rig.lidar.period_s)
    count -= count % SWEEPS_PER_KEYFRAME

    def record(index: int) -> Moment:
        return _record_moment(root, caster, rig, label, index, np.random.default_rng([seed, index]))

    if threads == 1:
        return [record(index) for index in range(count)]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(record, range(count)))


def _record_moment(root: Path, caster: SceneCaster, rig: Rig, label: SceneLabel, index: int,
                   rng: np.random.Generator) -> Moment:
    moment = (index + 0.5) * rig.lidar.period_s
    sweep = scan(caster, rig.lidar, moment, rng)
    write_sweep(root, label, rig.lidar.channel, index, sweep)
    if not is_keyframe(index):
        return Moment(index, moment)
    shutters = []
    for camera in rig.cameras:
        shutters.append(moment + rig.lidar.time_towards(camera.trigger_yaw))
        snapshot = caster.snapshot(shutters[-1], sweep.global_from_sensor[:3, 3])
        write_picture(root, label, camera, photograph(snapshot, camera, shutters[-1], rng))
    boxes = annotate(caster, rig.lidar, sweep, np.array([*label.shift, 0.0]))
    return Moment(index, moment, tuple(shutters), tuple(boxes))


def merge_tables(results: list[SceneResult], root: Path, seed: int) -> Tables:
    """All scenes' rows one after another, with the shared tables and the maps, whose files are written."""
    tables: Tables = {name: [row for result in results for row in result.tables[name]] for name in SCENE_TABLES}
    return tables | shared_tables(f"city-{seed}", _write_maps(results, root, seed))


def _write_maps(results: list[SceneResult], root: Path, seed: int) -> Iterator[Row]:
    """Expansion file, SD map and mask of every location that occurs; yields the rows of the map table."""
    for folder in ("expansion", "sd_map"):
        (root / "maps" / folder).mkdir(parents=True, exist_ok=True)
    for location in sorted({result.plan.location for result in results}):
        here = [result for result in results if result.plan.location == location]
        width, height = here[0].town.edge
        expansion = MapExpansion(location, (width * (1 + max(result.plan.page for result in here)), height))
        sd_map = SDMapWriter(right_hand=drives_on_the_right(location))
        for name, result in {result.plan.town_name: result for result in here}.items():
            expansion.add(result.town, f"city-{seed}/{name}", result.shift)
            sd_map.add(result.town, name, result.shift)
        (root / f"maps/expansion/{location}.json").write_text(expansion.to_json())
        (root / f"maps/sd_map/{location}.json").write_text(sd_map.to_json())
        name = token(f"city-{seed}", "map", location)
        expansion.write_mask(root / f"maps/{name}.png")
        yield {"token": name, "log_tokens": [row["token"] for result in here for row in result.tables["log"]],
               "category": "semantic_prior", "filename": f"maps/{name}.png"}


def _simulate(root: Path, plans: list[ScenePlan], options: Options, workers: int,
              progress: Progress | None) -> Iterator[SceneResult]:
    """Results in the order of the plans, whatever finishes first."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    if workers == 1 or len(plans) == 1:
        for done, plan in enumerate(plans, start=1):
            yield simulate_scene(root, plan, options, os.cpu_count() or 1)
            if progress:
                progress(done, len(plans), plan.name)
        return
    import multiprocessing

    context = multiprocessing.get_context("spawn")                   # forking would copy Embree's threads half-dead
    with ProcessPoolExecutor(min(workers, len(plans)), mp_context=context) as pool:
        jobs = [pool.submit(simulate_scene, root, plan, options, threads) for plan in plans]
        _watch(jobs, plans, progress)
        yield from (job.result() for job in jobs)


def _watch(jobs: list[Future[SceneResult]], plans: list[ScenePlan], progress: Progress | None) -> None:
    """Tell of every finished scene; the first failure cancels what has not begun."""
    names = {id(job): plan.name for job, plan in zip(jobs, plans, strict=True)}
    try:
        for done, job in enumerate(as_completed(jobs), start=1):
            job.result()
            if progress:
                progress(done, len(jobs), names[id(job)])
    except BaseException:
        for job in jobs:
            job.cancel()
        raise


@contextmanager
def _replacing(root: Path) -> Iterator[Path]:
    """A folder beside ``root`` that takes its place when the block ends well and vanishes when it does not."""
    if root.exists() and not root.is_dir():
        raise PerceptionError(f"{root}: expected a folder to write the city to, got a file")
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).is_file():
        raise PerceptionError(f"{root}: holds files that are not a synthetic city (no {MARKER}); choose another folder")
    beside: Path | None = None
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{root.name}.", dir=root.parent))
        beside.chmod(0o755)
        yield beside
        os.sync()
        if root.exists():
            shutil.rmtree(root)
        beside.rename(root)
    except OSError as error:
        where = error.filename or root
        raise PerceptionError(f"{where}: cannot write the city: {error.strerror or error}") from error
    finally:
        if beside is not None and beside.exists():
            shutil.rmtree(beside, ignore_errors=True)
