"""Seeded Argoverse 2 boxes and folders of logs with maps and poses: what its evaluation is timed and tested on.

Sweeps hold what those of the validation set do on average: 75 labels, most of them vehicles and pedestrians.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.evaluation.argoverse2_results import BOX_COLUMNS
from perception.evaluation.detection.argoverse2_settings import CATEGORIES

if TYPE_CHECKING:
    import pandas as pd

LABELS = 75                                                # of a sweep, on average
SWEEPS_OF_LOG = 157
FIRST_NS, STEP_NS = 315_966_265_000_000_000, 100_000_000
COMMON = ("REGULAR_VEHICLE", "PEDESTRIAN", "BOLLARD", "CONSTRUCTION_CONE", "SIGN", "STOP_SIGN")   # falling, then rare
CITY_ORIGIN = np.array([5200.25, 2300.75])                 # [m]
DRIVE_M = 100.0                                            # length of a drive along x
ROAD_M = 14.0                                              # width of a road
GROUND_M = 0.3                                             # cell of the ground height


def seeded_boxes(samples: int, predictions: int, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Detections with scores that are all different, and labels; ego frames.

    Three in five detections are a label moved by centimetres or metres, one in ten of these of any category; the rest
    is invented. One label in ten has no points, some boxes lie beyond 150 m.

    Args:
        samples: sweeps.
        predictions: detections in each.
        seed: of the boxes.
    """
    rng = np.random.default_rng(seed)
    counts = rng.poisson(LABELS, samples)
    sweeps, found_sweeps = np.repeat(np.arange(samples), counts), np.repeat(np.arange(samples), predictions)
    true, categories = _boxes(rng, len(sweeps)), _categories(rng, len(sweeps))
    found, found_categories = _boxes(rng, len(found_sweeps)), _categories(rng, len(found_sweeps))

    known = np.flatnonzero((rng.random(len(found)) < 0.6) & (counts[found_sweeps] > 0))
    source = np.searchsorted(sweeps, found_sweeps[known]) + rng.integers(0, counts[found_sweeps[known]])
    found[known] = _moved(rng, true[source])
    is_named = rng.random(len(known)) < 0.9
    found_categories[known[is_named]] = categories[source[is_named]]

    scores = rng.permutation(len(found)) / max(len(found), 1)
    points = np.where(rng.random(len(true)) < 0.1, 0, rng.integers(1, 500, len(true)))
    return (
        _table(found, found_sweeps, found_categories, {"score": scores}),
        _table(true, sweeps, categories, {"num_interior_pts": points}),
    )


def write_logs(split_dir: Path, samples: int, seed: int = 0) -> Path:
    """Write logs for the sweeps of `seeded_boxes`: crossing roads and a drive along one of them; gives the folder."""
    rng = np.random.default_rng(seed)
    for first in range(0, samples, SWEEPS_OF_LOG):
        folder = split_dir / _log_name(first)
        (folder / "map").mkdir(parents=True)
        _write_map(rng, folder)
        _write_poses(rng, folder, np.arange(first, min(first + SWEEPS_OF_LOG, samples)))
    return split_dir


def _boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """(K, 10) boxes, upright, with the density of traffic: most near, few far."""
    distance, bearing = rng.gamma(2.0, 25.0, count), rng.uniform(-np.pi, np.pi, count)
    centers = np.stack([distance * np.cos(bearing), distance * np.sin(bearing), rng.normal(0.0, 1.0, count)], axis=1)
    sizes = np.exp(rng.normal([1.2, 0.5, 0.4], 0.5, (count, 3)))
    return np.concatenate([centers, sizes, _turned(rng.uniform(-np.pi, np.pi, count))], axis=1)


def _moved(rng: np.random.Generator, boxes: np.ndarray) -> np.ndarray:
    """(K, 10) boxes as a detector might find them: beside by 3 cm to 5 m, of another size, one in ten backwards."""
    count = len(boxes)
    offsets = rng.normal(0.0, 1.0, (count, 3)) * 10.0 ** rng.uniform(-1.5, 0.5, (count, 1))
    yaw = 2.0 * np.arctan2(boxes[:, 9], boxes[:, 6]) + rng.normal(0.0, 0.2, count)
    yaw += np.where(rng.random(count) < 0.1, np.pi, 0.0)
    sizes = boxes[:, 3:6] * np.exp(rng.normal(0.0, 0.1, (count, 3)))
    return np.concatenate([boxes[:, :3] + offsets, sizes, _turned(yaw)], axis=1)


def _turned(yaw: np.ndarray) -> np.ndarray:
    """(K, 4) quaternions w x y z."""
    zero = np.zeros_like(yaw)
    return np.stack([np.cos(yaw / 2), zero, zero, np.sin(yaw / 2)], axis=1)


def _categories(rng: np.random.Generator, count: int) -> np.ndarray:
    """(K,) names, by falling frequency those of `COMMON`, then the others."""
    names = np.array([*COMMON, *(name for name in CATEGORIES if name not in COMMON)], dtype=object)
    share = 0.75 ** np.arange(len(names))
    return names[rng.choice(len(names), count, p=share / share.sum())]


def _table(boxes: np.ndarray, sweeps: np.ndarray, categories: np.ndarray, last: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    names = np.array([_log_name(number) for number in range(int(sweeps.max(initial=0)) + 1)], dtype=object)
    columns = {"log_id": names[sweeps], "timestamp_ns": FIRST_NS + STEP_NS * sweeps, "category": categories}
    return pd.DataFrame(columns | {name: boxes[:, place] for place, name in enumerate(BOX_COLUMNS)} | last)


def _log_name(sweep: int) -> str:
    return f"log-{sweep // SWEEPS_OF_LOG:04d}"


def _write_map(rng: np.random.Generator, folder: Path) -> None:
    """A road along the drive, two that cross it, and the flat ground that av2 wants to read."""
    areas = {}
    ways = [(0.0, 0.0), (rng.uniform(0.0, DRIVE_M), np.pi / 2), (rng.uniform(0.0, DRIVE_M), rng.uniform(0.5, 2.5))]
    for number, (place, heading) in enumerate(ways, 1):
        along, aside = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
        corners = np.array([[-150, -1], [250, -1], [250, 1], [-150, 1]]) * [1.0, ROAD_M / 2]
        city = CITY_ORIGIN + [place, 0.0] + corners[:, :1] * along + corners[:, 1:] * aside
        boundary = [{"x": x, "y": y, "z": 0.0} for x, y in city.tolist()]
        areas[str(number)] = {"id": number, "area_boundary": boundary}
    content = {"drivable_areas": areas, "lane_segments": {}, "pedestrian_crossings": {}}
    name = folder.name
    (folder / "map" / f"log_map_archive_{name}____PIT_city_0.json").write_text(json.dumps(content), encoding="utf-8")
    placed = {"R": [1.0, 0.0, 0.0, 1.0], "t": (-CITY_ORIGIN).tolist(), "s": 1.0 / GROUND_M}
    (folder / "map" / f"{name}___img_Sim2_city.json").write_text(json.dumps(placed), encoding="utf-8")
    np.save(folder / "map" / f"{name}_ground_height_surface____PIT.npy", np.zeros((4, 4), np.float16))


def _write_poses(rng: np.random.Generator, folder: Path, sweeps: np.ndarray) -> None:
    import pandas as pd

    along = np.linspace(0.0, DRIVE_M, len(sweeps))
    yaw = rng.normal(0.0, 0.05, len(sweeps))
    quaternions = _turned(yaw)
    quaternions[:, 1:3] += rng.normal(0.0, 0.005, (len(sweeps), 2))                      # a little roll and pitch
    columns = {"timestamp_ns": FIRST_NS + STEP_NS * sweeps}
    columns |= {name: quaternions[:, place] for place, name in enumerate(("qw", "qx", "qy", "qz"))}
    columns |= {"tx_m": CITY_ORIGIN[0] + along, "ty_m": CITY_ORIGIN[1] + rng.normal(0.0, 0.5, len(sweeps))}
    table = pd.DataFrame(columns | {"tz_m": np.zeros(len(sweeps))})
    table.to_feather(folder / "city_SE3_egovehicle.feather")
