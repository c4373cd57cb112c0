"""A predicted place as a map picture and as GeoJSON."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import Point, shape

from perception.geo import GeoPartition, adaptive_partition
from perception.structures import GeoCell, GeoPrediction
from perception.visualization.palette import TRUTH_COLOR
from perception.visualization.place_map import Window, cells_in, error_km, place_figure, place_geojson, render_place

TOWN = (48.1, 11.6)
SEAM = (-17.0, 179.999)


def partition(middle: tuple[float, float] = TOWN) -> GeoPartition:
    """A coarse cell, and cells of 150 m in a square of 600 m."""
    east, north = (grid.ravel() for grid in np.meshgrid(*[np.linspace(-0.003, 0.003, 24)] * 2))
    places = np.stack([middle[0] + north, (middle[1] + 1.4 * east + 180.0) % 360.0 - 180.0], axis=1)
    return adaptive_partition(places, (1000, 2), tau_min=1, level_max=16)


def prediction(cells: GeoPartition, place: tuple[float, float] = TOWN) -> GeoPrediction:
    chain = cells.chain_of(int(cells.labels_of([place])[0, -1]))
    found = [
        GeoCell(int(each.ids[label]), 0.9 - 0.2 * number, *each.latlng[label].tolist())
        for number, (each, label) in enumerate(zip(cells.hierarchies, chain, strict=True))
    ]
    return GeoPrediction("frame-7", 5, tuple(found))


@pytest.mark.parametrize("middle", [TOWN, SEAM], ids=["town", "180th_meridian"])
def test_the_near_map_shows_the_cell_its_neighbours_and_the_truth(middle):
    cells = partition(middle)
    found = prediction(cells, middle)
    truth = (middle[0] + 0.001, middle[1])
    figure = place_figure(found, cells, truth)
    left, right = figure.axes
    outlines = [line for line in right.lines if len(line.get_xdata()) == 5 and line.get_zorder() == 1]
    assert len(outlines) >= 9                                                # the predicted one and those around
    (west, east), (south, north) = right.get_xlim(), right.get_ylim()
    assert 0.005 < east - west < 0.03
    assert south < truth[0] < north
    assert all(abs(np.mean(line.get_xdata()) - found.longitude) < 0.05 for line in outlines)
    assert len(left.get_legend().get_texts()) == 4                           # two cells, two places
    metres = round(1000 * error_km(found, truth))
    assert figure.get_suptitle() == f"frame-7: probability 0.70, {metres} m from the true place"


def test_a_truth_elsewhere_shows_in_the_far_map_alone():
    cells = partition()
    berlin = (52.5, 13.4)
    figure = place_figure(prediction(cells), cells, berlin)
    left, right = figure.axes
    assert left.get_ylim()[1] > 52.5
    assert right.get_ylim()[1] < 48.2
    assert 490 < error_km(prediction(cells), berlin) < 520
    assert figure.get_suptitle().endswith(f" {error_km(prediction(cells), berlin):.0f} km from the true place")


def test_the_picture_has_the_colours_of_truth_and_cells():
    cells = partition()
    bare, full = render_place(prediction(cells)), render_place(prediction(cells), cells, TOWN)
    assert bare.shape == full.shape == (640, 1280, 3)
    assert bare.dtype == np.uint8
    assert not (bare == TRUTH_COLOR).all(axis=2).any()
    assert (full == TRUTH_COLOR).all(axis=2).sum() > 50
    assert (full[:, 640:] != bare[:, 640:]).any()


def test_cells_in_a_window_are_those_that_touch_it():
    cells = partition(SEAM).hierarchies[-1]
    window = Window.around(np.array([(179.9985, -17.0005), (179.9995, -16.9995)]), 0.0)
    chosen = set(cells_in(cells, window).tolist())
    places = np.array([(lat, lon) for lat in (-17.0005, -16.9995) for lon in (179.9985, 179.9995)])
    assert set(cells.ids[cells.labels_of(places)].tolist()) <= chosen
    assert len(chosen) < len(cells)


def test_geojson_has_the_cells_the_place_and_the_truth():
    cells = partition()
    found = prediction(cells)
    features = place_geojson(found, (48.1, 11.6))["features"]
    assert [feature["geometry"]["type"] for feature in features] == ["Polygon", "Polygon", "Point", "Point"]
    here = Point(found.longitude, found.latitude)
    assert all(shape(feature["geometry"]).covers(here) for feature in features[:2])
    assert features[3]["geometry"]["coordinates"] == [11.6, 48.1]
    assert features[3]["properties"]["error_km"] == pytest.approx(error_km(found, (48.1, 11.6)), abs=1e-6)
    assert len(place_geojson(found)["features"]) == 3


def test_a_true_place_that_is_none_is_refused():
    with pytest.raises(ValueError, match="latitude"):
        render_place(prediction(partition()), truth=(100.0, 0.0))
