"""The small geo-localizer of the synthetic towns: from the commands of its docstring to the scores, in three steps."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from perception.datasets.nuscenes_places import NuScenesPlaces
from perception.engine.build import build_runner
from perception.engine.config import load_config
from perception.geo import adaptive_partition
from perception.geo.partition_file import load_partition, save_partition
from perception.geo.s2_outline import cell_polygon
from perception.structures.prediction_lines import prediction_line
from perception.transforms.map_tile_prior import MapTilePrior
from perception.visualization.palette import TRUTH_COLOR

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/geodecoder/geodecoder_small_synthetic.py"


def tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_tool", ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def partition(towns_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("partition") / "partition.parquet"
    words = ["partition", str(CONFIG), "--out", str(out), "--tau-max", "3", "1", "--tau-min", "0", "--level-max", "16"]
    assert tool("create_data").main([*words, "--cfg-options", f"train_dataloader.dataset.root={towns_root}"]) == 0
    return out


def test_the_first_cells_are_the_towns_and_the_last_ones_are_at_most_200_m_wide(partition: Path):
    cells = load_partition(partition)
    assert cells.num_classes[0] == 2
    assert (cells.hierarchies[0].levels == 2).all()
    (ring,) = cell_polygon(int(cells.hierarchies[-1].ids[cells.hierarchies[-1].levels == 16][0]))["coordinates"]
    sides = np.radians(np.diff(np.array(ring), axis=0)) * 6371.0e3
    sides[:, 0] *= np.cos(np.radians(ring[0][1]))
    assert np.hypot(*sides.T).max() < 200.0


def small(towns_root: Path, partition: Path, out: Path) -> Config:
    """The config with a narrower model, small batches and the files of the test."""
    cfg = load_config(CONFIG)
    cfg.merge_from_dict({
        "model.partition": str(partition), "model.backbone.base_channels": 8, "model.backbone.stem_channels": 8,
        "model.head.channels": 32, "train_dataloader.batch_size": 2, "num_threads": 1,
        "train_cfg.max_iters": 3, "train_cfg.val_interval": 3, "val_evaluator.output_dir": str(out / "scores"),
    })
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.root = str(towns_root)
    cfg.train_dataloader.dataset.transforms[-1].partition = str(partition)
    return cfg


@pytest.fixture(scope="module")
def trained(towns_root: Path, partition: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    build_runner(small(towns_root, partition, out), out, device="cpu").train()
    return out


def test_three_steps_train_and_score_it(trained: Path):
    assert (trained / "iter_3.pth").is_file()
    scores = json.loads((trained / "scores/metrics_geo_localization.json").read_text())
    assert {"acc_100m", "median_km", "cell_accuracy_0", "tile_accuracy"} <= set(scores)
    assert 0.0 <= scores["tile_accuracy"] <= scores["cell_accuracy_0"] <= 1.0


def test_its_places_are_drawn_and_written_beside_the_true_ones(trained: Path, towns_root: Path, tmp_path: Path):
    words = [f"{towns_root}:scene-0003", "--keyframes", "--frames", "1", "--views", "cameras", "--out", str(tmp_path)]
    model = ["--config", str(trained / "config.py"), "--checkpoint", str(trained / "iter_3.pth"), "--device", "cpu"]
    assert tool("visualize").main([*words, *model]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0000_cameras.png", "0000_place.geojson", "0000_place.png"]
    assert (np.asarray(Image.open(tmp_path / "0000_place.png")) == TRUTH_COLOR).all(axis=2).any()
    features = json.loads((tmp_path / "0000_place.geojson").read_text())["features"]
    assert [feature["geometry"]["type"] for feature in features] == ["Polygon", "Polygon", "Point", "Point"]
    assert features[3]["properties"]["truth"]


def test_recorded_places_are_drawn_within_a_partition_that_is_named(towns_root: Path, tmp_path: Path):
    from perception.structures import GeoCell, GeoPrediction

    dataset = NuScenesPlaces(towns_root, split="val")
    cells = adaptive_partition(dataset.latlng, (3, 1), tau_min=0, level_max=16)
    save_partition(cells, tmp_path / "cells.parquet")
    place = dataset.latlng[0]
    chain = zip(cells.hierarchies, cells.labels_of([place])[0].tolist(), strict=True)
    told = tuple(GeoCell(int(each.ids[label]), 0.5, *each.latlng[label].tolist()) for each, label in chain)
    line = prediction_line(GeoPrediction(dataset.frame_tokens[0], 0, told))
    (tmp_path / "predictions.jsonl").write_text(line + "\n")
    words = [f"{towns_root}:scene-0003", "--keyframes", "--frames", "0", "--views", "cameras", "--predictions",
             str(tmp_path / "predictions.jsonl"), "--partition", str(tmp_path / "cells.parquet")]
    assert tool("visualize").main([*words, "--out", str(tmp_path / "out")]) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0000_cameras.png", "0000_place.geojson", "0000_place.png", "0001_cameras.png"]


def test_a_predicted_place_brings_the_roads_of_its_town_to_the_map_generator(towns_root: Path):
    from perception.datasets.nuscenes import NuScenesDataset

    prior = MapTilePrior(towns_root / "maps/sd_tiles/tiles.geojson")
    dataset = NuScenesDataset(towns_root, split="val", num_sweeps=0, sd_map={}, transforms=[])
    frame = dataset[0]
    assert frame.wgs84 is not None
    assert prior.tile_of(frame).name == "town-0"
    found = prior(frame, np.random.default_rng(0)).sd_map
    assert len(found) == len(frame.sd_map) > 0
    assert found.lines.vertices.equal(frame.sd_map.lines.vertices)
    assert found.right_hand == frame.sd_map.right_hand
