"""`tools/create_data.py partition` makes a partition of a table or of a config's training data set."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from perception.errors import ConfigError, DataError
from perception.geo.partition_file import load_partition

TOOL = Path(__file__).resolve().parents[2] / "tools/create_data.py"
PLACES = np.array([(48.1, 11.6), (-33.9, 151.2)])[np.arange(60) % 2] + np.linspace(0, 0.05, 60)[:, None]


def run(*args: object) -> int:
    spec = importlib.util.spec_from_file_location("create_data_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main(["partition", *map(str, args)])


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = [f"{number}.jpg,{lat},{lon}" for number, (lat, lon) in enumerate(PLACES.tolist())]
    path = tmp_path / "places.csv"
    path.write_text("\n".join(["path,latitude,longitude", *rows]))
    return path


def test_a_table_becomes_a_partition(table, capsys):
    out = table.with_name("partition.parquet")
    assert run(table, "--out", out, "--tau-max", 40, 10, "--tau-min", 2) == 0
    partition = load_partition(out)
    assert partition.num_classes[0] == 2
    assert partition.hierarchies[1].counts.max() <= 10
    told = capsys.readouterr().out
    assert f"wrote {out}: 2, {partition.num_classes[1]} cells of 60 pictures, " in told


def test_a_config_is_asked_for_its_training_data_alone(table, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        f"train_dataloader = dict(dataset=dict(type='GeotaggedTable', root={str(tmp_path)!r}, table='places.csv',\n"
        "    transforms=[dict(type='LabelGeoCells', partition='not there yet.parquet')]))\n"
    )
    assert run(config, "--out", tmp_path / "p.parquet", "--tau-max", 40, "--tau-min", 2) == 0
    assert load_partition(tmp_path / "p.parquet").hierarchies[0].counts.tolist() == [30, 30]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model = dict()", "expected train_dataloader.dataset whose pictures tell places"),
        ("train_dataloader = dict(dataset=dict(type='PictureFolder', root='ROOT', masks=None, pictures='.'))",
         "PictureFolder doesn't know where on Earth its frames are"),
    ],
)
def test_a_config_without_places_is_refused(tmp_path, text, told):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    config = tmp_path / "config.py"
    config.write_text(text.replace("ROOT", str(tmp_path)))
    with pytest.raises(ConfigError, match=told):
        run(config, "--out", tmp_path / "p.parquet")


def test_bounds_and_files_that_do_not_do_are_told(table, tmp_path):
    out = tmp_path / "p.parquet"
    with pytest.raises(ConfigError, match="no cell has more than tau_min = 50 of the 60 places"):
        run(table, "--out", out, "--tau-max", 90, "--tau-min", 50)
    with pytest.raises(ConfigError, match="tau_max must be one or more strictly descending"):
        run(table, "--out", out, "--tau-max", 9, 90)
    with pytest.raises(DataError, match=r"gone\.csv: table: expected a CSV or Parquet file, got no such file"):
        run(tmp_path / "gone.csv", "--out", out)
    assert not out.exists()
