"""The surfaces of a town: asphalt, walkways with their kerbs, grass, and the paint on the road."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely
from scipy.spatial import Delaunay
from shapely.geometry import Polygon
from shapely.geometry.polygon import orient

from .lane_graph import Network
from .materials import Paint, Semantic
from .mesh_builder import MeshBuilder
from .placement import WALKWAY_HEIGHT
from .plots import Plot
from .scene import Mesh
from .town import Town
from .town_areas import Surfaces, area_polygon, paint_span
from .townscape import Townscape

TERRAIN_HEIGHT = -0.02              # of the land between the streets [m]
PAINT_HEIGHT = 0.012                # of markings above the road [m]
LINE_WIDTH = 0.15
DASH, DASH_GAP = 3.0, 5.0
ZEBRA_BAR = 0.5


def ground_mesh(
    town: Town, network: Network, surfaces: Surfaces, plots: Sequence[Plot], townscape: Townscape
) -> Mesh:
    """Everything flat, paint included."""
    builder = MeshBuilder(Semantic.ROAD)
    _terrain(builder, town, townscape.grass)
    for area in town.drivable:
        _flat(builder, area_polygon(area), 0.0, 3.0, townscape.asphalt, Semantic.ROAD)
    for area in town.walkways:
        _raised(builder, area_polygon(area), 1.5, townscape.paving, townscape.kerb, Semantic.SIDEWALK)
    for polygon in surfaces.medians:
        _raised(builder, polygon, 2.0, townscape.grass, townscape.kerb, Semantic.TERRAIN)
    for plot in plots:
        if plot.kind == "carpark":
            _carpark(builder, plot, townscape)
        elif plot.kind == "works":
            _flat(builder, Polygon(plot.outline), 0.0, 5.0, townscape.gravel, Semantic.OTHER_FLAT)
    _crossings(builder, town, network, townscape.lane_marking)
    for area in town.stop_lines:
        _quad(builder, area.exterior, townscape.lane_marking)
    _lines(builder, town, network, townscape)
    return builder.build()


def triangulate(polygon: Polygon, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of a polygon with holes.

    The boundary is divided so finely that the Delaunay triangulation of its points keeps to it.

    Args:
        polygon: any valid polygon.
        spacing: longest piece of the boundary [m]; at most about the polygon's narrowest width.

    Returns:
        (V, 2) float64 points and (T, 3) int64 rows, counter-clockwise.
    """
    fine = shapely.segmentize(polygon, spacing)
    points = np.unique(shapely.get_coordinates(fine), axis=0)
    origin = points.mean(axis=0)                             # Qhull is exact to relative, not absolute precision
    triangles = Delaunay(points - origin).simplices.astype(np.int64)
    a, b, c = points[triangles[:, 0]], points[triangles[:, 1]], points[triangles[:, 2]]
    turn = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])
    triangles = np.where((turn < 0)[:, None], triangles[:, ::-1], triangles)
    shapely.prepare(polygon)
    middle = (a + b + c) / 3
    inside = shapely.contains_xy(polygon, middle[:, 0], middle[:, 1]) & (np.abs(turn) > 1e-9)
    return points, triangles[inside]


def _terrain(builder: MeshBuilder, town: Town, paint: Paint) -> None:
    outer = np.concatenate([area.exterior for area in town.drivable])
    low = np.maximum(outer.min(axis=0) - 70.0, 0.0)
    high = np.minimum(outer.max(axis=0) + 70.0, np.array(town.edge))
    corners = np.array([[low[0], low[1]], [high[0], low[1]], [high[0], high[1]], [low[0], high[1]]])
    vertices = np.column_stack([corners, np.full(4, TERRAIN_HEIGHT)])
    builder.add(vertices, np.array([[0, 1, 2], [0, 2, 3]]), paint, Semantic.TERRAIN)


def _flat(builder: MeshBuilder, polygon: Polygon, z: float, spacing: float, paint: Paint, semantic: Semantic) -> None:
    points, triangles = triangulate(polygon, spacing)
    builder.add(np.column_stack([points, np.full(len(points), z)]), triangles, paint, semantic)


def _raised(
    builder: MeshBuilder, polygon: Polygon, spacing: float, paint: Paint, kerb: Paint, semantic: Semantic
) -> None:
    """A slab at the walkways' height with vertical sides down to the terrain."""
    _flat(builder, polygon, WALKWAY_HEIGHT, spacing, paint, semantic)
    outward = orient(polygon)                                # the slab lies to the left of every ring
    for ring in (outward.exterior, *outward.interiors):
        line = np.array(ring.coords)
        count = len(line)
        vertices = np.concatenate([
            np.column_stack([line, np.full(count, height)]) for height in (TERRAIN_HEIGHT, WALKWAY_HEIGHT)
        ])
        first = np.arange(count - 1)
        low = np.stack([first, first + 1, first + 1 + count], axis=-1)
        high = np.stack([first, first + 1 + count, first + count], axis=-1)
        builder.add(vertices, np.concatenate([low, high]), kerb, semantic)


def _carpark(builder: MeshBuilder, plot: Plot, townscape: Townscape) -> None:
    _flat(builder, Polygon(plot.outline), 0.0, 6.0, townscape.parking_asphalt, Semantic.ROAD)
    width, depth = plot.size
    front = np.array([plot.place(x, y)[:2] for x, y in ((-3, -depth / 2 - 6), (3, -depth / 2 - 6), (3, -depth / 2),
                                                         (-3, -depth / 2))])
    driveway = np.column_stack([front, np.full(4, -0.004)])
    builder.add(driveway, np.array([[0, 1, 2], [0, 2, 3]]), townscape.parking_asphalt)
    for row in (-depth / 2 + 2.7, depth / 2 - 2.7):
        for x in np.arange(-width / 2 + 0.2, width / 2, 2.75):
            ends = [plot.place(float(x), row - 2.4)[:2], plot.place(float(x), row + 2.4)[:2]]
            _stripes(builder, np.array(ends)[None], 0.1, townscape.lane_marking)


def _crossings(builder: MeshBuilder, town: Town, network: Network, paint: Paint) -> None:
    """Zebra bars along the direction of travel."""
    numbers = {street.key: index for index, street in enumerate(network.plan.streets)}
    for area in town.crossings:
        index = numbers[area.road]
        street, ribbon = network.plan.streets[index], network.ribbons[index]
        middle = area.exterior.mean(axis=0)
        station = float(ribbon.stations[np.argmin(np.linalg.norm(ribbon.points - middle, axis=1))])
        offsets = np.arange(-street.half_width + 0.5, street.half_width - 0.3, 2 * ZEBRA_BAR)
        starts = ribbon.at(np.full(len(offsets), station - 1.6), offsets)
        ends = ribbon.at(np.full(len(offsets), station + 1.6), offsets)
        _stripes(builder, np.stack([starts, ends], axis=1), ZEBRA_BAR, paint)


def _lines(builder: MeshBuilder, town: Town, network: Network, townscape: Townscape) -> None:
    for divider in town.road_dividers:
        pieces = np.stack([divider.line[:-1], divider.line[1:]], axis=1)
        _stripes(builder, pieces, LINE_WIDTH, townscape.divider_marking)
    for divider in town.lane_dividers:
        _dashes(builder, divider.line, townscape.lane_marking)
    for index, (street, ribbon) in enumerate(zip(network.plan.streets, network.ribbons, strict=True)):
        edge = street.median / 2 + street.lanes * street.lane_width
        for side in (1, -1):
            line = ribbon.parallel(*paint_span(network, index), side * edge)
            if street.parking:
                _dashes(builder, line, townscape.lane_marking)
            else:
                _stripes(builder, np.stack([line[:-1], line[1:]], axis=1), 0.12, townscape.lane_marking)


def _dashes(builder: MeshBuilder, line: np.ndarray, paint: Paint) -> None:
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    starts = np.arange(0.0, along[-1] - DASH, DASH + DASH_GAP)
    ends = [np.stack([np.interp(places, along, line[:, axis]) for axis in range(2)], axis=-1)
            for places in (starts, starts + DASH)]
    _stripes(builder, np.stack(ends, axis=1), LINE_WIDTH, paint)


def _stripes(builder: MeshBuilder, pieces: np.ndarray, width: float, paint: Paint) -> None:
    """Flat rectangles around (N, 2, 2) line pieces."""
    if not len(pieces):
        return
    along = pieces[:, 1] - pieces[:, 0]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    left = np.stack([-along[:, 1], along[:, 0]], axis=-1) / length * width / 2
    corners = np.stack([pieces[:, 0] - left, pieces[:, 1] - left, pieces[:, 1] + left, pieces[:, 0] + left], axis=1)
    vertices = np.concatenate([corners, np.full((*corners.shape[:2], 1), PAINT_HEIGHT)], axis=-1).reshape(-1, 3)
    halves = np.array([[0, 1, 2], [0, 2, 3]])
    triangles = (np.arange(len(pieces))[:, None, None] * 4 + halves).reshape(-1, 3)
    builder.add(vertices, triangles, paint, Semantic.ROAD)


def _quad(builder: MeshBuilder, outline: np.ndarray, paint: Paint) -> None:
    points, triangles = triangulate(Polygon(outline), 10.0)
    builder.add(np.column_stack([points, np.full(len(points), PAINT_HEIGHT)]), triangles, paint, Semantic.ROAD)


