"""Cell arithmetic against a library of its own, and outlines that hold what they should."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import shape

from perception.geo import great_circle_km
from perception.geo.s2_cells import (
    MAX_LEVEL,
    cell_squares,
    center_latlng,
    faces_of,
    id_ranges,
    ids_of_tokens,
    is_valid,
    latlng_of,
    leaf_ids,
    levels_of,
    parent_ids,
    tokens_of,
)
from perception.geo.s2_outline import cell_polygon

PLACES = st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=20)
LEVELS = st.integers(0, MAX_LEVEL)


def random_places(count: int, seed: int = 0) -> np.ndarray:
    """(count, 2) places spread evenly over the sphere."""
    rng = np.random.default_rng(seed)
    latitude = np.degrees(np.arcsin(rng.uniform(-1, 1, count)))
    return np.stack([latitude, rng.uniform(-180, 180, count)], axis=1)


def test_ids_parents_and_centers_are_those_of_s2sphere():
    s2sphere = pytest.importorskip("s2sphere")
    places = random_places(500)
    ids = leaf_ids(places)
    for (latitude, longitude), leaf in zip(places.tolist(), ids, strict=True):
        expected = s2sphere.CellId.from_lat_lng(s2sphere.LatLng.from_degrees(latitude, longitude))
        assert int(leaf) == expected.id()
        for level in (0, 1, 7, 16, 29):
            cell, theirs = parent_ids(np.array([leaf]), level), expected.parent(level)
            assert int(cell[0]) == theirs.id()
            assert tokens_of(cell) == [theirs.to_token()]
            middle = theirs.to_lat_lng()
            np.testing.assert_allclose(
                center_latlng(cell)[0], (middle.lat().degrees, middle.lng().degrees), rtol=0, atol=1e-9
            )


@given(places=PLACES, level=LEVELS)
def test_a_cell_holds_the_places_that_it_was_made_of(places, level):
    leaves = leaf_ids(np.array(places))
    cells = parent_ids(leaves, level)
    low, high = id_ranges(cells)
    assert is_valid(cells).all()
    assert (levels_of(cells) == level).all()
    assert ((low <= leaves) & (leaves <= high)).all()
    assert (ids_of_tokens(tokens_of(cells)) == cells).all()


@given(places=PLACES, level=LEVELS)
def test_the_middle_of_a_cell_lies_in_it(places, level):
    cells = parent_ids(leaf_ids(np.array(places)), level)
    assert (parent_ids(leaf_ids(center_latlng(cells)), level) == cells).all()


def test_the_cells_of_a_level_tile_each_face():
    level = 4
    cells = np.unique(parent_ids(leaf_ids(random_places(60_000)), level))
    face, _, i, j = cell_squares(cells)
    assert len(cells) == 6 * 4**level
    assert len(np.unique(np.stack([face, i, j], axis=1), axis=0)) == len(cells)
    assert (i.max(), j.max()) == (2**level - 1, 2**level - 1)
    assert set(faces_of(cells).tolist()) == set(range(6))


def test_ids_near_each_other_on_the_curve_are_neighbours():
    cells = np.sort(np.unique(parent_ids(leaf_ids(random_places(60_000)), 4)))
    face, _, i, j = cell_squares(cells)
    steps = np.abs(np.diff(i)) + np.abs(np.diff(j))
    assert (steps[np.diff(face) == 0] == 1).all()                    # a Hilbert curve never jumps


@pytest.mark.parametrize("level", [-1, 31])
def test_levels_beyond_the_tree_are_refused(level):
    with pytest.raises(ValueError, match=r"level must lie in \[0, 30\]"):
        parent_ids(leaf_ids(np.zeros((1, 2))), level)


def test_a_larger_cell_has_no_parent_of_a_deeper_level():
    with pytest.raises(ValueError, match="ids must be of level 9 or deeper, got one of level 8"):
        parent_ids(parent_ids(leaf_ids(np.zeros((1, 2))), 8), 9)


@pytest.mark.parametrize("token", ["", "X", "g1", "60189" + "0" * 20, "ffff", "6018a000000000002"])
def test_a_token_of_no_cell_is_refused(token):
    with pytest.raises(ValueError, match="tokens must be of S2 cells"):
        ids_of_tokens([token])


@pytest.mark.parametrize("level", [1, 2, 3, 5, 8, 12, 17, 24])
def test_an_outline_is_a_valid_ring_with_the_middle_inside(level):
    for cell in np.unique(parent_ids(leaf_ids(random_places(60, seed=level)), level)):
        polygon = cell_polygon(int(cell))
        ring = polygon["coordinates"][0]
        outline = shape(polygon)
        assert ring[0] == ring[-1]
        assert outline.is_valid
        assert outline.exterior.is_ccw
        latitude, longitude = center_latlng(np.array([cell]))[0]
        assert outline.covers(shapely.Point(longitude, latitude))
        assert outline.bounds[2] - outline.bounds[0] <= 180.0        # never round the back of the map


@pytest.mark.parametrize("level", [1, 2])
def test_outlines_of_all_cells_cover_the_map_once(level):
    cells = np.unique(parent_ids(leaf_ids(random_places(4000)), level))
    outlines = [shape(cell_polygon(int(cell))) for cell in cells]
    assert len(cells) == 6 * 4**level
    assert sum(outline.area for outline in outlines) == pytest.approx(360 * 180, rel=1e-9)
    covered = shapely.union_all(outlines, grid_size=1e-6)
    assert covered.area == pytest.approx(360 * 180, rel=1e-4)


@pytest.mark.parametrize("level", [1, 2, 4, 7, 8, 12])
def test_edges_of_outlines_are_nearly_those_of_cells(level):
    places = random_places(200, seed=level)
    for cell in np.unique(parent_ids(leaf_ids(places[np.abs(places[:, 0]) < 70]), level)):
        ring = np.array(cell_polygon(int(cell))["coordinates"][0])[:, ::-1]
        if np.abs(ring[:, 0]).max() > 80:                            # edges bend much near the poles
            continue
        halfway = (unit_vectors(ring[:-1]) + unit_vectors(ring[1:])) / 2
        bend = great_circle_km(latlng_of(halfway), (ring[:-1] + ring[1:]) / 2).max()
        pieces = (len(ring) - 1) // 4
        assert bend < 0.01 * pieces * great_circle_km(ring[:1], ring[1:2])[0]


def unit_vectors(latlng: np.ndarray) -> np.ndarray:
    latitude, longitude = np.radians(latlng).T
    return np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], 1)


@pytest.mark.parametrize("place", [(90, 0), (-90, 0), (0, 180), (0, -180), (89.99, 45), (30.0, 180.0), (-30, -180)])
@pytest.mark.parametrize("level", [1, 6, 13])
def test_cells_at_the_poles_and_the_180th_meridian_have_outlines_on_one_side(place, level):
    (cell,) = parent_ids(leaf_ids(np.array([place], np.float64)), level)
    outline = shape(cell_polygon(int(cell)))
    assert outline.is_valid
    assert outline.bounds[2] - outline.bounds[0] <= 90.0 + 1e-6


def test_a_face_has_no_outline():
    with pytest.raises(ValueError, match="cell must be of level 1 or deeper to have an outline, got the face 1"):
        cell_polygon(int(parent_ids(leaf_ids(np.zeros((1, 2))), 0)[0]))
