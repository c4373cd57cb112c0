"""The map layers of a town: roads, drivable areas, crossings, walkways, stop lines, car parks, dividers, SD lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from shapely.geometry import LineString, MultiPolygon, Point, Polygon
from shapely.geometry.base import BaseGeometry
from shapely.geometry.polygon import orient
from shapely.ops import unary_union

from .lane_graph import CORNER_RADIUS, LANE_PAINT, ROAD_PAINT, Network
from .plots import Plot
from .town import Area, Divider, SDLine, Town

CROSSING_GAP = 0.8                  # from the junction to the crossing [m]
CROSSING_WIDTH = 3.4
STOP_LINE = (5.2, 5.8)              # stations of the stop line's edges before the junction [m]
DRIVEWAY_WIDTH = 6.0
SD_TOLERANCE = 0.01                 # how far a line of the SD map may run beside the true middle [m]


@dataclass(frozen=True, eq=False)
class Surfaces:
    """The paved ground of a town.

    Args:
        streets: asphalt (and median) of every street between its junctions.
        junctions: asphalt of every junction.
        medians: raised strips between the directions.
        road: everything that vehicles may drive on.
        walkway: raised walkways, driveways not yet cut out.
    """

    streets: tuple[Polygon, ...]
    junctions: tuple[Polygon, ...]
    medians: tuple[Polygon, ...]
    road: BaseGeometry
    walkway: BaseGeometry

    @property
    def built(self) -> BaseGeometry:
        """Land on which nothing may stand."""
        return unary_union([self.road, self.walkway, *self.medians])


def make_surfaces(network: Network) -> Surfaces:
    """Pave the streets of a network."""
    streets, junctions, medians = _streets(network), _junctions(network), _medians(network)
    whole = unary_union([polygon.buffer(0.03, quad_segs=1) for polygon in (*streets, *junctions)])
    road = whole.difference(unary_union(medians))
    return Surfaces(tuple(streets), tuple(junctions), tuple(medians), road, _walkways(network, junctions, whole))


def _junctions(network: Network) -> list[Polygon]:
    """Asphalt of every junction, its corners rounded."""
    polygons = []
    for arms in network.arms:
        stubs = []
        for arm in arms:
            street, ribbon = network.plan.streets[arm.street], network.ribbons[arm.street]
            first, last = network.cuts[arm.street]
            span = (0.0, first) if arm.at_start else (last, ribbon.length)
            stubs.append(Polygon(ribbon.strip(*span, -street.half_width, street.half_width, 1.0)).buffer(0.02))
            node = network.plan.nodes[street.start if arm.at_start else street.end]
        narrowest = min(network.plan.streets[arm.street].half_width for arm in arms)
        union = unary_union([*stubs, Point(*node).buffer(narrowest)])
        polygons.append(_largest(union.buffer(CORNER_RADIUS).buffer(-CORNER_RADIUS).simplify(0.02)))
    return polygons


def _streets(network: Network) -> list[Polygon]:
    """Asphalt (and median) of every street between its junctions."""
    return [
        Polygon(ribbon.strip(*cut, -street.half_width, street.half_width))
        for street, ribbon, cut in zip(network.plan.streets, network.ribbons, network.cuts, strict=True)
    ]


def _medians(network: Network) -> list[Polygon]:
    """Raised strips between the directions, clear of the crossings."""
    medians = []
    for street, ribbon, (first, last) in zip(network.plan.streets, network.ribbons, network.cuts, strict=True):
        if street.median > 0:
            half = street.median / 2 - 0.3
            medians.append(Polygon(ribbon.strip(first + 6.5, last - 6.5, -half, half)))
    return medians


def _walkways(network: Network, junctions: Sequence[Polygon], paved: BaseGeometry) -> BaseGeometry:
    """Raised walkways on both sides of every street, driveways not yet cut out."""
    wide = []
    for street, ribbon, cut in zip(network.plan.streets, network.ribbons, network.cuts, strict=True):
        reach = street.half_width + street.walkway
        wide.append(Polygon(ribbon.strip(*cut, -reach, reach)).buffer(0.03, quad_segs=1))
    for arms, polygon in zip(network.arms, junctions, strict=True):
        wide.append(polygon.buffer(min(network.plan.streets[arm.street].walkway for arm in arms)))
    return unary_union(wide).buffer(0.5, quad_segs=4).buffer(-0.5, quad_segs=4).difference(paved.buffer(0.01))


def build_town(
    network: Network, surfaces: Surfaces, location: str, edge: tuple[float, float], plots: Sequence[Plot],
    mid_block: np.ndarray,
) -> Town:
    """Write a network and its plots down as map layers.

    Args:
        network: streets and lanes in global metres.
        surfaces: its paved ground.
        location: nuScenes map name.
        edge: width and height of the map's canvas [m].
        plots: land along the streets; the car parks become a layer and open the walkway.
        mid_block: per street, the station of a crossing half-way [m], or NaN.
    """
    carparks = [Polygon(plot.outline) for plot in plots if plot.kind == "carpark"]
    driveways = unary_union([_driveway(plot) for plot in plots if plot.kind == "carpark"])
    walkway = surfaces.walkway.difference(driveways)
    return Town(
        location=location,
        edge=edge,
        lanes=network.lanes,
        roads=tuple(_roads(network, surfaces)),
        drivable=tuple(areas("drivable", [surfaces.road.simplify(0.01)])),
        crossings=tuple(_crossings(network, mid_block)),
        walkways=tuple(areas("walkway", [walkway.simplify(0.01)])),
        stop_lines=tuple(_stop_lines(network)),
        carparks=tuple(areas("carpark", carparks)),
        road_dividers=tuple(_road_dividers(network)),
        lane_dividers=tuple(_lane_dividers(network)),
        sd_lines=tuple(_sd_lines(network, mid_block)),
    )


def areas(prefix: str, shapes: Iterable[BaseGeometry], **fields: object) -> list[Area]:
    """Areas of all polygons in some shapes; slivers under half a square metre are left out."""
    polygons = [part for shape in shapes for part in polygon_parts(shape) if part.area > 0.5]
    return [_area(f"{prefix}{index}", polygon, **fields) for index, polygon in enumerate(polygons)]


def polygon_parts(shape: BaseGeometry) -> list[Polygon]:
    """The polygons of a shape that may be one, several or none."""
    if isinstance(shape, Polygon):
        return [] if shape.is_empty else [shape]
    return [part for part in getattr(shape, "geoms", ()) if isinstance(part, Polygon)]


def area_polygon(area: Area) -> Polygon:
    """An area as a shapely polygon."""
    return Polygon(area.exterior, area.holes)


def _area(key: str, polygon: Polygon, **fields: object) -> Area:
    polygon = orient(polygon)
    rings = [np.array(ring.coords)[:-1] for ring in (polygon.exterior, *polygon.interiors)]
    return Area(key, rings[0], tuple(rings[1:]), **fields)          # type: ignore[arg-type]  # the Area's own fields


def _roads(network: Network, surfaces: Surfaces) -> list[Area]:
    roads = [
        _area(street.key, polygon, road=street.key)
        for street, polygon in zip(network.plan.streets, surfaces.streets, strict=True)
    ]
    for node, polygon in enumerate(surfaces.junctions):
        roads.append(_area(f"node{node}", polygon, road=f"node{node}", is_intersection=True))
    return roads


def crossing_stations(network: Network, index: int) -> list[float]:
    """Stations of the middle of the crossings next to a street's junctions [m]."""
    street, (first, last) = network.plan.streets[index], network.cuts[index]
    depth = CROSSING_GAP + CROSSING_WIDTH / 2
    stations = []
    if network.has_crossings(street.start):
        stations.append(first + depth)
    if network.has_crossings(street.end):
        stations.append(last - depth)
    return stations


def _crossed_at(network: Network, index: int, mid_block: np.ndarray) -> list[float]:
    """Stations of the middle of all crossings of a street [m]."""
    return crossing_stations(network, index) + [float(mid_block[index])] * bool(np.isfinite(mid_block[index]))


def _crossings(network: Network, mid_block: np.ndarray) -> list[Area]:
    crossings = []
    for index, (street, ribbon) in enumerate(zip(network.plan.streets, network.ribbons, strict=True)):
        for number, station in enumerate(_crossed_at(network, index, mid_block)):
            span = (station - CROSSING_WIDTH / 2, station + CROSSING_WIDTH / 2)
            outline = ribbon.strip(*span, -street.half_width, street.half_width)
            crossings.append(_area(f"crossing{index}.{number}", Polygon(outline), road=street.key))
    return crossings


def _stop_lines(network: Network) -> list[Area]:
    lines = []
    for index, (street, ribbon) in enumerate(zip(network.plan.streets, network.ribbons, strict=True)):
        first, last = network.cuts[index]
        for node, span, sign in (
            (street.start, (first + STOP_LINE[0], first + STOP_LINE[1]), network.side),
            (street.end, (last - STOP_LINE[1], last - STOP_LINE[0]), -network.side),
        ):
            if not network.has_crossings(node):
                continue
            near, far = street.median / 2 + 0.1, street.median / 2 + street.lanes * street.lane_width
            lateral = (near, far) if sign > 0 else (-far, -near)
            kind = "TRAFFIC_LIGHT" if len(network.arms[node]) >= 4 else "STOP_SIGN"
            outline = Polygon(ribbon.strip(*span, *lateral))
            lines.append(_area(f"stop{index}.{node}", outline, road=street.key, kind=kind))
    return lines


def paint_span(network: Network, index: int) -> tuple[float, float]:
    """Stations between which a street's lengthwise lines are painted: from stop line to stop line."""
    street, (first, last) = network.plan.streets[index], network.cuts[index]
    return (
        first + (STOP_LINE[1] if network.has_crossings(street.start) else 0.0),
        last - (STOP_LINE[1] if network.has_crossings(street.end) else 0.0),
    )


def _road_dividers(network: Network) -> list[Divider]:
    dividers = []
    for index, (street, ribbon) in enumerate(zip(network.plan.streets, network.ribbons, strict=True)):
        offsets = (-street.median / 2, street.median / 2) if street.median else (0.0,)
        for offset in offsets:
            line = ribbon.parallel(*paint_span(network, index), offset)
            dividers.append(Divider(f"road_divider{index}.{offset:+.1f}", line, ROAD_PAINT, street.key))
    return dividers


def _lane_dividers(network: Network) -> list[Divider]:
    dividers = []
    for index, (street, ribbon) in enumerate(zip(network.plan.streets, network.ribbons, strict=True)):
        for lane in range(1, street.lanes):
            for sign in (1, -1):
                offset = sign * (street.median / 2 + lane * street.lane_width)
                line = ribbon.parallel(*paint_span(network, index), offset)
                dividers.append(Divider(f"lane_divider{index}.{sign * lane}", line, LANE_PAINT, street.key))
    return dividers


def _sd_lines(network: Network, mid_block: np.ndarray) -> list[SDLine]:
    """Streets from junction to junction, crossings from kerb to kerb, and the middles of the walkways."""
    lines = []
    for index, (street, ribbon) in enumerate(zip(network.plan.streets, network.ribbons, strict=True)):
        middle = np.array(LineString(ribbon.points).simplify(SD_TOLERANCE).coords)
        lines.append(SDLine(street.key, middle, "road", 2 * street.lanes))
        for number, station in enumerate(_crossed_at(network, index, mid_block)):
            across = ribbon.at(np.full(2, station), np.array([-street.half_width, street.half_width]))
            lines.append(SDLine(f"crossing{index}.{number}", across, "cross_walk"))
        for name, sign in (("left", 1), ("right", -1)):
            beside = ribbon.parallel(*network.cuts[index], sign * (street.half_width + street.walkway / 2))
            beside = np.array(LineString(beside).simplify(SD_TOLERANCE).coords)
            lines.append(SDLine(f"{street.key}.{name}", beside, "side_walk"))
    return lines


def _driveway(plot: Plot) -> BaseGeometry:
    """The way from a car park over the walkway to the road."""
    inside, outside = plot.place(0.0, 0.0)[:2], plot.place(0.0, -plot.size[1] / 2 - 5.0)[:2]
    return LineString([inside, outside]).buffer(DRIVEWAY_WIDTH / 2, cap_style="flat")


def _largest(shape: BaseGeometry) -> Polygon:
    if isinstance(shape, MultiPolygon):
        return max(shape.geoms, key=lambda part: part.area)
    return Polygon(shape.exterior) if isinstance(shape, Polygon) else Polygon()
