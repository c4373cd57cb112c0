"""The boxes of ``foxglove.SceneUpdate`` messages that are valid at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ..structures import SE3, Annotations, Boxes3D
from .foxglove_messages import category_of, pose_of, stamp_ns

ALL_OF_TOPIC = 1                                           # type of a deletion


@dataclass(frozen=True)
class _Event:
    """An entity that appears, or the deletion of one (or, without an id, of all) of its topic."""

    timestamp_ns: int
    topic: str
    entity_id: str | None
    entity: Any = None


class SceneEntities:
    """Entities by topic and id; one replaces the older one of the same name and ends with its lifetime.

    Args:
        place: name of the recording, for errors.
    """

    def __init__(self, place: str) -> None:
        self.place = place
        self.heard = False                                 # whether there has been any update
        self.classes: list[str] = []                       # categories in the order of their appearance
        self._coming: list[_Event] = []
        self._alive: dict[tuple[str, str], _Event] = {}

    def add(self, topic: str, log_time: int, message: Any) -> None:
        """Learn one update; it counts from the time that its entities name."""
        self.heard = True
        for deletion in message.deletions:
            name = None if deletion.type == ALL_OF_TOPIC else deletion.id
            self._coming.append(_Event(stamp_ns(deletion, log_time), topic, name))
        for entity in message.entities:
            self._coming.append(_Event(stamp_ns(entity, log_time), topic, entity.id, entity))

    def at(self, timestamp_ns: int, ego_from: Callable[[str, int], SE3 | None]) -> Annotations | None:
        """Boxes that are valid at a time, in the ego frame; None if the recording has had no update.

        Args:
            timestamp_ns: time of the frame; must not go back.
            ego_from: pose of a coordinate frame in the ego frame at a time; entities where it gives None are left out.

        Raises:
            DataError: a pose holds numbers that are not finite.
        """
        if not self.heard:
            return None
        self._advance(timestamp_ns)
        rows, labels, ids = [], [], []
        for event in self._alive.values():
            pose = ego_from(event.entity.frame_id, event.timestamp_ns)
            if pose is None:
                continue
            for cube in event.entity.cubes:
                center = pose_of(cube.pose.position, cube.pose.orientation, f"{self.place}:{event.topic}")
                box = [*center.translation.tolist(), cube.size.x, cube.size.y, cube.size.z, center.yaw]
                rows.append(Boxes3D(torch.tensor([box], dtype=torch.float64)).moved_by(pose))
                labels.append(self._label(category_of(event.entity)))
                ids.append(event.entity.id)
        boxes = Boxes3D.cat(rows).to(torch.float32) if rows else Boxes3D.empty(7)
        return Annotations(boxes, torch.tensor(labels, dtype=torch.int64), tuple(self.classes), instance_ids=tuple(ids))

    def _advance(self, timestamp_ns: int) -> None:
        due = [event for event in self._coming if event.timestamp_ns <= timestamp_ns]
        self._coming = [event for event in self._coming if event.timestamp_ns > timestamp_ns]
        for event in due:
            if event.entity is not None:
                self._alive[event.topic, event.entity.id] = event
            elif event.entity_id is not None:
                self._alive.pop((event.topic, event.entity_id), None)
            else:
                self._alive = {key: entry for key, entry in self._alive.items() if key[0] != event.topic}
        self._alive = {key: entry for key, entry in self._alive.items() if _end_ns(entry) > timestamp_ns}

    def _label(self, category: str) -> int:
        if category not in self.classes:
            self.classes.append(category)
        return self.classes.index(category)


def _end_ns(event: _Event) -> float:
    """When an entity's life ends [ns]; a lifetime of 0 has no end."""
    lifetime = event.entity.lifetime
    duration = int(lifetime.seconds) * 1_000_000_000 + int(lifetime.nanos)
    return event.timestamp_ns + duration if duration else float("inf")
