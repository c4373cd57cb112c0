"""Scenarios of the Waymo Open Motion Dataset: tracks, traffic lights and the HD map, global frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from .hd_map import HdMap, hd_map_of
from .records import read_records
from .schema import Scenario, parse_message

STATE_FIELDS = (
    "center_x", "center_y", "center_z", "length", "width", "height", "heading", "velocity_x", "velocity_y",
)


@dataclass(frozen=True)
class TrafficLight:
    """What a traffic light showed for a lane at one time.

    Args:
        lane: id of the lane.
        state: number of the published enumeration; 0 is unknown.
        stop_point: x, y, z where the lane's traffic stops [m].
    """

    lane: int
    state: int
    stop_point: tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class MotionScenario:
    """A tracks over T times, with the map around them.

    Args:
        id: of the scenario.
        times_s: (T,) float64 since its start.
        current_step: last one of the past; what follows is to be predicted.
        track_ids: (A,) int64.
        track_types: (A,) int64 index into `names.TRACK_TYPES`.
        states: (A, T, 9) float64 in the order of `STATE_FIELDS`: gravity centre and size [m], heading [rad], velocity
            [m/s]; NaN where a track is not seen.
        valid: (A, T) bool where it is.
        ego_track: row of the vehicle that recorded it.
        objects_of_interest: ids of tracks that influence each other.
        tracks_to_predict: rows of the tracks, with the difficulty of each: 1, 2, or 0 if it was not judged.
        traffic_lights: those known at each of the T times; none at all if none was recorded.
        hd_map: the map.
    """

    id: str
    times_s: np.ndarray
    current_step: int
    track_ids: np.ndarray
    track_types: np.ndarray
    states: np.ndarray
    valid: np.ndarray
    ego_track: int
    objects_of_interest: tuple[int, ...]
    tracks_to_predict: tuple[tuple[int, int], ...]
    traffic_lights: tuple[tuple[TrafficLight, ...], ...]
    hd_map: HdMap


def read_scenarios(path: Path | str, *, skip_corrupt: bool = False) -> Iterator[MotionScenario]:
    """The scenarios of a TFRecord file in their order.

    Args:
        path: the file.
        skip_corrupt: pass over records that do not fit their checksum; see `records.RecordReader`.

    Raises:
        DataError: a record is truncated, corrupt or no scenario (names file, number and offset).
    """
    reader = read_records(path, skip_corrupt=skip_corrupt)
    for payload in reader:
        yield scenario_of(payload, f"{path}: {reader.place}")


def scenario_of(payload: bytes, place: Path | str) -> MotionScenario:
    """A scenario out of what a record holds.

    Args:
        payload: the serialized ``Scenario`` message.
        place: told by errors.

    Raises:
        DataError: the bytes are no scenario, a track has not as many states as there are times, or a row of a track
            or a feature of the map is malformed.
    """
    message = parse_message(Scenario, payload, place)
    times = np.array(message.timestamps_seconds, np.float64)
    states, valid = _states(message.tracks, len(times), place)
    rows = [message.sdc_track_index, *(entry.track_index for entry in message.tracks_to_predict)]
    if rows != [0] and not 0 <= min(rows) <= max(rows) < len(message.tracks):
        raise DataError(place, "track rows", f"numbers below {len(message.tracks)}", rows)
    return MotionScenario(
        id=message.scenario_id,
        times_s=times,
        current_step=message.current_time_index,
        track_ids=np.array([track.id for track in message.tracks], np.int64),
        track_types=np.array([track.object_type for track in message.tracks], np.int64),
        states=states,
        valid=valid,
        ego_track=message.sdc_track_index,
        objects_of_interest=tuple(message.objects_of_interest),
        tracks_to_predict=tuple((entry.track_index, entry.difficulty) for entry in message.tracks_to_predict),
        traffic_lights=tuple(_traffic_lights(step.lane_states) for step in message.dynamic_map_states),
        hd_map=hd_map_of(message.map_features, place),
    )


def _states(tracks: Any, steps: int, place: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """(A, T, 9) float64 and (A, T) bool."""
    for track in tracks:
        if len(track.states) != steps:
            raise DataError(place, f"track {track.id}", f"{steps} states", len(track.states))
    states = [[[getattr(state, name) for name in STATE_FIELDS] for state in track.states] for track in tracks]
    valid = np.array([[state.valid for state in track.states] for track in tracks], bool).reshape(len(tracks), steps)
    table = np.array(states, np.float64).reshape(len(tracks), steps, len(STATE_FIELDS))
    table[~valid] = np.nan
    return table, valid


def _traffic_lights(states: Any) -> tuple[TrafficLight, ...]:
    return tuple(
        TrafficLight(state.lane, state.state, (state.stop_point.x, state.stop_point.y, state.stop_point.z))
        for state in states
    )
