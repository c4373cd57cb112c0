"""The vector maps of single frames fused into one map of the drive."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from ...structures import SE3, GeoReference, GlobalMap, MapPredictions, Polylines
from .areas import AreaFusion
from .finishing import finished_lines
from .lines import LineFusion
from .merging import MergeRules
from .views import Views

HALF_RANGE = 15.0                                          # metres from the ego at which a position counts half
LOCAL, STEP = 100.0, 50.0                                  # metres that are kept at hand; way from one look to the next


class MapFusion:
    """Takes the map elements of one frame after the other and tells the map of the drive at any time.

    Lines are placed in the global frame by the frame's pose and compared with those of their class that are known
    there. Stretches that run along each other are averaged, by score and by how near the ego was, and a line goes on
    where a frame sees further; see `perception.replay.map_fusion.merging`. Crossings are areas:
    `perception.replay.map_fusion.areas`. The confidence of an element is the sum of the scores of the frames that saw
    it, divided by the number of frames that had it in view.

    Args:
        tolerance: distance [m] up to which lines are taken for the same; less than half of that between two real ones.
        max_angle: difference of direction [rad] likewise. A line has no sense of direction.
        spacing: distance of the vertices that lines are compared at [m].
        min_overlap: stretch [m] that two lines must have in common.
        min_score: elements with a lower score are left out.
        region: x_min, y_min, x_max, y_max [m] of the ego frame that the model maps; None takes the smallest rectangle
            about the ego that holds all that was added.
        area_classes: classes whose elements are outlines of areas.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        *,
        tolerance: float = 1.0,
        max_angle: float = math.radians(30.0),
        spacing: float = 1.0,
        min_overlap: float = 2.0,
        min_score: float = 0.3,
        region: tuple[float, float, float, float] | None = None,
        area_classes: Sequence[str] = ("ped_crossing",),
    ) -> None:
        for name, value in (("tolerance", tolerance), ("spacing", spacing), ("min_overlap", min_overlap)):
            if not 0.0 < value < math.inf:
                raise ValueError(f"{name} must be finite and > 0 m, got {value}")
        if not 0.0 < max_angle < math.pi / 2:
            raise ValueError(f"max_angle must lie in (0, pi / 2) rad, got {max_angle}")
        if region is not None and not (region[0] < region[2] and region[1] < region[3]):
            raise ValueError(f"region must be x_min < x_max and y_min < y_max, got {region}")
        self.rules = MergeRules(tolerance, max_angle, min_overlap, spacing)
        self.min_score, self.region, self.area_classes = min_score, region, tuple(area_classes)
        self.classes: tuple[str, ...] = ()
        self._lines: dict[str, LineFusion] = {}
        self._areas: dict[str, AreaFusion] = {}
        self._poses: list[SE3] = []
        self._fixes: list[tuple[int, tuple[float, float, float]]] = []
        self._last_left = np.full(3, np.inf)
        self._seen = np.zeros(4)                           # x_min, y_min, x_max, y_max of all that was added

    def add(self, predictions: MapPredictions, wgs84: tuple[float, float, float] | None = None) -> None:
        """Take the elements of one frame, later than all before.

        Args:
            predictions: with the frame's pose.
            wgs84: latitude, longitude [deg] and altitude [m] of the ego if they are known.

        Raises:
            ValueError: the frame has no pose.
        """
        pose = predictions.global_from_ego
        if pose is None:
            raise ValueError(f"frame {predictions.token} has no pose (global_from_ego) to place its map with")
        frame = len(self._poses)
        self._poses.append(pose)
        if wgs84 is not None:
            self._fixes.append((frame, wgs84))
        self._leave_behind(pose)
        self.classes += tuple(name for name in predictions.classes if name not in self.classes)
        kept = predictions[predictions.scores >= self.min_score].to("cpu")
        for line, score, name in zip(kept.lines, kept.scores.tolist(), kept.names(), strict=True):
            self._add(line.double(), score, name, pose, frame)

    def _leave_behind(self, pose: SE3) -> None:
        center = pose.translation.numpy()
        if np.linalg.norm(center - self._last_left) < STEP:
            return
        self._last_left = center
        radius = max(LOCAL, 2.0 * float(np.abs(self._seen).max()))
        for lines in self._lines.values():
            lines.leave_behind(center, radius)

    def _add(self, line: torch.Tensor, score: float, name: str, pose: SE3, frame: int) -> None:
        line = line[torch.isfinite(line).all(dim=1)]
        if line.shape[1] == 2:                             # without height it lies on the ego's ground plane
            line = torch.cat([line, torch.zeros_like(line[:, :1])], dim=1)
        if not len(line):
            return
        local, placed = line.numpy(), pose.apply(line).numpy()                            # (V, 3) each
        self._seen[:2] = np.minimum(self._seen[:2], local[:, :2].min(axis=0))
        self._seen[2:] = np.maximum(self._seen[2:], local[:, :2].max(axis=0))
        weight = score / (1.0 + (np.linalg.norm(local[:, :2], axis=1) / HALF_RANGE) ** 2)
        if name in self.area_classes:
            self._areas.setdefault(name, AreaFusion()).add(placed, float(weight.mean()), score, frame)
        else:
            self._lines.setdefault(name, LineFusion(self.rules)).add(placed, weight, score, frame)

    def result(self) -> GlobalMap:
        """The map of all that was added, the surest elements first; empty before the first frame."""
        if not self._poses:
            return GlobalMap.empty()
        views = Views(self._poses, self.region or tuple(self._seen.tolist()))
        found = [
            (line, sure, name)
            for name in self.classes
            for line, sure in (
                *finished_lines(self._lines[name].consolidated() if name in self._lines else [], views, self.rules),
                *(self._areas[name].outlines(views) if name in self._areas else []),
            )
        ]
        found.sort(key=lambda element: -element[1])
        empty = torch.zeros(0, 3, dtype=torch.float64)
        vertices = torch.cat([empty, *(torch.from_numpy(line) for line, _, _ in found)])
        return GlobalMap(
            lines=Polylines(vertices, torch.tensor([len(line) for line, _, _ in found], dtype=torch.int64)),
            labels=torch.tensor([self.classes.index(name) for _, _, name in found], dtype=torch.int64),
            confidence=torch.tensor([sure for _, sure, _ in found], dtype=torch.float32),
            trajectory=torch.from_numpy(views.positions),
            classes=self.classes,
            geo_reference=self._geo_reference(views.positions),
        )

    def _geo_reference(self, positions: np.ndarray) -> GeoReference | None:
        if not self._fixes:
            return None
        frames, fixes = zip(*self._fixes, strict=True)
        return GeoReference.from_track(positions[list(frames)], np.array(fixes))
