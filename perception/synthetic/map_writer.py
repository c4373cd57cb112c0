"""Towns as nuScenes stores maps: one map-expansion file (v1.3) and one mask image a location."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .nuscenes_writer import token
from .town import Area, Divider, Lane, Town

LAYERS = ("polygon", "line", "node", "drivable_area", "road_segment", "road_block", "lane", "ped_crossing", "walkway",
          "stop_line", "carpark_area", "road_divider", "lane_divider", "traffic_light", "lane_connector")
STRAIGHT_RADIUS = 999.999          # what nuScenes writes for a path without curvature
PIXELS_PER_METRE = 10

Row = dict[str, Any]


class MapExpansion:
    """The vector map of one location, to which towns are added at places of their own.

    Args:
        location: official map name.
        edge: width and height of the canvas [m].
    """

    def __init__(self, location: str, edge: tuple[float, float]) -> None:
        self.location = location
        self.edge = edge
        self.layers: dict[str, list[Row]] = {name: [] for name in LAYERS}
        self.paths: dict[str, list[Row]] = {}
        self.connectivity: dict[str, dict[str, list[str]]] = {}
        self.mask_polygons: list[np.ndarray] = []

    def add(self, town: Town, name: str, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        """Add a town.

        Args:
            town: its coordinates plus ``shift`` must lie in the canvas and overlap no other town's.
            name: prefix of its tokens, unique in the city.
            shift: x, y [m].
        """
        _TownWriter(self, town, name, np.array(shift)).write()
        self.mask_polygons += [area.exterior + shift for area in (*town.drivable, *town.walkways)]

    def to_json(self) -> str:
        """The file's text; the same for the same towns in the same order."""
        content = {"version": "1.3", "canvas_edge": list(self.edge), **self.layers, "arcline_path_3": self.paths,
                   "connectivity": self.connectivity}
        return json.dumps(content, separators=(",", ":"), allow_nan=False)

    def write_mask(self, path: Path) -> None:
        """The mask of road and walkway: 8-bit PNG, 10 pixels a metre, row 0 at the top of the canvas's used part."""
        write_mask(path, self.mask_polygons)


class _TownWriter:
    """One town on its way into the layers; turns keys into tokens."""

    def __init__(self, target: MapExpansion, town: Town, name: str, shift: np.ndarray) -> None:
        self.target, self.town, self.name, self.shift = target, town, name, shift

    def write(self) -> None:
        town, layers = self.town, self.target.layers
        drivable = self.token("drivable_area")
        layers["drivable_area"].append({"token": drivable, "polygon_tokens": [self.polygon(a) for a in town.drivable]})
        for area in town.roads:
            layers["road_segment"].append({"token": self.token("road", area.key), "polygon_token": self.polygon(area),
                                           "is_intersection": area.is_intersection, "drivable_area_token": drivable})
        for area in town.crossings:
            layers["ped_crossing"].append({
                "token": self.token("crossing", area.key), "polygon_token": self.polygon(area),
                "road_segment_token": self.road(area.road)})
        for area in town.walkways:
            layers["walkway"].append({"token": self.token("walkway", area.key), "polygon_token": self.polygon(area)})
        for area in town.stop_lines:
            layers["stop_line"].append(self.stop_line(area))
        for area in town.carparks:
            layers["carpark_area"].append({
                "token": self.token("carpark", area.key), "polygon_token": self.polygon(area),
                "orientation": long_direction(area.exterior), "road_block_token": ""})
        for lane in town.lanes.values():
            self.add_lane(lane)
        self.add_dividers(town.road_dividers, town.lane_dividers)

    def token(self, *names: object) -> str:
        return token("map", self.name, *names)

    def road(self, key: str) -> str:
        return self.token("road", key) if key else ""

    def nodes(self, points: np.ndarray, *names: object) -> list[str]:
        """Add points (V, 2) as nodes and give their tokens."""
        tokens = [self.token("node", *names, number) for number in range(len(points))]
        self.target.layers["node"] += [
            {"token": name, "x": round(float(x), 4), "y": round(float(y), 4)}
            for name, (x, y) in zip(tokens, points + self.shift, strict=True)]
        return tokens

    def polygon(self, area: Area) -> str:
        name = self.token("polygon", area.kind, area.road, area.key, len(self.target.layers["polygon"]))
        holes = [{"node_tokens": self.nodes(hole, name, "hole", n)} for n, hole in enumerate(area.holes)]
        self.target.layers["polygon"].append(
            {"token": name, "exterior_node_tokens": self.nodes(area.exterior, name), "holes": holes})
        return name

    def line(self, points: np.ndarray, *names: object) -> tuple[str, list[str]]:
        """Add a line and give its token and those of its nodes."""
        name = self.token("line", *names)
        nodes = self.nodes(points, name)
        self.target.layers["line"].append({"token": name, "node_tokens": nodes})
        return name, nodes

    def stop_line(self, area: Area) -> Row:
        kind = area.kind if area.kind in ("PED_CROSSING", "STOP_SIGN", "YIELD", "TURN_STOP") else "STOP_SIGN"
        crossings = [self.token("crossing", c.key) for c in self.town.crossings if c.road == area.road and area.road]
        return {"token": self.token("stop_line", area.key), "polygon_token": self.polygon(area), "stop_line_type": kind,
                "ped_crossing_tokens": crossings if kind in ("PED_CROSSING", "TURN_STOP") else [],
                "traffic_light_tokens": [], "road_block_token": ""}

    def add_lane(self, lane: Lane) -> None:
        name = self.token("lane", lane.key)
        left, right = lane_edges(lane)
        outline = Area(lane.key, np.concatenate([right, left[::-1]]), kind="lane")
        self.target.paths[name] = straight_pieces(lane.centerline + self.shift)
        self.target.connectivity[name] = {
            "incoming": [self.token("lane", other.key) for other in self.town.lanes.values()
                         if lane.key in other.successors],
            "outgoing": [self.token("lane", key) for key in lane.successors]}
        if lane.is_connector:
            self.target.layers["lane_connector"].append({"token": name, "polygon_token": self.polygon(outline)})
            return
        begin, _ = self.line(np.stack([left[0], right[0]]), lane.key, "from")
        end, _ = self.line(np.stack([left[-1], right[-1]]), lane.key, "to")
        self.target.layers["lane"].append({
            "token": name, "polygon_token": self.polygon(outline), "lane_type": "CAR", "from_edge_line_token": begin,
            "to_edge_line_token": end,
            "left_lane_divider_segments": self.segments(left, lane.left_divider, lane.key, "left"),
            "right_lane_divider_segments": self.segments(right, lane.right_divider, lane.key, "right")})

    def segments(self, points: np.ndarray, kind: str, *names: object) -> list[Row]:
        return [{"node_token": node, "segment_type": kind} for node in self.nodes(points, "divider", *names)]

    def add_dividers(self, road: Sequence[Divider], lane: Sequence[Divider]) -> None:
        for divider in road:
            name, _ = self.line(divider.line, "road_divider", divider.key)
            self.target.layers["road_divider"].append(
                {"token": self.token("road_divider", divider.key), "line_token": name,
                 "road_segment_token": self.road(divider.road)})
        for divider in lane:
            name, nodes = self.line(divider.line, "lane_divider", divider.key)
            self.target.layers["lane_divider"].append(
                {"token": self.token("lane_divider", divider.key), "line_token": name,
                 "lane_divider_segments": [{"node_token": n, "segment_type": divider.segment_type} for n in nodes]})


def lane_edges(lane: Lane) -> tuple[np.ndarray, np.ndarray]:
    """Left and right edge (V, 2) of a lane, half its width beside the centre line (mitred at bends)."""
    points = lane.centerline
    step = np.diff(points, axis=0)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    tangent = np.concatenate([step[:1], step[:-1] + step[1:], step[-1:]])
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=-1)
    return points + normal * lane.width / 2, points - normal * lane.width / 2


def straight_pieces(points: np.ndarray) -> list[Row]:
    """A polyline (V, 2) as arc-line pieces without curvature; bends of less than 5 cm are left out."""
    from shapely.geometry import LineString

    vertices = np.array(LineString(points).simplify(0.05).coords)
    pieces = []
    for (x0, y0), (x1, y1) in zip(vertices[:-1].tolist(), vertices[1:].tolist(), strict=True):
        yaw, length = math.atan2(y1 - y0, x1 - x0), math.hypot(x1 - x0, y1 - y0)
        pieces.append({"start_pose": [x0, y0, yaw], "end_pose": [x1, y1, yaw], "shape": "LSR",
                       "radius": STRAIGHT_RADIUS, "segment_length": [0.0, length, 0.0]})
    return pieces


def long_direction(exterior: np.ndarray) -> float:
    """Heading [rad] of a polygon's longest side."""
    sides = np.roll(exterior, -1, axis=0) - exterior
    x, y = sides[np.argmax(np.hypot(sides[:, 0], sides[:, 1]))]
    return math.atan2(float(y), float(x))


def write_mask(path: Path, polygons: Sequence[np.ndarray]) -> None:
    """Polygons (V, 2) [m] as a PNG that is 255 inside, written row by row since a whole canvas takes 300 MB.

    Pixel (x, y) of the image shows the point (x, H - y) / 10; it reaches from the map's origin to the farthest vertex.
    """
    from PIL import Image, ImageDraw

    pixels = [np.asarray(polygon) * PIXELS_PER_METRE for polygon in polygons]
    farthest = np.max([p.max(axis=0) for p in pixels], axis=0, initial=1.0) if pixels else np.ones(2)
    width, height = (math.ceil(value) + 1 for value in farthest)
    spans = [(math.floor(height - p[:, 1].max()), math.ceil(height - p[:, 1].min())) for p in pixels]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)))
        packer, band = zlib.compressobj(1), 512
        for top in range(0, height, band):
            rows = min(band, height - top)
            image = Image.new("L", (width, rows))
            draw = ImageDraw.Draw(image)
            for p, (first, last) in zip(pixels, spans, strict=True):
                if first < top + rows and last >= top:
                    draw.polygon([(x, height - y - top) for x, y in p.tolist()], fill=255)
            lines = np.zeros((rows, width + 1), np.uint8)              # a filter byte before every row
            lines[:, 1:] = np.asarray(image)
            file.write(_chunk(b"IDAT", packer.compress(lines.tobytes())))
        file.write(_chunk(b"IDAT", packer.flush()) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
