"""Pictures with places on Earth: tables, folders, nuScenes and Argoverse 2."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from small_argoverse2 import write_log

from perception.datasets.argoverse2 import build_argoverse2_index
from perception.datasets.argoverse2_places import Argoverse2Places, city_of_log
from perception.datasets.geotagged_folder import GeotaggedFolder
from perception.datasets.geotagged_table import GeotaggedTable
from perception.datasets.nuscenes_index import build_nuscenes_index
from perception.datasets.nuscenes_places import NuScenesPlaces
from perception.errors import ConfigError, DataError
from perception.geo import adaptive_partition, great_circle_km
from perception.geo.exif import GPS_DIRECTORY, read_exif_position
from perception.geo.local_frames import argoverse2_latlng, nuscenes_latlng
from perception.geo.partition_file import save_partition
from perception.structures import GeoLabel
from perception.transforms.label_geo_cells import LabelGeoCells

ROWS = [("a/0.jpg", 48.1, 11.5), ("a/1.jpg", 48.2, 11.6), ("b/0.jpg", -33.9, 151.2)]


def write_pictures(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), 99, np.uint8)).save(root / name)


def write_csv(root: Path, lines: list[str], header: str = "path,latitude,longitude") -> Path:
    path = root / "places.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_pictures(tmp_path, [name for name, _, _ in ROWS])
    return tmp_path


@pytest.fixture
def table(root: Path) -> Path:
    scenes, drives = ("urban", "", "natural"), ("mon", "mon", "tue")
    lines = [f"{name},{lat},{lon},{scene},{drive},{place * 1000},extra"
             for place, ((name, lat, lon), scene, drive) in enumerate(zip(ROWS, scenes, drives, strict=True))]
    return write_csv(root, lines, "path,latitude,longitude,scene,drive,timestamp_ns,note")


def test_rows_of_a_table_become_frames(root, table):
    dataset = GeotaggedTable(root, table.name, scene_names=("natural", "urban"), transforms=[{"type": "LoadImages"}])
    frames = list(dataset)
    assert [frame.token for frame in frames] == list(dataset.frame_tokens) == [name for name, _, _ in ROWS]
    assert [frame.wgs84 for frame in frames] == [(lat, lon, 0.0) for _, lat, lon in ROWS]
    assert [frame.geo_label.scene for frame in frames] == [1, -1, 0]
    assert [frame.scene for frame in frames] == dataset.scenes == ["mon", "mon", "tue"]
    assert [frame.timestamp_ns for frame in frames] == [0, 1000, 2000]
    assert frames[2].cameras["image"].image.shape == (3, 6, 8)
    assert dataset.metainfo["scene_names"] == ("natural", "urban")
    assert dataset.scene_indices("mon") == [0, 1]
    np.testing.assert_array_equal(dataset.latlng, [(lat, lon) for _, lat, lon in ROWS])


def test_parquet_with_names_of_its_own_will_do(root):
    columns = {"IMG_ID": [name for name, _, _ in ROWS], "LAT": [lat for _, lat, _ in ROWS],
               "LON": np.array([lon for _, _, lon in ROWS], np.float32), "altitude": [500.0, None, 3.0]}
    pq.write_table(pa.table(columns), root / "places.parquet")
    names = {"path": "IMG_ID", "latitude": "LAT", "longitude": "LON"}
    dataset = pickle.loads(pickle.dumps(GeotaggedTable(root, "places.parquet", columns=names)))
    assert [frame.wgs84[2] for frame in dataset] == [500.0, 0.0, 3.0]
    assert dataset[0].geo_label == GeoLabel()
    assert dataset.latlng.dtype == np.float64


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["a/0.jpg,48.1,11.5", "a/1.jpg,nan,11.5"], "latitude: expected a value in every row, got none in row 2"),
        (["a/0.jpg,48.1,"], "longitude: expected a value in every row, got none in row 1"),
        (["a/0.jpg,11.5,48.1", "a/1.jpg,103.8,1.3"], "row 2: expected a latitude .* got 103.8, 1.3; .* be swapped"),
        (["a/0.jpg,48.1,181"], r"row 1: expected .* longitude in \[-180, 180\], got 48.1, 181$"),
        (["a/0.jpg,north,11.5"], "latitude: expected values of type double"),
        (["a/0.jpg,1,2", "a/0.jpg,3,4"], "path: expected every picture once, got a/0.jpg more often"),
        ([], "rows: expected at least one picture, got none"),
        (["a/0.jpg,1,2,3"], "table: expected a CSV or Parquet file with a row of names"),
    ],
    ids=["nan", "empty", "swapped", "far", "text", "twice", "no_rows", "ragged"],
)
def test_a_bad_table_is_told_with_its_row_or_column(root, lines, told):
    with pytest.raises(DataError, match=told) as error:
        GeotaggedTable(root, write_csv(root, lines).name)
    assert str(error.value).startswith(str(root / "places.csv"))


def test_absent_files_columns_and_scenes_are_told(root, table):
    with pytest.raises(DataError, match=r"gone\.csv: table: expected a CSV or Parquet file, got no such file"):
        GeotaggedTable(root, "gone.csv")
    with pytest.raises(DataError, match="columns: expected LAT, got path, latitude"):
        GeotaggedTable(root, table.name, columns={"latitude": "LAT"})
    with pytest.raises(ConfigError, match=r'columns renames "lattitude" \(did you mean "latitude"\?\)'):
        GeotaggedTable(root, table.name, columns={"lattitude": "LAT"})
    with pytest.raises(DataError, match="scene: expected one of urban, or none, got natural"):
        GeotaggedTable(root, table.name, scene_names=("urban",))
    (root / ROWS[1][0]).unlink()
    with pytest.raises(DataError, match=r"a/1\.jpg: picture: expected an image file, got no such file"):
        GeotaggedTable(root, table.name)[1]


def write_tagged(path: Path, tags: dict[int, object]) -> Path:
    image, exif = Image.new("RGB", (8, 6)), Image.Exif()
    exif.get_ifd(GPS_DIRECTORY).update(tags)
    image.save(path, exif=exif)
    return path


def test_exif_degrees_have_signs_and_heights(tmp_path):
    tags = {1: "S", 2: (33.0, 51.0, 36.0), 3: "W", 4: (70.0, 30.0, 0.0), 5: b"\x01", 6: 12.5}
    place = read_exif_position(write_tagged(tmp_path / "a.jpg", tags))
    assert place == pytest.approx((-33.86, -70.5, -12.5), abs=1e-9)


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({}, "GPS latitude: expected degrees, minutes and seconds with a reference, .* got none"),
        ({2: (1.0, 2.0, 3.0), 3: "E", 4: (1.0, 2.0, 3.0)}, "GPS latitude: expected degrees"),
        ({1: "N", 2: (1.0, 2.0, 3.0)}, "GPS longitude: expected degrees"),
        ({1: "N", 2: (98.0, 2.0, 3.0), 3: "E", 4: (1.0, 2.0, 3.0)}, "row 0: expected a latitude"),
    ],
    ids=["none", "no_reference", "half", "far"],
)
def test_pictures_without_a_place_are_told(tmp_path, tags, told):
    write_tagged(tmp_path / "a.jpg", tags)
    with pytest.raises(DataError, match=rf"a\.jpg: {told}"):
        GeotaggedFolder(tmp_path)


def test_a_file_that_is_no_picture_is_told(tmp_path):
    (tmp_path / "a.jpg").write_text("no picture")
    with pytest.raises(DataError, match=r"a\.jpg: picture: expected a readable image"):
        GeotaggedFolder(tmp_path)


def test_the_photos_of_lund_load_and_make_a_partition(shared_data, tmp_path):
    dataset = GeotaggedFolder(shared_data / "geotagged", transforms=[{"type": "LoadImages"}])
    assert len(dataset) == 12
    assert (dataset.latlng >= (55.6981, 13.1949)).all()
    assert (dataset.latlng <= (55.6987, 13.1954)).all()
    walk = great_circle_km(dataset.latlng[:1].repeat(12, axis=0), dataset.latlng)
    assert 0.02 < walk.max() < 0.07
    partition = adaptive_partition(dataset.latlng, [8, 3], tau_min=0)
    path = save_partition(partition, tmp_path / "lund.parquet")
    dataset.transforms.transforms.append(LabelGeoCells(path))
    labels = partition.labels_of(dataset.latlng)
    for frame, row in zip(dataset, labels.tolist(), strict=True):
        assert frame.cameras["image"].image.shape == (3, 768, 1024)
        assert frame.geo_label.cells == tuple(
            int(cells.ids[label]) for cells, label in zip(partition.hierarchies, row, strict=True)
        )


def test_frames_outside_all_cells_have_zeros_and_keep_their_scene(root, table):
    partition = adaptive_partition(np.repeat([ROWS[0][1:]], 4, axis=0), [9], tau_min=0, level_min=12)
    labelled = GeotaggedTable(
        root, table.name, scene_names=("natural", "urban"), transforms=[LabelGeoCells(partition)]
    )
    cells = int(partition.hierarchies[0].ids[0])
    assert [frame.geo_label for frame in labelled] == [GeoLabel((cells,), 1), GeoLabel((0,), -1), GeoLabel((0,), 0)]


def test_a_frame_without_a_place_cannot_be_labelled(mini_nuscenes):
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    frame = NuScenesPlaces(root, version="v1.0-mini", split="mini_train")[0]
    partition = adaptive_partition(np.zeros((3, 2)), [9], tau_min=0)
    with pytest.raises(ValueError, match="frame sample0/CAM_FRONT has no wgs84"):
        LabelGeoCells(partition)(replace(frame, wgs84=None), np.random.default_rng(0))


def test_nuscenes_pictures_lie_where_the_vehicle_was_at_their_own_time(mini_nuscenes):
    poses = {row["token"]: row["translation"] for row in mini_nuscenes.tables["ego_pose"]}
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    dataset = NuScenesPlaces(root, version="v1.0-mini", split="mini_train")
    expected = nuscenes_latlng(np.array([poses[f"camera_pose{place}"][:2] for place in range(3)]), "boston-seaport")
    np.testing.assert_allclose(dataset.latlng, expected, rtol=0, atol=1e-12)
    frame = pickle.loads(pickle.dumps(dataset))[2]
    assert frame.token == "sample2/CAM_FRONT"
    assert frame.wgs84 == (*expected[2].tolist(), 0.0)
    assert frame.cameras["CAM_FRONT"].calibration is not None
    moved = NuScenesPlaces(
        root, version="v1.0-mini", split="mini_train", origins={"boston-seaport": (-17.0, 178.0)}
    )
    assert great_circle_km(moved.latlng[:1], [(-17.0, 178.0)])[0] < 2.0


def test_an_unknown_town_or_camera_of_nuscenes_is_told(mini_nuscenes):
    mini_nuscenes.tables["log"][0]["location"] = "munich"
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    with pytest.raises(ConfigError, match='no origin on Earth is known of the map "munich"'):
        NuScenesPlaces(root, version="v1.0-mini", split="mini_train").latlng  # noqa: B018  # looking is enough
    with pytest.raises(ConfigError, match=r'unknown camera "CAM_FRNT" \(did you mean "CAM_FRONT"\?\)'):
        NuScenesPlaces(root, version="v1.0-mini", split="mini_train", cameras=["CAM_FRNT"])


def test_cameras_without_pictures_are_left_out(mini_nuscenes):
    root = mini_nuscenes.write()
    build_nuscenes_index(root, "v1.0-mini", "mini_train")
    both = NuScenesPlaces(root, version="v1.0-mini", split="mini_train", cameras=["CAM_BACK", "CAM_FRONT"])
    assert both.frame_tokens == [f"sample{place}/CAM_FRONT" for place in range(3)]


MAP = "map/log_map_archive_log-a____PIT_city_57819.json"


@pytest.fixture
def argoverse2(tmp_path: Path) -> Path:
    log = write_log(tmp_path)
    (log / MAP).parent.mkdir()
    (log / MAP).write_text("{}")
    build_argoverse2_index(log.parents[1], "train")
    return log


def test_argoverse2_pictures_lie_where_the_vehicle_was_at_their_own_time(argoverse2):
    dataset = Argoverse2Places(argoverse2.parents[1])
    expected = argoverse2_latlng(np.array([(9.9, 0.0), (10.9, 0.0)]), "PIT")       # 10 ms before the sweeps, at 10 m/s
    np.testing.assert_allclose(dataset.latlng, expected, rtol=0, atol=1e-12)
    assert dataset[1].timestamp_ns == 1_090_000_000
    assert dataset[1].wgs84[:2] == tuple(dataset.latlng[1].tolist())


@pytest.mark.parametrize("name", [None, MAP.replace("PIT", "XYZ"), "map/log_map_archive_log-a.json"])
def test_a_log_whose_city_is_not_told_is_refused(argoverse2, name):
    (argoverse2 / MAP).unlink()
    if name is not None:
        (argoverse2 / name).write_text("{}")
    with pytest.raises(DataError, match=r"map: map: expected one file log_map_archive_\*CITY_city_\*.json of ATX"):
        Argoverse2Places(argoverse2.parents[1]).latlng  # noqa: B018  # looking is enough


def test_the_real_logs_lie_in_pittsburgh(shared_data):
    folders = sorted((shared_data / "argoverse2/sensor/val").iterdir())
    assert [city_of_log(folder) for folder in folders] == ["PIT", "PIT"]
