"""Argoverse 2 3D detection: AP, the three true-positive errors and CDS, computed by av2's own code, unrounded.

Wilson et al., "Argoverse 2: Next Generation Datasets for Self-Driving Perception and Forecasting", NeurIPS 2021.
Boxes are in the ego frame of their sweep. Kept are boxes nearer than ``max_range_m`` that touch the region of interest
(drivable area and 5 m around it), labels with at least one interior point, and the 100 best detections of a category
in a sweep. Every detection looks at its nearest label only; the best scored one of a label is right if the centres are
nearer than 0.5, 1, 2 or 4 m in xyz. A category without labels enters the average as AP 0, ATE 2, ASE 1, AOE pi, CDS 0.

av2's ``evaluate`` starts a pool of processes and rounds to three decimals; here its parts (``accumulate`` and
``summarize_metrics``) run in this process.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.evaluator import BaseMetric

from perception.errors import DataError
from perception.registry import METRICS
from perception.structures import Frame, Predictions

from .argoverse2_results import BOX_COLUMNS, UUID_COLUMNS, argoverse2_rows, concat_rows, write_argoverse2_results

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

logger = logging.getLogger(__name__)

SWEEP_COLUMNS = (*UUID_COLUMNS, "category")
COLUMNS = {"AP": "AP", "ATE": "ATE_m", "ASE": "ASE", "AOE": "AOE_rad", "CDS": "CDS"}   # av2's name: ours, with the unit
AVERAGE = "AVERAGE_METRICS"


@dataclass(frozen=True, eq=False)
class Argoverse2Scores:
    """What av2 says of a set of detections.

    Args:
        metrics: a row a category and AVERAGE_METRICS, columns AP, ATE [m], ASE, AOE [rad], CDS; not rounded.
        detections: the detections, sorted by sweep and category, with a flag for each threshold, the errors and
            ``is_evaluated``.
        labels: the labels, likewise.
    """

    metrics: pd.DataFrame
    detections: pd.DataFrame
    labels: pd.DataFrame

    def categories_with_labels(self) -> list[str]:
        """Categories that have a label which counts, in the order of ``metrics``."""
        present = set(self.labels.loc[self.labels["is_evaluated"].astype(bool), "category"])
        return [name for name in self.metrics.index if name in present]

    def flat(self) -> dict[str, float]:
        """mAP, mATE_m ... over all categories, mAP_present, mCDS_present over those with labels, BUS_AP ..."""
        rows: dict[Any, dict[Any, Any]] = self.metrics.to_dict("index")
        flat = {f"m{ours}": rows[AVERAGE][av2] for av2, ours in COLUMNS.items()}
        present = self.categories_with_labels()
        for column in ("AP", "CDS"):
            flat[f"m{column}_present"] = float(np.mean([rows[name][column] for name in present])) if present else 0.0
        for name in present:
            flat |= {f"{name}_{ours}": rows[name][av2] for av2, ours in COLUMNS.items()}
        return {name: float(value) for name, value in flat.items()}


def evaluate_argoverse2(
    detections: pd.DataFrame,
    labels: pd.DataFrame,
    *,
    split_dir: Path | str | None = None,
    only_roi: bool = True,
    **config: Any,
) -> Argoverse2Scores:
    """Score detections against labels.

    Args:
        detections: log_id, timestamp_ns, category, tx_m ty_m tz_m, length_m width_m height_m, qw qx qy qz, score.
        labels: the same with ``num_interior_pts`` in place of the score.
        split_dir: folder of the logs (``sensor/val``), whose maps and poses give the region of interest.
        only_roi: count only boxes that touch the region of interest.
        config: further fields of av2's ``DetectionCfg``, such as ``max_range_m`` or ``categories``.

    Raises:
        ValueError: a column is missing or not finite, or ``only_roi`` without ``split_dir``.
        DataError: a log's map or poses are missing.
    """
    from av2.evaluation.detection.eval import summarize_metrics
    from av2.evaluation.detection.utils import DetectionCfg

    if only_roi and split_dir is None:
        raise ValueError("only_roi needs split_dir, the folder of the logs with their maps")
    _check_table("detections", detections, "score")
    _check_table("labels", labels, "num_interior_pts")
    folder = None if split_dir is None else Path(split_dir)
    settings = DetectionCfg(dataset_dir=folder, eval_only_roi_instances=only_roi, **config)
    detections, labels = _accumulate(detections, labels, settings)
    metrics = summarize_metrics(detections, labels, settings)
    metrics.loc[AVERAGE] = metrics.mean()
    return Argoverse2Scores(metrics, detections, labels)


def argoverse2_table(metrics: Any, title: str = "Argoverse 2 detection") -> Table:
    """A rich table of flat metrics (with or without a ``prefix/``): a line a category with labels, then the means."""
    from rich.table import Table

    flat = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
    table = Table(title=title)
    table.add_column("category", no_wrap=True)
    for heading in ("AP", "ATE (m)", "ASE", "AOE (rad)", "CDS"):
        table.add_column(heading, justify="right")
    for name in sorted(key[: -len("_AP")] for key in flat if key.endswith("_AP")):
        table.add_row(name, *(f"{flat[f'{name}_{column}']:.3f}" for column in COLUMNS.values()))
    table.add_section()
    table.add_row("mean over all", *(f"{flat[f'm{column}']:.3f}" for column in COLUMNS.values()), style="bold")
    present = (f"{flat['mAP_present']:.3f}", "", "", "", f"{flat['mCDS_present']:.3f}")
    table.add_row("mean over those with labels", *present, style="bold")
    return table


@METRICS.register_module()
class Argoverse2DetectionMetric(BaseMetric):
    """Writes the official submission file, scores it with av2 and returns `Argoverse2Scores.flat`.

    Only the sweeps that were tested count, so a part of a split can be scored. A frame's ``scene`` is its log.

    Args:
        root: folder that holds the split folders, such as ``data/argoverse2/sensor``.
        split: its sub-folder, "val" or "train".
        output_dir: folder for ``detections.feather``.
        only_roi: count only boxes that touch the region of interest, as the leaderboard does.
        max_range_m: boxes beyond it do not count [m].
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names; "argoverse2" if not given.
    """

    default_prefix = "argoverse2"

    def __init__(
        self,
        root: str,
        split: str = "val",
        output_dir: str = "work_dirs/argoverse2_detection",
        only_roi: bool = True,
        max_range_m: float = 150.0,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.split_dir, self.output_dir = Path(root) / split, Path(output_dir)
        self.only_roi, self.max_range_m = only_roi, max_range_m

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Predictions]) -> None:
        """Keep the rows of a batch under their log and time."""
        for frame, sample in zip(data_batch, data_samples, strict=True):
            self.results.append(((frame.scene, frame.timestamp_ns), argoverse2_rows(sample, frame.scene)))

    def compute_metrics(self, results: list[tuple[tuple[str, int], dict[str, Any]]]) -> dict[str, float]:
        """Scores over the sweeps that were tested."""
        sweeps = dict(results)                             # a frame that came twice counts once
        path = write_argoverse2_results(sweeps.values(), self.output_dir / "detections.feather")
        logger.info("wrote %s", path)
        return evaluate_argoverse2(
            concat_rows(sweeps.values()),
            read_labels(self.split_dir, list(sweeps)),
            split_dir=self.split_dir,
            only_roi=self.only_roi,
            max_range_m=self.max_range_m,
        ).flat()


def read_labels(split_dir: Path | str, sweeps: Sequence[tuple[str, int]]) -> pd.DataFrame:
    """The annotations of some sweeps (log, timestamp_ns) of a split, with the column ``log_id``.

    Raises:
        DataError: a log has no annotations file, or the file lacks a column.
    """
    import pandas as pd
    from pyarrow import ArrowInvalid, feather

    tables = []
    for log in sorted({log for log, _ in sweeps}):
        path = Path(split_dir) / log / "annotations.feather"
        try:
            table = feather.read_table(path).to_pandas()
        except (OSError, ArrowInvalid) as error:
            raise DataError(path, "file", "the log's annotations", type(error).__name__) from error
        missing = {"timestamp_ns", "category", "num_interior_pts", *BOX_COLUMNS} - set(table.columns)
        if missing:
            raise DataError(path, min(missing), "a column of that name", ", ".join(table.columns))
        wanted = {timestamp for of_log, timestamp in sweeps if of_log == log}
        tables.append(table[table["timestamp_ns"].isin(wanted)].assign(log_id=log))
    if not tables:
        raise DataError(split_dir, "sweeps", "at least one sweep", "none")
    return pd.concat(tables, ignore_index=True)


def _accumulate(
    detections: pd.DataFrame, labels: pd.DataFrame, settings: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Match every sweep and category with av2's rule; both tables come back sorted, with the flag columns."""
    from av2.evaluation.detection.constants import TruePositiveErrorNames
    from av2.evaluation.detection.utils import accumulate, load_mapped_avm_and_egoposes

    detections, labels = (table.sort_values(list(SWEEP_COLUMNS)) for table in (detections, labels))
    maps, poses = {}, {}
    if settings.eval_only_roi_instances:
        logs = sorted(set(detections["log_id"]) | set(labels["log_id"]))
        try:
            maps, poses = load_mapped_avm_and_egoposes(logs, settings.dataset_dir)
        except (OSError, RuntimeError, StopIteration) as error:
            raise DataError(settings.dataset_dir, "map", f"maps and poses of the logs {logs}", repr(error)) from error
    boxes = [_by_sweep(detections, "score"), _by_sweep(labels, "num_interior_pts")]
    flags: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    nothing = np.zeros((0, len(BOX_COLUMNS) + 1))
    for key in sorted(boxes[0].keys() | boxes[1].keys()):
        log, timestamp_ns, _ = key
        pose = poses[log][timestamp_ns] if log in poses else None
        parts = accumulate(boxes[0].get(key, nothing), boxes[1].get(key, nothing), settings, maps.get(log), pose)
        for rows, part in zip(flags, parts, strict=True):
            rows.append(part)
    names = [*settings.affinity_thresholds_m, *(error.value for error in TruePositiveErrorNames), "is_evaluated"]
    return _with_columns(detections, names, flags[0]), _with_columns(labels, names, flags[1])


def _by_sweep(table: pd.DataFrame, last: str) -> dict[tuple[str, int, str], np.ndarray]:
    """(K, 11) float64 boxes by (log, timestamp, category), in the order of the table."""
    groups: dict[Any, Any] = table.groupby(list(SWEEP_COLUMNS), sort=True).indices
    values = table[[*BOX_COLUMNS, last]].to_numpy(dtype=np.float64)
    return {(str(log), int(time), str(name)): values[rows] for (log, time, name), rows in groups.items()}


def _with_columns(table: pd.DataFrame, names: Sequence[Any], rows: list[np.ndarray]) -> pd.DataFrame:
    """The table with the flag columns; those of the thresholds have the threshold itself as their name."""
    values = np.concatenate(rows) if rows else np.zeros((0, len(names)))                 # (N, T + 4)
    table = table.copy()
    for column, name in enumerate(names):
        table[name] = values[:, column]
    return table


def _check_table(name: str, table: pd.DataFrame, last: str) -> None:
    missing = [column for column in (*SWEEP_COLUMNS, *BOX_COLUMNS, last) if column not in table.columns]
    if missing:
        raise ValueError(f"{name} lack the column {missing[0]!r}; they have {', '.join(map(str, table.columns))}")
    if not np.isfinite(table[[*BOX_COLUMNS, last]].to_numpy(dtype=np.float64)).all():
        raise ValueError(f"{name} hold numbers that are not finite")
