"""From the lines and areas of an HD map around the vehicle to map elements, by the rules of VectorMapNet.

Liu et al., "VectorMapNet: End-to-end Vectorized HD Map Learning", ICML 2023. All is seen from above; heights, where
there
are some, are carried along and interpolated at the cuts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import shapely
import torch
from shapely import LineString, MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient

from ...structures import Polylines, VectorMap
from ...structures.vector_map import MAP_CLASSES, OUTLINES
from .window import MapWindow

CROSSING, DIVIDER, BOUNDARY = (MAP_CLASSES.index(name) for name in ("ped_crossing", "divider", "boundary"))
CLOCKWISE, COUNTER_CLOCKWISE = -1.0, 1.0
JOIN_GRID = 1e-7                                     # [m] unions are computed on it
TIE = 1e-6                                           # relative difference of areas that are the same but for rounding
PARALLEL = 0.01                                      # 1 - |cos| below it: less than 8 degrees apart
EDGE_DISTANCE = 0.5                                  # [m] a line so near to the edge of the road runs along it
SAMPLE_STEP = 0.5                                    # [m] between the places where that is measured

Element: TypeAlias = tuple[int, np.ndarray]          # label, (V, 2 or 3) float64 vertices [m]


@dataclass(frozen=True, eq=False)
class MapLayers:
    """The geometry of an HD map in one frame [m]; each an object array of shapely geometries, with or without heights.

    Args:
        dividers: lines between lanes and between the directions of a road.
        areas: polygons whose union is where vehicles drive.
        crossings: polygons of pedestrian crossings, one a marking.
        edges: lines where the road ends, the road to their right, of a map that has them instead of areas.
    """

    dividers: np.ndarray
    areas: np.ndarray
    crossings: np.ndarray
    edges: np.ndarray = field(default_factory=lambda: geometry_array([]))


def map_elements(layers: MapLayers, window: MapWindow) -> list[Element]:
    """The elements of a window: pedestrian crossings, then dividers, then boundaries.

    Everything is first cut by the region. A divider stays as it is, one element a piece. The boundary is the outline of
    the union of all areas: outer rings run clockwise and holes counter-clockwise, so that the road lies to the right;
    each is cut by the region less its inset, and the pieces that meet are joined. Edges are cut likewise. Crossings
    that belong together are united (see `united_crossings`), run counter-clockwise, are cut likewise, and what is left
    of one is one element, even in several pieces. Then all are simplified.

    Args:
        layers: in the ego frame. Polygons that cross themselves are mended by `shapely.make_valid`.
        window: what to cut out.

    Returns:
        Labels into `MAP_CLASSES` and vertices; a ring inside the region repeats its first vertex.
    """
    outer, inner = window.outer, window.inner
    lines = [
        *((CROSSING, line) for line in crossing_lines(clipped_areas(layers.crossings, outer), inner)),
        *((DIVIDER, line) for line in lines_of(shapely.intersection(layers.dividers, outer))),
        *((BOUNDARY, line) for line in boundary_lines(clipped_areas(layers.areas, outer), inner)),
        *((BOUNDARY, line) for edge in layers.edges for line in cut(edge, inner)),
    ]
    return [(label, vertices_of(line, window.tolerance)) for label, line in lines]


def cropped(whole: VectorMap, window: MapWindow) -> VectorMap:
    """What of a local map lies in a window, cut as `map_elements` cuts: in the end one element can be several.

    A crossing that was in several pieces has been one line since then, and is cut as such. Lines of no length are left
    out.
    """
    elements: list[Element] = []
    for line, label, name in zip(whole.lines, whole.labels.tolist(), whole.names(), strict=True):
        if len(line) < 2:
            continue
        pieces = cut(LineString(line.double().numpy()), window.inner if name in OUTLINES else window.outer)
        if name == MAP_CLASSES[CROSSING] and pieces:
            pieces = [joined(pieces)]
        elements += [(label, vertices_of(piece, window.tolerance)) for piece in pieces]
    return replace(vector_map(elements, whole.lines.dim), classes=whole.classes)


def boundary_lines(areas: np.ndarray, region: Polygon) -> Iterator[LineString]:
    """The outlines of the union of areas within a region, the areas to their right."""
    for polygon in parts_of(united(areas), shapely.GeometryType.POLYGON):
        turned = orient(polygon, CLOCKWISE)
        for ring in (turned.exterior, *turned.interiors):
            yield from cut(LineString(ring), region)


def crossing_lines(crossings: np.ndarray, region: Polygon) -> Iterator[LineString]:
    """The outer outline of each united crossing within a region; all its pieces are one line."""
    for polygon in parts_of(united_crossings(crossings), shapely.GeometryType.POLYGON):
        pieces = cut(LineString(orient(polygon, COUNTER_CLOCKWISE).exterior), region)
        if pieces:
            yield joined(pieces)


def clipped_areas(areas: np.ndarray, region: Polygon) -> np.ndarray:
    """What of each polygon lies in a region, as an object array without those of which nothing does."""
    clipped = shapely.intersection(mended(areas), region)
    kinds = shapely.get_type_id(clipped)
    mixed = (kinds != shapely.GeometryType.POLYGON) & (kinds != shapely.GeometryType.MULTIPOLYGON)
    polygons = [MultiPolygon(parts_of(area, shapely.GeometryType.POLYGON)) for area in clipped[mixed]]
    clipped[mixed] = geometry_array(polygons)        # without the lines and points in which it touches the region
    return clipped[~shapely.is_empty(clipped)]


def mended(areas: np.ndarray) -> np.ndarray:
    """The polygons, those that cross themselves made valid: what their outline goes around an odd number of times."""
    crossed = ~shapely.is_valid(areas)
    if not crossed.any():
        return areas
    areas = areas.copy()
    areas[crossed] = shapely.make_valid(areas[crossed])
    return areas


def united_crossings(crossings: np.ndarray) -> list[BaseGeometry]:
    """Crossings with those that continue them: each takes the later ones near it with a long axis parallel to its own.

    Near means that the bounding boxes touch; an axis is the longer side of the smallest rectangle around a polygon, and
    parallel is less than 8 degrees apart. A crossing that has been taken takes no others.
    """
    bounds, axes = shapely.bounds(crossings), [long_axis(area) for area in crossings]
    free = np.ones(len(crossings), dtype=bool)
    groups = []
    for place, axis in enumerate(axes):
        if not free[place]:
            continue
        near = (bounds[:, :2] <= bounds[place, 2:]).all(axis=1) & (bounds[:, 2:] >= bounds[place, :2]).all(axis=1)
        parallel = np.array([1.0 - abs(float(axis @ other)) < PARALLEL for other in axes])
        group = free & near & parallel
        group[place] = True
        free &= ~group
        groups.append(united(crossings[group]))
    return groups


def united(areas: np.ndarray) -> BaseGeometry:
    """The union of polygons, those that meet but for the rounding of a turned frame without a gap between them."""
    return shapely.union_all(areas, grid_size=JOIN_GRID)


def long_axis(area: BaseGeometry) -> np.ndarray:
    """(2,) unit vector along the longer side of the smallest rectangle around an area.

    One side of it lies along an edge of the convex hull. Where several are the smallest, as around every triangle with
    acute angles, the longest of them counts. (`shapely.oriented_envelope` takes any of them, and with some versions of
    GEOS the narrowest rectangle instead.)
    """
    hull = shapely.get_coordinates(shapely.convex_hull(area))                     # (V, 2), closed
    edges = np.diff(hull, axis=0)
    along = edges / np.linalg.norm(edges, axis=1, keepdims=True)
    across = along[:, ::-1] * (-1.0, 1.0)
    sizes = np.stack([np.ptp(hull @ along.T, axis=0), np.ptp(hull @ across.T, axis=0)])   # (2, V - 1)
    areas = sizes.prod(axis=0)
    chosen = np.where(areas <= areas.min() * (1.0 + TIE), sizes.max(axis=0), 0.0).argmax()
    return along[chosen] if sizes[0, chosen] >= sizes[1, chosen] else across[chosen]


def cut(line: LineString, region: Polygon) -> list[LineString]:
    """The pieces of a line in a region; those that meet end to end are one, such as where a ring begins."""
    pieces = lines_of(shapely.intersection(line, region))
    return lines_of(shapely.line_merge(shapely.MultiLineString(pieces))) if len(pieces) > 1 else pieces


def runs_along(line: LineString, edge: BaseGeometry) -> bool:
    """Whether more than half of a line is within 0.5 m of the edge of the road, seen from above."""
    places = shapely.points(shapely.get_coordinates(shapely.segmentize(line, SAMPLE_STEP)))
    return float((shapely.distance(places, edge) < EDGE_DISTANCE).mean()) > 0.5


def joined(pieces: Sequence[LineString]) -> LineString:
    """One line through the vertices of all pieces."""
    return LineString([vertex for piece in pieces for vertex in piece.coords])


def lines_of(geometry: BaseGeometry | Sequence[BaseGeometry] | np.ndarray) -> list[LineString]:
    """The lines of some length among the parts of geometries; points, where a line only touches, are left out."""
    return [line for line in parts_of(geometry, shapely.GeometryType.LINESTRING) if line.length > 0]


def parts_of(geometry: BaseGeometry | Sequence[BaseGeometry] | np.ndarray, kind: int) -> list[BaseGeometry]:
    """The parts of one kind of geometries and of collections of them, none empty."""
    parts = np.asarray(geometry, dtype=object)
    for _ in range(2):                               # a collection may hold collections of one kind
        parts = shapely.get_parts(parts)
    return list(parts[(shapely.get_type_id(parts) == kind) & ~shapely.is_empty(parts)])


def geometry_array(geometries: Sequence[BaseGeometry]) -> np.ndarray:
    """(N,) object array, also of none."""
    array = np.empty(len(geometries), dtype=object)
    array[:] = geometries
    return array


def vertices_of(line: LineString, tolerance: float) -> np.ndarray:
    """(V, 2 or 3) float64 vertices of a line after Douglas-Peucker simplification that keeps its topology."""
    simple = shapely.simplify(line, tolerance, preserve_topology=True) if tolerance > 0 else line
    return shapely.get_coordinates(simple, include_z=line.has_z)


def vector_map(elements: Sequence[Element], dim: int) -> VectorMap:
    """Elements as float32 tensors; ``dim`` is the number of coordinates if there is no element."""
    lines = [torch.from_numpy(vertices).float() for _, vertices in elements]
    labels = torch.tensor([label for label, _ in elements], dtype=torch.int64)
    return VectorMap(Polylines.from_lines(lines, dim), labels)
