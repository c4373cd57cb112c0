"""The file that tells where the towns of a root lie."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from perception.datasets.town_places import TownPlace, read_town_places
from perception.errors import DataError
from perception.geo import great_circle_km

TOWN = {"name": "town-0", "latitude": 48.0, "longitude": 11.0, "x": 490.0, "y": 980.0, "drives": ["a", "b"]}


def written(path: Path, *towns: object) -> Path:
    path.write_text(json.dumps({"format": 1, "towns": towns}))
    return path


def test_a_drive_lies_in_its_town(tmp_path):
    places = read_town_places(written(tmp_path / "towns.json", TOWN, {**TOWN, "drives": ["c"], "latitude": -12}))
    assert places == {"a": TownPlace(48.0, 11.0, 490.0, 980.0), "b": places["a"], "c": TownPlace(-12.0, 11.0, 490, 980)}


def test_metres_run_east_and_north_from_the_known_point():
    places = TownPlace(48.0, 11.0, 490.0, 980.0).latlng(np.array([(490.0, 980.0), (590.0, 980.0), (490.0, 1180.0)]))
    np.testing.assert_allclose(places[0], (48.0, 11.0), atol=1e-12)
    assert places[1, 1] > 11.0
    assert places[2, 0] > 48.0
    lengths = 1000 * great_circle_km(places[[0, 0]], places[1:])
    np.testing.assert_allclose(lengths, (100.0, 200.0), rtol=2e-3)        # nuScenes' sphere is larger by 1.1 permille


@pytest.mark.parametrize(
    ("town", "told"),
    [
        ({**TOWN, "latitude": 91.0}, r"towns\[0\]: expected a latitude in \[-90, 90\]"),
        ({**TOWN, "x": float("nan")}, r"towns\[0\]: expected a latitude"),
        ({**TOWN, "y": "far"}, r"towns\[0\]: expected latitude, longitude, x, y and drives"),
        ({"drives": []}, r"towns\[0\]: expected latitude, longitude, x, y and drives, got KeyError"),
        ({**TOWN, "drives": ["a", "a"]}, r"towns\[0\]\.drives: expected every drive in one town, got a again"),
    ],
)
def test_a_town_that_cannot_be_is_told(tmp_path, town, told):
    with pytest.raises(DataError, match=told):
        read_town_places(written(tmp_path / "towns.json", town))


def test_another_file_is_told(tmp_path):
    (tmp_path / "towns.json").write_text('{"format": 2, "towns": []}')
    with pytest.raises(DataError, match='format: expected version 1 with a list of "towns"'):
        read_town_places(tmp_path / "towns.json")
    with pytest.raises(DataError, match=r"gone\.json: file: expected a readable file"):
        read_town_places(tmp_path / "gone.json")
