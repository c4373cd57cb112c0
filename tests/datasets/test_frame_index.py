import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perception.datasets.index import (
    SCHEMA,
    CameraRecord,
    FrameIndex,
    FrameRecord,
    IndexSource,
    ObjectRecord,
    SweepRecord,
    pose_from_row,
    write_index,
)
from perception.errors import ConfigError, DataError

SOURCE = IndexSource("nuscenes", "train", "v1.0-trainval", max_sweeps=3)
POSE = [0.5, 0.5, 0.5, 0.5, 664412.123456789, 3999483.5, 0.25]


def frame(token: str, scene: str = "scene-0001", annotated: bool = True) -> FrameRecord:
    sweep = SweepRecord(f"{token}.bin", 1_532_402_927_647_951_000, POSE, None)
    box = ObjectRecord("box", "vehicle.car", "car", [1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 0.0], [4.0, 2.0, 1.5],
                       [math.nan, math.nan], -1, "", 0.5)
    camera = CameraRecord("CAM_FRONT", "a.jpg", 5, 1600, 900, [float(i) for i in range(9)], POSE, POSE)
    return FrameRecord(token, scene, sweep, [sweep, sweep], [camera], [box] if annotated else None)


def open_index(path, source: IndexSource = SOURCE) -> FrameIndex:
    return FrameIndex(path, path.parent, source)


def test_rows_come_back_as_they_were(tmp_path):
    path = tmp_path / "deep/index.parquet"
    assert write_index(path, [frame("a"), frame("b", "scene-0002", annotated=False)], SOURCE) == 2
    index = open_index(path)
    assert (len(index), index.tokens, index.scenes) == (2, ["a", "b"], ["scene-0001", "scene-0002"])
    assert repr(index.record(0)) == repr(frame("a"))           # repr, since NaN is not equal to itself
    assert index.record(1).objects is None
    assert index.max_sweeps == 3


def test_a_picture_needs_neither_sweeps_nor_objects(tmp_path):
    write_index(tmp_path / "i.parquet", [frame("a")], SOURCE)
    found = open_index(tmp_path / "i.parquet").picture_record(0)
    assert repr(found) == repr(replace(frame("a"), sweeps=[], objects=None))


def test_more_rows_than_one_batch_keep_their_order(tmp_path):
    write_index(tmp_path / "i.parquet", (frame(str(place)) for place in range(1100)), SOURCE)
    index = open_index(tmp_path / "i.parquet")
    assert index.tokens == [str(place) for place in range(1100)]
    assert index.record(777).lidar.path == "777.bin"


def test_categories_are_counted_from_the_frame_that_has_them(tmp_path):
    rows = [frame("a"), frame("b", annotated=False), frame("c")]
    write_index(tmp_path / "i.parquet", rows, SOURCE)
    assert open_index(tmp_path / "i.parquet").categories() == ([0, 1, 1, 2], ["vehicle.car"] * 2)
    kept = open_index(tmp_path / "i.parquet").of_scenes(["scene-0001"])
    assert kept.categories() == ([0, 1, 1, 2], ["vehicle.car"] * 2)


def test_rows_of_one_scene_can_be_kept(tmp_path):
    write_index(tmp_path / "i.parquet", [frame("a"), frame("b", "scene-0002"), frame("c")], SOURCE)
    index = open_index(tmp_path / "i.parquet").of_scenes(["scene-0001"])
    assert index.tokens == ["a", "c"]
    assert index.record(1).token == "c"


def test_a_pose_row_keeps_float64():
    pose = pose_from_row(POSE)
    assert pose.translation.tolist() == POSE[4:]                # float32 would be off by 2 cm here
    assert pose.quaternion().tolist() == pytest.approx(POSE[:4])


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "i.parquet"
    write_index(path, [frame("a")], SOURCE)

    def broken():
        yield frame("b")
        raise DataError("table.json", "row", "a row", "nothing")

    with pytest.raises(DataError, match=r"table.json: row"):
        write_index(path, broken(), SOURCE)
    assert open_index(path).tokens == ["a"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["i.parquet"]


def test_an_absent_index_names_the_command(tmp_path):
    command = rf"python tools/create_data.py index nuscenes {tmp_path} --version v1.0-trainval --split train --out"
    with pytest.raises(DataError, match=rf"i.parquet: index: .* got no such file; make it with: {command}"):
        open_index(tmp_path / "i.parquet")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (IndexSource("argoverse2", "train"), "dataset: expected argoverse2, got nuscenes; make it with: .* argoverse2"),
        (IndexSource("nuscenes", "train", "v1.0-mini"), "version: expected v1.0-mini, got v1.0-trainval; make it with"),
        (IndexSource("nuscenes", "val", "v1.0-trainval"), "split: expected val, got train; make it with"),
    ],
)
def test_an_index_of_something_else_is_refused(tmp_path, source, message):
    write_index(tmp_path / "i.parquet", [frame("a")], SOURCE)
    with pytest.raises(DataError, match=message):
        open_index(tmp_path / "i.parquet", source)


@pytest.mark.parametrize("version", ["0", "2", ""])
def test_an_index_of_another_schema_is_refused(tmp_path, version):
    path = tmp_path / "i.parquet"
    meta = {"perception.schema_version": version} if version else {}
    pq.write_table(pa.Table.from_pylist([], schema=SCHEMA.with_metadata(meta)), path)
    with pytest.raises(DataError, match=rf"schema_version: expected 1, got {version or 'none'}; make it with: python"):
        open_index(path)


def test_files_of_labels_come_back_and_an_index_from_before_them_has_none(tmp_path):
    path = tmp_path / "i.parquet"
    write_index(path, [replace(frame("a"), lidarseg="a.bin", panoptic="a.npz"), frame("b")], SOURCE)
    index = open_index(path)
    assert (index.record(0).lidarseg, index.record(0).panoptic) == ("a.bin", "a.npz")
    assert index.record(1).lidarseg is None
    pq.write_table(pq.read_table(path).drop_columns(["lidarseg", "panoptic"]), path)
    assert open_index(path).record(0).panoptic is None


def test_places_in_files_of_records_come_back_and_an_index_from_before_them_has_none(tmp_path):
    path = tmp_path / "i.parquet"
    row = frame("a")
    write_index(path, [replace(row, lidar=replace(row.lidar, offset=5_000_000_000))], SOURCE)
    assert open_index(path).record(0).lidar.offset == 5_000_000_000
    assert open_index(path).record(0).sweeps[0].offset is None
    table = pq.read_table(path)
    plain = [{name: value for name, value in entry.items() if name != "offset"} for entry in table["lidar"].to_pylist()]
    column = table.schema.get_field_index("lidar")
    pq.write_table(table.set_column(column, "lidar", pa.array(plain)), path)
    assert open_index(path).record(0).lidar == row.lidar


def test_a_file_that_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "i.parquet").write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match=r"index: expected a Parquet file, .*; make it with"):
        open_index(tmp_path / "i.parquet")


def test_an_unknown_scene_is_refused_with_the_nearest_one(tmp_path):
    write_index(tmp_path / "i.parquet", [frame("a")], SOURCE)
    with pytest.raises(ConfigError, match=r'no scene "scene-001" \(did you mean "scene-0001"\?\)'):
        open_index(tmp_path / "i.parquet").of_scenes(["scene-001"])
