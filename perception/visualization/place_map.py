"""Where on Earth a model says that a picture was taken, as a map picture and as GeoJSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.geo import CellList, GeoPartition, great_circle_km
from perception.geo.s2_cells import center_latlng
from perception.geo.s2_outline import cell_polygon
from perception.structures import GeoPrediction

from .palette import TRUTH_COLOR

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[float, float]                                # latitude, longitude [deg]
RADIUS = 1.22                                              # radians that a corner of a cell of level 0 may lie off
MOST_CELLS = 1500                                          # outlines drawn in a panel, the nearest ones
AROUND = 2.0                                               # cells beside the predicted one in the near panel
NEAR = 8.0                                                 # cells as far off as a true place is shown there still
TRUTH = tuple(channel / 255 for channel in TRUTH_COLOR)


@dataclass(frozen=True)
class Window:
    """A part of a map: degrees, longitudes on the side of the predicted place, so that they may go beyond 180."""

    west: float
    south: float
    east: float
    north: float

    @classmethod
    def around(cls, points: np.ndarray, margin: float) -> Window:
        """The box of (N, 2) longitudes and latitudes, larger by a share of its longer side all around."""
        low, high = points.min(axis=0), points.max(axis=0)
        more = margin * max(float((high - low).max()), 1e-6)
        (west, south), (east, north) = low - more, high + more
        return cls(west, max(south, -90.0), east, min(north, 90.0))

    @property
    def middle(self) -> Place:
        """Latitude and longitude."""
        return (self.south + self.north) / 2, (self.west + self.east) / 2


def render_place(
    prediction: GeoPrediction, partition: GeoPartition | None = None, truth: Place | None = None
) -> np.ndarray:
    """Draw a predicted place on a map, north up: all of it, and at the right the surroundings of the finest cell.

    Predicted cells are filled, by hierarchy. At the left stand the outlines of the cells of the coarsest hierarchy, at
    the right those of the finest one. The title tells the length of the great circle to the true place.

    Args:
        prediction: of one picture.
        partition: the model's; None draws the predicted cells alone.
        truth: latitude and longitude [deg] where the picture was taken, if it is known.

    Returns:
        (640, 1280, 3) uint8 RGB.

    Raises:
        ValueError: ``truth`` is no place on Earth.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(place_figure(prediction, partition, truth))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def place_figure(
    prediction: GeoPrediction, partition: GeoPartition | None = None, truth: Place | None = None
) -> Figure:
    """The map that `render_place` draws."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.8, 6.4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    title = f"{prediction.token}: probability {prediction.probability:.2f}"
    if truth is not None:
        title += f", {_length(error_km(prediction, truth))} from the true place"
    figure.suptitle(title, fontsize=11)
    places = [(prediction.latitude, prediction.longitude), *([] if truth is None else [truth])]
    points = np.array([_beside(prediction, place) for place in places])
    coarse, fine = (_ring(prediction, prediction.cells[number].id) for number in (0, -1))
    side = float(np.ptp(fine, axis=0).max())
    is_near = truth is not None and float(np.abs(points[-1] - points[0]).max()) < NEAR * side
    first, last = (None, None) if partition is None else (partition.hierarchies[0], partition.hierarchies[-1])
    _draw(left, prediction, Window.around(np.concatenate([coarse, points]), 0.1), first, truth)
    near = np.concatenate([fine, points if is_near else points[:1]])
    _draw(right, prediction, Window.around(near, AROUND * side / max(float(np.ptp(near, axis=0).max()), side)), last,
          truth)
    left.legend(fontsize=8, loc="best")
    return figure


def place_geojson(prediction: GeoPrediction, truth: Place | None = None) -> dict[str, Any]:
    """The FeatureCollection of a prediction (see `GeoPrediction.to_geojson`) and of the true place, if it is known.

    Raises:
        ValueError: ``truth`` is no place on Earth.
    """
    collection = prediction.to_geojson()
    if truth is not None:
        collection["features"].append({
            "type": "Feature", "geometry": {"type": "Point", "coordinates": [truth[1], truth[0]]},
            "properties": {"truth": True, "error_km": round(error_km(prediction, truth), 6)},
        })
    return collection


def error_km(prediction: GeoPrediction, truth: Place) -> float:
    """Great-circle distance from the predicted to the true place. Raises ValueError if that is none on Earth."""
    return float(great_circle_km([(prediction.latitude, prediction.longitude)], [truth])[0])


def cells_in(cells: CellList, window: Window) -> np.ndarray:
    """(N,) uint64 cells of which something may show in a window, at most `MOST_CELLS`, those near its middle first."""
    latitudes, longitudes = center_latlng(cells.ids).T
    radius = np.degrees(RADIUS / 2.0**cells.levels)
    flat = np.maximum(np.cos(np.radians(latitudes)), 0.01)
    latitude, longitude = window.middle
    along = np.abs((longitudes - longitude + 180.0) % 360.0 - 180.0)
    up = np.abs(latitudes - latitude)
    shows = along <= (window.east - window.west) / 2 + radius / flat
    rows = np.flatnonzero(shows & (up <= (window.north - window.south) / 2 + radius))
    return cells.ids[rows[np.argsort(np.hypot(along * flat, up)[rows], kind="stable")[:MOST_CELLS]]]


def _draw(
    axes: Axes, prediction: GeoPrediction, window: Window, cells: CellList | None, truth: Place | None
) -> None:
    from matplotlib import colormaps

    for cell in [] if cells is None else cells_in(cells, window).tolist():
        axes.plot(*_ring(prediction, cell).T, color="0.6", linewidth=0.7, zorder=1)
    colors = colormaps["plasma"](np.linspace(0.1, 0.85, len(prediction.cells)))
    for number, (cell, color) in enumerate(zip(prediction.cells, colors, strict=True)):
        ring = _ring(prediction, cell.id)
        label = f"hierarchy {number}: {cell.token} (level {cell.level}), probability {cell.probability:.2f}"
        axes.fill(*ring.T, color=color, alpha=0.15, zorder=2)
        axes.plot(*ring.T, color=color, linewidth=1.6, zorder=3, label=label)
    here = _beside(prediction, (prediction.latitude, prediction.longitude))
    if truth is not None:
        there = _beside(prediction, truth)
        axes.plot(*zip(here, there, strict=True), color="0.2", linewidth=0.8, linestyle="--", zorder=4)
        axes.plot(*there, marker="*", markersize=15, color=TRUTH, markeredgecolor="0.1", linestyle="", zorder=6,
                  label="true place")
    axes.plot(*here, marker="X", markersize=10, color="crimson", markeredgecolor="white", linestyle="", zorder=5,
              label="predicted place")
    axes.set_xlim(window.west, window.east)
    axes.set_ylim(window.south, window.north)
    axes.set_aspect(1.0 / max(np.cos(np.radians(window.middle[0])), 0.05))
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=5)
    axes.tick_params(labelsize=8)
    axes.set_xlabel("longitude [deg]", fontsize=9)
    axes.set_ylabel("latitude [deg]", fontsize=9)


def _ring(prediction: GeoPrediction, cell: int) -> np.ndarray:
    """(V, 2) longitudes and latitudes of a cell's outline, on the side of the predicted place."""
    (ring,) = cell_polygon(cell)["coordinates"]
    points = np.array(ring)
    points[:, 0] += _beside(prediction, (points[0, 1], points[0, 0]))[0] - points[0, 0]
    return points


def _beside(prediction: GeoPrediction, place: Place) -> Place:
    """Longitude, on the side of the predicted place, and latitude."""
    turn = (place[1] - prediction.longitude + 180.0) % 360.0 - 180.0
    return prediction.longitude + turn, place[0]


def _length(kilometres: float) -> str:
    return f"{kilometres:,.0f} km" if kilometres >= 10 else f"{1000 * kilometres:,.0f} m"
