"""Argoverse 2 detection scores by av2's own code, sweep after sweep in this process and unrounded.

av2's ``evaluate`` starts a pool of processes and rounds to three decimals; here its parts do the work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.errors import DataError

from ..argoverse2_results import BOX_COLUMNS
from .argoverse2_columns import SWEEP_COLUMNS, with_flags
from .argoverse2_settings import Argoverse2Settings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class LogWorlds:
    """What av2 reads of the logs, about 30 MB each.

    Args:
        maps: its map with the rasters, by log.
        poses: by log, then by time [ns].
    """

    maps: dict[str, Any]
    poses: dict[str, dict[int, Any]]

    @classmethod
    def load(cls, split_dir: Path, logs: Iterable[str]) -> LogWorlds:
        """From the folder of the logs. Raises DataError if a map or poses are missing."""
        from av2.evaluation.detection.utils import load_mapped_avm_and_egoposes

        names = sorted(set(logs))
        try:
            return cls(*load_mapped_avm_and_egoposes(names, split_dir))
        except (OSError, RuntimeError, StopIteration) as error:
            raise DataError(split_dir, "map", f"maps and poses of the logs {names}", repr(error)) from error

    def at(self, log: str, timestamp_ns: int) -> tuple[Any, Any]:
        """The map and the pose of a sweep. Raises DataError if there is no pose at its time."""
        if timestamp_ns not in self.poses[log]:
            raise DataError(f"log {log}", "timestamp_ns", f"a pose at {timestamp_ns}", "none")
        return self.maps[log], self.poses[log][timestamp_ns]


def score_officially(
    detections: pd.DataFrame, labels: pd.DataFrame, settings: Argoverse2Settings, split_dir: Path | None,
    worlds: LogWorlds | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The table of metrics without the average, and both tables sorted and with their flags.

    Args:
        detections: checked table.
        labels: checked table.
        settings: thresholds and limits.
        split_dir: folder of the logs; None if boxes count wherever they are.
        worlds: of the logs, if they are in memory already.

    Raises:
        DataError: a log's map or poses are missing, or there is no pose at the time of a sweep.
    """
    from av2.evaluation.detection.eval import summarize_metrics
    from av2.evaluation.detection.utils import DetectionCfg, accumulate

    config = DetectionCfg(dataset_dir=split_dir, eval_only_roi_instances=split_dir is not None, **asdict(settings))
    if worlds is None and split_dir is not None:
        worlds = LogWorlds.load(split_dir, [*detections["log_id"], *labels["log_id"]])
    detections, labels = (table.sort_values(list(SWEEP_COLUMNS)) for table in (detections, labels))
    boxes = [_by_sweep(detections, "score"), _by_sweep(labels, "num_interior_pts")]
    nothing = np.zeros((0, len(BOX_COLUMNS) + 1))
    flags = [[np.zeros((0, len(settings.affinity_thresholds_m) + 4))] for _ in range(2)]
    for key in sorted(boxes[0].keys() | boxes[1].keys()):
        log, timestamp_ns, _ = key
        world, pose = (None, None) if worlds is None else worlds.at(log, timestamp_ns)
        parts = accumulate(boxes[0].get(key, nothing), boxes[1].get(key, nothing), config, world, pose)
        for rows, part in zip(flags, parts, strict=True):
            rows.append(part)
    detections, labels = (
        with_flags(table, settings.affinity_thresholds_m, np.concatenate(rows))
        for table, rows in zip((detections, labels), flags, strict=True)
    )
    return summarize_metrics(detections, labels, config), detections, labels


def _by_sweep(table: pd.DataFrame, last: str) -> dict[tuple[str, int, str], np.ndarray]:
    """(K, 11) float64 boxes by (log, timestamp, category), in the order of the table."""
    groups: dict[Any, Any] = table.groupby(list(SWEEP_COLUMNS), sort=True).indices
    values = table[[*BOX_COLUMNS, last]].to_numpy(dtype=np.float64)
    return {(str(log), int(time), str(name)): values[rows] for (log, time, name), rows in groups.items()}
