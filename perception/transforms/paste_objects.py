"""Paste objects of other frames into a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..datasets.object_database import ObjectDatabase
from ..errors import ConfigError, suggestion
from ..registry import TRANSFORMS
from ..structures import Annotations, Boxes3D, Frame, PointCloud, PointLabels
from ..structures.box_overlap import overlaps_bev


@TRANSFORMS.register_module()
class PasteObjects:
    """Fill each class up to a wanted number with objects of a database, where nothing else stands.

    An object keeps the place that it had in its own frame. It is left out if its footprint meets that of an annotated
    or already pasted object; otherwise its points replace those of the scene inside its box. Labels of points follow:
    the class of the same name, or IGNORE_LABEL if there is none, and an instance number of its own.
    SECOND (Yan et al., Sensors 2018), section 3.4; balanced over classes as in CBGS (Zhu et al., 2019).

    Args:
        database: folder made by `build_object_database`, whose channels include those of the frames.
        groups: wanted number of objects in a frame by class, those already there included.

    Raises:
        ValueError: a wanted number is negative.
    """

    def __init__(self, database: Path | str, groups: Mapping[str, int]) -> None:
        for name, count in groups.items():
            if count < 0:
                raise ValueError(f"groups[{name!r}] must be >= 0, got {count}")
        self.database, self.groups = ObjectDatabase(database), dict(groups)

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with pasted objects; one without points or annotations is given back as it is.

        Raises:
            ValueError: the frame has pictures, in which the objects would be missing, or sweeps to aggregate.
            ConfigError: a class of ``groups`` is not one of the data set, or the database lacks a channel.
        """
        if frame.points is None or frame.annotations is None:
            return frame
        if frame.cameras or frame.sweeps:
            first, rest = ("DropCameras", "pictures") if frame.cameras else ("AggregateSweeps", "earlier sweeps")
            raise ValueError(f"objects pasted into frame {frame.token} would miss in its {rest}: put {first} before it")
        candidates = self._draw(frame.annotations, rng)
        rows = candidates[_free_places(self.database.boxes(candidates), frame.annotations.boxes)]
        return self._paste(frame, rows) if len(rows) else frame

    def _draw(self, annotations: Annotations, rng: np.random.Generator) -> np.ndarray:
        """(R,) rows of the database to try, class by class."""
        names = annotations.names()
        drawn = [np.zeros(0, dtype=np.int64)]
        for name, wanted in self.groups.items():
            if name not in annotations.classes:
                hint = suggestion(name, annotations.classes)
                raise ConfigError(f'PasteObjects.groups: the data set has no class "{name}"{hint}')
            rows = self.database.rows_of(name)
            missing = min(max(wanted - names.count(name), 0), len(rows))
            drawn.append(rng.choice(rows, missing, replace=False))
        return np.concatenate(drawn)

    def _paste(self, frame: Frame, rows: np.ndarray) -> Frame:
        assert frame.points is not None                        # seen to by __call__
        assert frame.annotations is not None
        points, boxes = frame.points, self.database.boxes(rows)
        objects = [self.database.points(row) for row in rows.tolist()]
        missing = [name for name in points.channels if name not in objects[0].channels]
        if missing:
            lacks = f"lacks the channels {', '.join(missing)} of frame {frame.token}: build it again"
            raise ConfigError(f"object database {self.database.folder} {lacks}")
        free = torch.ones(len(points), dtype=torch.bool)
        free[torch.cat(boxes.points_inside(points.xyz))] = False
        annotations = _joined(frame.annotations, boxes, rows, objects, self.database)
        labels = frame.point_labels
        if labels is not None:
            labels = _pasted_labels(labels[free], [self.database.class_name(row) for row in rows.tolist()], objects)
        cloud = PointCloud.cat([points[free], *objects])
        return replace(frame, points=cloud, point_labels=labels, annotations=annotations)

    def __repr__(self) -> str:
        return f"PasteObjects(database={str(self.database.folder)!r}, groups={self.groups})"


def _free_places(candidates: Boxes3D, present: Boxes3D) -> np.ndarray:
    """(A,) positions of the candidates that meet neither a present box nor an accepted candidate before them."""
    blocked = overlaps_bev(candidates, present.to(torch.float32)).any(dim=1).numpy()         # (R,)
    mutual = overlaps_bev(candidates, candidates).numpy()                                    # (R, R)
    accepted: list[int] = []
    for row in np.flatnonzero(~blocked):
        if not mutual[row, accepted].any():
            accepted.append(int(row))
    return np.array(accepted, dtype=np.int64)


def _pasted_labels(present: PointLabels, names: Sequence[str], objects: Sequence[PointCloud]) -> PointLabels:
    taken = 0 if present.instances is None or not len(present) else int(present.instances.max())
    parts = [present]
    for number, (name, points) in enumerate(zip(names, objects, strict=True), start=taken + 1):
        if name in present.names:
            parts.append(present.filled(len(points), present.names.index(name), number))
        else:
            parts.append(present.filled(len(points)))
    return PointLabels.cat(parts)


def _joined(
    present: Annotations, boxes: Boxes3D, rows: np.ndarray, objects: list[PointCloud], database: ObjectDatabase
) -> Annotations:
    labels = torch.tensor([present.classes.index(database.class_name(row)) for row in rows.tolist()])   # (R,) int64
    pasted = boxes.to(present.boxes.tensor.dtype).with_columns(present.boxes.tensor.shape[1])
    tracks = tuple(f"pasted/{database.token(row)}/{row}" for row in rows.tolist())
    return replace(
        present,
        boxes=Boxes3D.cat([present.boxes, pasted]),
        labels=torch.cat([present.labels, labels]),
        num_lidar_pts=_appended(present.num_lidar_pts, torch.tensor([len(points) for points in objects])),
        instance_ids=(*present.instance_ids, *tracks) if present.instance_ids or not len(present) else (),
        attributes=(*present.attributes, *[""] * len(rows)) if present.attributes else (),
        visibility=_appended(present.visibility, torch.full((len(rows),), torch.nan)),
    )


def _appended(values: Tensor | None, more: Tensor) -> Tensor | None:
    return None if values is None else torch.cat([values, more.to(values.dtype)])
