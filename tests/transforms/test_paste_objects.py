"""Objects are cut out of frames, stored, and pasted where nothing stands."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scene_frames import CHANNELS, cloud, inside, scene, sweep

from perception.datasets.object_database import ObjectDatabase, build_object_database
from perception.errors import ConfigError, DataError
from perception.structures import Annotations, Boxes3D, Frame, PointLabels, overlaps_bev
from perception.structures.segmentation import IGNORE_LABEL
from perception.transforms.paste_objects import PasteObjects

CLASSES = ("car", "pedestrian", "bus")


def street(token: str, *cars: tuple[float, float], label: int = 0) -> Frame:
    """Cars of 4 x 2 x 1.5 m at the given places, each with three points, and one point far away."""
    boxes = torch.tensor([[x, y, 0.0, 4.0, 2.0, 1.5, 0.0, 1.0, 0.0] for x, y in cars]).reshape(-1, 9)
    points = [(x + dx, y, 0.0, 0.5) for x, y in cars for dx in (-1.0, 0.0, 1.0)]
    labels = torch.full((len(cars),), label)
    annotations = Annotations(Boxes3D(boxes), labels, CLASSES)
    return Frame(token, 0, points=cloud(*points, (90.0, 90.0, 0.0, 0.1)), annotations=annotations)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    frames = [street("a", (10, 0), (20, 0)), street("b", (10.5, 0.5), (30, 0)), street("c", (40, 0), label=2)]
    assert build_object_database(frames, tmp_path / "objects", min_points=1, channels=CHANNELS) == 5
    return tmp_path / "objects"


def test_an_object_is_stored_with_its_box_points_and_frame(database):
    objects = ObjectDatabase(database)
    row = objects.rows_of("car")[3]
    assert (len(objects), objects.token(row), objects.class_name(row)) == (5, "b", "car")
    assert objects.boxes(np.array([row])).tensor.tolist() == [[30, 0, 0, 4, 2, 1.5, 0, 1, 0]]
    assert objects.points(row).data[:, 0].tolist() == [29.0, 30.0, 31.0]
    assert objects.points(row).channels == CHANNELS


def test_pasting_fills_a_class_up_to_the_wanted_number(database):
    result = PasteObjects(database, {"car": 3, "bus": 1})(street("d", (60, 0)), np.random.default_rng(0))
    assert sorted(result.annotations.names()) == ["bus", "car", "car", "car"]
    assert len(result.points) == 3 + 1 + 3 * 3
    assert all(sum(row) == 3 for row in inside(result))


def test_pasted_points_are_labelled_with_the_class_of_their_name_and_an_instance_each(database):
    frame = street("d", (60, 0))
    labels = PointLabels(torch.tensor([1, 1, 1, 0]), torch.tensor([5, 5, 5, 0]), ("road", "car"))
    result = PasteObjects(database, {"car": 3, "bus": 1})(
        replace(frame, point_labels=labels), np.random.default_rng(0)
    )
    found = torch.stack([result.point_labels.classes, result.point_labels.instances], dim=1)[len(frame.points) :]
    assert found.unique(dim=0).tolist() == [[1, 6], [1, 7], [IGNORE_LABEL, 0]]     # there is no class "bus"
    assert torch.equal(result.point_labels.classes[:4], labels.classes)


@pytest.mark.parametrize("seed", range(5))
def test_no_two_objects_overlap(database, seed):
    paste = PasteObjects(database, {"car": 9, "bus": 9})
    boxes = paste(street("d", (30, 1)), np.random.default_rng(seed)).annotations.boxes
    assert len(boxes) == 1 + 3                 # one of two at 10 m, the one at 20 m, the bus; 30 m is taken
    assert (overlaps_bev(boxes, boxes) == torch.eye(4, dtype=torch.bool)).all()


def test_points_of_the_scene_make_room(database):
    frame = street("d")
    frame = replace(frame, points=cloud((20.0, 0.0, 0.0, 0.9), (20.0, 3.0, 0.0, 0.8)))
    result = PasteObjects(database, {"car": 9})(frame, np.random.default_rng(0))
    kept = result.points.channel("intensity")
    assert (kept == 0.9).sum() == 0
    assert (kept == 0.8).sum() == 1


def test_optional_columns_grow_with_the_objects(database):
    frame = scene(cameras=False)
    result = PasteObjects(database, {"bus": 1})(frame, np.random.default_rng(0)).annotations
    assert result.num_lidar_pts.tolist() == [2, 1, 3]
    assert result.instance_ids == ("first", "second", "pasted/c/4")
    assert result.visibility is None


def test_boxes_without_velocity_stay_without(database):
    frame = street("d", (60, 0))
    frame = replace(frame, annotations=replace(frame.annotations, boxes=frame.annotations.boxes.with_columns(7)))
    result = PasteObjects(database, {"car": 2})(frame, np.random.default_rng(0))
    assert result.annotations.boxes.tensor.shape == (2, 7)


def test_enough_objects_or_none_in_the_database_paste_nothing(database):
    frame = street("d", (60, 0))
    assert PasteObjects(database, {"car": 1, "pedestrian": 5})(frame, np.random.default_rng(0)) is frame


def test_an_opened_database_survives_the_way_into_a_data_worker(database):
    paste = PasteObjects(database, {"car": 3})
    first = paste(street("d"), np.random.default_rng(3))
    again = pickle.loads(pickle.dumps(paste))(street("d"), np.random.default_rng(3))
    assert torch.equal(first.points.data, again.points.data)


def test_a_new_database_replaces_the_old_one_only_when_it_is_whole(database):
    with pytest.raises(ValueError, match="has no points"):
        build_object_database([street("a", (1, 1)), Frame("empty", 0)], database, channels=CHANNELS)
    assert len(ObjectDatabase(database)) == 5
    assert build_object_database([street("a", (1, 1))], database, min_points=1, channels=CHANNELS) == 1
    assert len(ObjectDatabase(database)) == 1
    assert [path.name for path in database.parent.iterdir()] == ["objects"]


def test_all_channels_of_the_first_frame_are_kept_by_default(tmp_path):
    frame = street("a", (1, 1))
    frames = (replace(frame, points=frame.points.with_channel("ring", 3.0)) for _ in range(2))
    assert build_object_database(frames, tmp_path / "rings", min_points=1) == 2
    assert ObjectDatabase(tmp_path / "rings").points(1).channels == (*CHANNELS, "ring")


def test_no_frames_give_an_empty_database(tmp_path):
    assert build_object_database([], tmp_path / "none") == 0
    assert len(ObjectDatabase(tmp_path / "none")) == 0


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError, match="an object database to replace"):
        build_object_database([street("a", (1, 1))], tmp_path / "photos", channels=CHANNELS)


def test_objects_with_few_points_and_ignored_ones_are_left_out(tmp_path):
    frames = [street("a", (10, 0)), street("b", (10, 0), label=-1)]
    assert build_object_database(frames, tmp_path / "few", min_points=4, channels=CHANNELS) == 0
    assert build_object_database(frames, tmp_path / "all", min_points=3, channels=CHANNELS) == 1
    empty = PasteObjects(tmp_path / "few", {"car": 3})
    assert len(empty(street("d"), np.random.default_rng(0)).annotations) == 0


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (scene(), "put DropCameras before it"),
        (scene((sweep(0.1, cloud((1, 2, 3, 0))),), cameras=False), "put AggregateSweeps before it"),
    ],
)
def test_a_frame_that_would_contradict_itself_is_refused(frame, message, database):
    with pytest.raises(ValueError, match=message):
        PasteObjects(database, {"car": 3})(frame, np.random.default_rng(0))


def test_a_class_that_the_data_set_lacks_is_refused(database):
    with pytest.raises(ConfigError, match=r'no class "cars" \(did you mean "car"\?\)'):
        PasteObjects(database, {"cars": 3})(street("d"), np.random.default_rng(0))


def test_a_channel_that_the_database_lacks_is_refused(database):
    frame = street("d")
    frame = replace(frame, points=frame.points.with_channel("time", 0.0))
    with pytest.raises(ConfigError, match="lacks the channels time of frame d"):
        PasteObjects(database, {"car": 3})(frame, np.random.default_rng(0))


def test_a_negative_number_is_refused(database):
    with pytest.raises(ValueError, match=r"groups\['car'\] must be >= 0, got -1"):
        PasteObjects(database, {"car": -1})


def damage(folder: Path, kind: str) -> None:
    objects, points = folder / "objects.parquet", folder / "points.bin"
    if kind == "no index":
        objects.unlink()
    elif kind == "broken index":
        objects.write_bytes(objects.read_bytes()[:50])
    elif kind == "no points":
        points.unlink()
    elif kind == "truncated points":
        points.write_bytes(points.read_bytes()[:-4])
    elif kind == "other version":
        table = pq.read_table(objects)
        pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"schema_version": b"7"}), objects)
    else:
        pq.write_table(pq.read_table(objects).drop_columns(["token"]), objects)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no index", r"objects.parquet: file: expected an object database .* got no such file"),
        ("broken index", "objects.parquet: file: expected a whole Parquet file"),
        ("no points", "points.bin: points: expected 15 rows of 4 float32, 240 bytes, got no such file"),
        ("truncated points", "points.bin: points: expected 15 rows of 4 float32, 240 bytes, got 236 bytes"),
        ("other version", "schema_version: expected 1: build the database again, got 7"),
        ("other columns", "objects.parquet: columns: expected class, x, y"),
    ],
)
def test_a_damaged_database_is_told_by_file_and_field(kind, message, database):
    damage(database, kind)
    with pytest.raises(DataError, match=message):
        len(ObjectDatabase(database))
