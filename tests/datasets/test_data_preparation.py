import argparse
import importlib.util
import shutil
from pathlib import Path

import pytest

from perception.datasets.commands import add_index_arguments, add_objects_arguments, make_index, make_objects
from perception.datasets.index import IndexSource
from perception.datasets.nuscenes import NuScenesDataset
from perception.datasets.object_database import ObjectDatabase
from perception.engine.config import load_config
from perception.errors import ConfigError, DataError
from perception.registry import DATASETS

CONFIGS = Path(__file__).parents[2] / "configs/_base_/datasets"
MINI = ["--version", "v1.0-mini", "--split", "mini_train"]


def run_index(*words: object) -> str:
    parser = argparse.ArgumentParser()
    add_index_arguments(parser)
    return make_index(parser.parse_args([str(word) for word in words]))


def run_objects(*words: object) -> str:
    parser = argparse.ArgumentParser()
    add_objects_arguments(parser)
    return make_objects(parser.parse_args([str(word) for word in words]))


def test_an_index_is_written_where_the_dataset_looks_for_it(mini_nuscenes):
    root = mini_nuscenes.write()
    assert run_index("nuscenes", root, *MINI) == f"wrote {root / 'perception-nuscenes-v1.0-mini-mini_train.parquet'}"
    assert len(NuScenesDataset(root, version="v1.0-mini", split="mini_train")) == 3


@pytest.fixture
def create_data():
    """The tool's `main`."""
    spec = importlib.util.spec_from_file_location("create_data", CONFIGS.parents[2] / "tools/create_data.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool.main


def test_the_tool_prints_where_index_and_objects_lie(mini_nuscenes, create_data, tmp_path, capsys):
    root = mini_nuscenes.write()
    assert create_data(["index", "nuscenes", str(root), *MINI, "--out", str(tmp_path / "i.parquet")]) == 0
    words = ["--index", str(tmp_path / "i.parquet"), "--out", str(tmp_path / "db"), "--num-sweeps", "1"]
    assert create_data(["objects", "nuscenes", str(root), *MINI, *words]) == 0
    assert capsys.readouterr().out == f"wrote {tmp_path}/i.parquet\nwrote 0 objects to {tmp_path}/db\n"


def test_an_unknown_data_set_is_bad_usage(create_data, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        create_data(["index", "nuscene", str(tmp_path)])
    assert "invalid choice: 'nuscene' (choose from" in capsys.readouterr().err


def test_the_command_of_the_error_message_mends_the_error(mini_nuscenes):
    root = mini_nuscenes.write()
    with pytest.raises(DataError) as failure:
        NuScenesDataset(root, version="v1.0-mini", split="mini_train")
    words = str(failure.value).split("create_data.py index ")[1].split()
    run_index(*words)
    assert len(NuScenesDataset(root, version="v1.0-mini", split="mini_train")) == 3


def test_the_argoverse_command_of_the_error_message_has_no_version():
    command = IndexSource("argoverse2", "val").command(Path("a"), Path("b"))
    assert command == "python tools/create_data.py index argoverse2 a --split val --out b"


def test_real_logs_are_indexed_outside_their_root(shared_data, tmp_path):
    out = tmp_path / "val.parquet"
    run_index("argoverse2", shared_data / "argoverse2/sensor", "--split", "val", "--out", out, "--max-sweeps", 1)
    config = {"type": "Argoverse2Dataset", "root": shared_data / "argoverse2/sensor", "split": "val", "index": out}
    assert len(DATASETS.build({**config, "num_sweeps": 1})) == 3
    with pytest.raises(ConfigError, match=r"num_sweeps must lie in \[0, 1\]"):
        DATASETS.build({**config, "num_sweeps": 2})


def test_objects_of_the_real_keyframe_hold_the_points_in_their_boxes(shared_data, tmp_path):
    root, index = shared_data / "nuscenes/devkit_root", tmp_path / "i.parquet"
    run_index("nuscenes", root, *MINI, "--out", index)
    said = run_objects("nuscenes", root, *MINI, "--index", index, "--out", tmp_path / "db")
    assert said == f"wrote 27 objects to {tmp_path / 'db'}"
    database = ObjectDatabase(tmp_path / "db")
    for row in database.rows_of("car"):
        box = database.boxes([row])
        assert box.contains(database.points(row).xyz).all()
        assert len(database.points(row)) >= 5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-sweeps", "-1"], "--max-sweeps must be >= 0, got -1"),
        (["--split", "mini_vall"], r'no split "mini_vall" \(did you mean "mini_val"\?\)'),
    ],
)
def test_an_index_that_cannot_be_is_refused(tmp_path, words, message):
    with pytest.raises(ConfigError, match=message):
        run_index("nuscenes", tmp_path, "--version", "v1.0-mini", *words)


def test_objects_of_no_points_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="--min-points must be >= 1, got 0"):
        run_objects("nuscenes", tmp_path, "--out", tmp_path / "db", "--min-points", 0)


@pytest.mark.parametrize("name", [
    "nuscenes", "argoverse2", "kitti", "synthetic", "cityscapes", "cityscapes_panoptic", "camvid",
])
def test_every_dataset_config_names_known_types_and_all_classes(name):
    config = load_config(CONFIGS / f"{name}.py")
    dataset = config.train_dataloader.dataset
    assert tuple(config.class_names) == DATASETS.get(dataset.type).METAINFO["classes"]
    assert config.test_dataloader.dataset.type == dataset.type


def test_the_kitti_config_trains_on_the_real_frame(shared_data, tmp_path):
    shutil.copytree(shared_data / "kitti/object_root", tmp_path / "kitti")
    (tmp_path / "kitti/ImageSets").chmod(0o755)
    (tmp_path / "kitti/ImageSets/train.txt").write_text("000008\n")
    config = load_config(CONFIGS / "kitti.py", {"train_dataloader.dataset.root": str(tmp_path / "kitti")})
    frame = DATASETS.build(config.train_dataloader.dataset)[0]
    assert frame.annotations.names() == ["Car"] * 6
    assert len(frame.points) > 16_000


def test_the_nuscenes_config_trains_on_the_small_root(mini_nuscenes):
    root = mini_nuscenes.write()
    run_index("nuscenes", root, *MINI)
    config = load_config(CONFIGS / "nuscenes.py")
    dataset = {**config.train_dataloader.dataset, "root": root, "version": "v1.0-mini", "split": "mini_train"}
    frame = DATASETS.build(dataset)[1]
    assert frame.points.channels == ("x", "y", "z", "intensity", "ring", "time")
    assert set(frame.annotations.names()) == {"car"}
