import logging

import numpy as np
import open3d as o3d
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.datasets.pcd_files import _unpack_lzf, read_pcd
from perception.datasets.ply_files import read_ply
from perception.datasets.point_files import point_reader, read_bin, read_feather, read_npy, read_points
from perception.errors import DataError

COLUMNS = ("x", "y", "z", "intensity")


def some_points(rows: int = 50) -> np.ndarray:
    rng = np.random.default_rng(rows)
    return np.concatenate([rng.uniform(-50, 50, (rows, 3)), rng.uniform(0, 1, (rows, 1))], 1).astype(np.float32)


def write_with_open3d(path, points: np.ndarray, **options) -> None:
    cloud = o3d.t.geometry.PointCloud()
    cloud.point.positions = o3d.core.Tensor(points[:, :3])
    cloud.point.intensity = o3d.core.Tensor(points[:, 3:])
    assert o3d.t.io.write_point_cloud(str(path), cloud, **options)


def test_bin_rows_are_little_endian_float32(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(np.array([1.0, 2.0, 3.0, 0.5, -1.0, -2.0, -3.0, 0.25], "<f4").tobytes())
    points, names = read_bin(path, COLUMNS)
    assert points.tolist() == [[1.0, 2.0, 3.0, 0.5], [-1.0, -2.0, -3.0, 0.25]]
    assert points.dtype == np.float32
    assert names == COLUMNS


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".pcd", {"write_ascii": True}),
        (".pcd", {"write_ascii": False}),
        (".pcd", {"write_ascii": False, "compressed": True}),
        (".ply", {"write_ascii": True}),
        (".ply", {"write_ascii": False}),
    ],
)
@pytest.mark.parametrize("rows", [1, 7, 3000])
def test_files_that_open3d_writes_come_back(tmp_path, suffix, options, rows):
    path = tmp_path / f"a{suffix}"
    write_with_open3d(path, some_points(rows), **options)
    points, names = read_points(path)
    assert names == COLUMNS
    np.testing.assert_allclose(points, some_points(rows), rtol=1e-5, atol=1e-5)      # ASCII files hold some digits only


def test_compressed_pcd_with_repeating_values_comes_back(tmp_path):
    path, points = tmp_path / "a.pcd", np.tile(np.float32([[1, 2, 3, 0.5], [4, 5, 6, 0.25]]), (500, 1))
    write_with_open3d(path, points, write_ascii=False, compressed=True)
    assert path.stat().st_size < points.nbytes / 4
    np.testing.assert_array_equal(read_pcd(path)[0], points)


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x02abc", b"abc"),                          # three literal bytes
        (b"\x00a\x20\x00", b"aaaa"),                   # one byte that repeats itself three times
        (b"\x01ab\xe0\x03\x01", b"ab" * 7),            # a long reference: 7 + 3 + 2 bytes, two back
    ],
)
def test_lzf_worked_by_hand(tmp_path, packed, plain):
    assert _unpack_lzf(tmp_path, packed, len(plain)) == plain


@given(st.binary(max_size=64))
def test_broken_lzf_never_ends_in_anything_but_a_data_error(packed):
    try:
        assert len(_unpack_lzf("a.pcd", packed, 40)) == 40
    except DataError as error:
        assert "binary_compressed" in str(error)       # noqa: PT017  # both ways out are good


def test_pcd_fields_of_other_types_and_several_elements(tmp_path):
    row = np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("t", "<u4"), ("normal", "<f4", 3), ("ring", "<u2")])
    rows = np.zeros(3, row)
    rows["x"], rows["t"], rows["ring"] = [1, 2, 3], [10, 20, 30], [7, 8, 9]
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z t normal ring\nSIZE 4 4 4 4 4 2\nTYPE F F F U F U\nCOUNT 1 1 1 1 3 1\n"
        "WIDTH 3\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 3\nDATA binary\n"
    )
    path = tmp_path / "a.pcd"
    path.write_bytes(header.encode() + rows.tobytes())
    points, names = read_pcd(path)
    assert names == ("x", "y", "z", "t", "ring")
    assert points[:, [0, 3, 4]].tolist() == [[1, 10, 7], [2, 20, 8], [3, 30, 9]]
    assert read_pcd(path, ("x", "ring"))[0].tolist() == [[1, 7], [2, 8], [3, 9]]


def test_big_endian_ply_with_faces_behind_the_vertices(tmp_path):
    header = (
        "ply\nformat binary_big_endian 1.0\ncomment made by hand\nelement vertex 2\nproperty float x\n"
        "property double y\nproperty float z\nproperty uchar reflectance\nelement face 1\n"
        "property list uchar int vertex_index\nend_header\n"
    )
    rows = np.array([(1, 2, 3, 4), (5, 6, 7, 8)], np.dtype([("x", ">f4"), ("y", ">f8"), ("z", ">f4"), ("r", "u1")]))
    path = tmp_path / "a.ply"
    path.write_bytes(header.encode() + rows.tobytes() + b"\x03faces")
    points, names = read_ply(path)
    assert names == COLUMNS
    assert points.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_npy_of_doubles_becomes_float32(tmp_path):
    np.save(tmp_path / "a.npy", some_points().astype(np.float64))
    points, _ = read_points(tmp_path / "a.npy", COLUMNS)
    assert points.dtype == np.float32
    np.testing.assert_array_equal(points, some_points())


def test_feather_of_argoverse_has_its_columns_under_our_names(shared_data):
    path = next((shared_data / "argoverse2/sensor/val").glob("*/sensors/lidar/*.feather"))
    points, names = read_feather(path)
    assert names == ("x", "y", "z", "intensity", "ring", "offset_ns")
    assert points.dtype == np.float32
    assert points[:, 4].max() == 63


def test_rows_with_nan_or_infinity_are_dropped_with_one_warning_a_folder(tmp_path, caplog):
    points = some_points(6)
    points[1, 0], points[4, 3] = np.nan, np.inf
    for name in ("a", "b"):
        points.tofile(tmp_path / f"{name}.bin")
    caplog.set_level(logging.WARNING)
    for name in ("a", "b"):
        np.testing.assert_array_equal(read_bin(tmp_path / f"{name}.bin", COLUMNS)[0], points[[0, 2, 3, 5]])
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/a.bin: dropped 2 of 6 points with NaN or infinity"
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.bin: file: expected points, got an empty file"),
        (b"\0" * 30, r"a.bin: points: expected a multiple of 16 bytes \(4 float32 columns: x, y, .*\), got 30"),
        (np.full(8, np.nan, np.float32).tobytes(), "expected finite numbers, got NaN or infinity in all 2 rows"),
    ],
)
def test_a_bad_bin_file_is_refused(tmp_path, data, message):
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_bin(path, COLUMNS)


def test_five_columns_read_as_four_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.uniform(-50, 50, (400, 3)), rng.uniform(0, 255, (400, 2))], 1).astype(np.float32)
    rows.tofile(tmp_path / "a.bin")
    with pytest.raises(DataError, match=r"intensity: expected values >= 0 in column 4 of 4, .* \(another number of"):
        read_bin(tmp_path / "a.bin", COLUMNS)


PCD = "FIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH 2\nHEIGHT 1\nDATA "
PLY = "ply\nformat ascii 1.0\nelement vertex 2\nproperty float x\nproperty float y\nproperty float z\nend_header\n"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.pcd", PCD + "binary\n" + "\0" * 20, r"DATA binary: expected 24 bytes \(2 points\), got 20 bytes"),
        ("a.pcd", PCD + "ascii\n1 2 3 4 5", "DATA ascii: expected 2 points of 3 numbers, got 5 numbers"),
        ("a.pcd", PCD + "ascii\n1 2 3 4 5 six", "DATA ascii: expected numbers"),
        ("a.pcd", PCD + "zip\n", "DATA: expected ascii, binary or binary_compressed, got zip"),
        ("a.pcd", PCD + "binary_compressed\n" + "\0" * 3, "expected two sizes of 4 bytes, got 3 bytes"),
        ("a.pcd", PCD + "binary_compressed\n" + "\1\0\0\0\0\0\0\0a", "that unpack to 24 .* that unpack to 0"),
        ("a.pcd", PCD.replace("SIZE 4 4 4", "SIZE 4 4") + "ascii\n", "header: expected FIELDS, SIZE"),
        ("a.pcd", PCD.replace("TYPE F F F", "TYPE F F Q") + "ascii\n", "header: expected FIELDS, SIZE"),
        ("a.pcd", PCD.replace("WIDTH 2\n", "") + "ascii\n", "header: expected .*, got KeyError"),
        ("a.pcd", "no header at all", "DATA: expected a PCD header that ends in a DATA line, got none"),
        ("a.ply", PLY + "1 2 3 4 5", "vertex: expected 2 vertices of 3 numbers, got 5 numbers"),
        ("a.ply", PLY + "1 2 3 4 5 six", "vertex: expected numbers"),
        ("a.ply", PLY.replace("ascii", "binary_little_endian") + "1234", r"vertex: expected 24 bytes \(2 .*, got 4"),
        ("a.ply", PLY.replace("ascii", "utf9"), "format: expected one of .*, got utf9"),
        ("a.ply", PLY.replace("float z", "complex z"), "header: expected a PLY header .*complex"),
        ("a.ply", PLY.replace("end_header\n", ""), "header: expected a PLY header .*no end_header"),
        ("a.ply", PLY.replace("vertex", "face"), "element: expected vertex as the first element"),
        ("a.ply", "plx\n", "header: expected the word ply"),
        ("a.feather", "not arrow", "file: expected an Arrow IPC file"),
        ("a.npy", "not numpy", "array: expected a numeric .npy array"),
    ],
)
def test_a_malformed_file_is_refused_by_field(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=message):
        read_points(path, ("x", "y", "z"))


@pytest.mark.parametrize("name", ["a.bin", "a.npy", "a.pcd", "a.ply", "a.feather"])
def test_an_absent_file_is_refused_by_name(tmp_path, name):
    with pytest.raises(DataError, match=rf"{name}: file: expected .*, got [Nn]o such file"):
        read_points(tmp_path / name, ("x", "y", "z"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 5)), r"expected shape \(N, 4\) for x, y, z, intensity, got \(3, 5\)"),
        (np.zeros((3, 4), dtype="U1"), "expected numbers, got dtype <U1"),
        (np.zeros((0, 4)), "points: expected at least one point, got none"),
    ],
)
def test_an_npy_array_of_another_form_is_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=message):
        read_npy(tmp_path / "a.npy", COLUMNS)


def test_a_pickle_in_an_npy_file_is_not_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="allow_pickle=False"):
        read_npy(tmp_path / "a.npy", COLUMNS)


def test_a_column_that_the_file_lacks_is_refused_with_the_nearest_one(tmp_path):
    write_with_open3d(tmp_path / "a.pcd", some_points())
    with pytest.raises(DataError, match=r'intensty: .* x, y, z, intensity \(did you mean "intensity"\?\)'):
        read_points(tmp_path / "a.pcd", ("x", "y", "z", "intensty"))


@pytest.mark.parametrize(
    ("suffix", "columns", "message"),
    [(".pdc", COLUMNS, r'got \'.pdc\' \(did you mean ".pcd"\?\)'), (".bin", None, ".bin files have no column names")],
)
def test_a_reader_that_cannot_be_is_refused(suffix, columns, message):
    with pytest.raises(ValueError, match=message):
        point_reader(suffix, columns)
