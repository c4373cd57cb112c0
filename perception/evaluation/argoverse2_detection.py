"""Argoverse 2 3D detection: AP, the three true-positive errors and CDS; av2's numbers, unrounded.

Wilson et al., "Argoverse 2: Next Generation Datasets for Self-Driving Perception and Forecasting", NeurIPS 2021.
Boxes are in the ego frame of their sweep. Kept are boxes nearer than ``max_range_m`` that touch the region of interest
(drivable area and 5 m around it), labels with at least one interior point, and the 100 best detections of a category
in a sweep. Every detection looks at its nearest label only; the best scored one of a label is right if the centres are
nearer than 0.5, 1, 2 or 4 m in xyz. A category without labels enters the average as AP 0, ATE 2, ASE 1, AOE pi, CDS 0.

There are two backends of the same numbers: "fast" works on columns of all sweeps at once, "official" is av2's own code.
av2 leaves the order of equal scores within a sweep open; the fast one keeps that of the table.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perception.errors import DataError
from perception.registry import METRICS
from perception.structures import Frame, Predictions

from .argoverse2_results import (
    BOX_COLUMNS,
    STORED_COLUMNS,
    argoverse2_rows,
    concat_rows,
    rows_of_stored,
    stored_rows,
    write_argoverse2_results,
)
from .detection.argoverse2_columns import check_table
from .detection.argoverse2_fast import score_fast
from .detection.argoverse2_official import score_officially
from .detection.argoverse2_settings import Argoverse2Settings
from .stored_frames import StoredFrames
from .streaming_metric import StreamingMetric, with_predictions

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

logger = logging.getLogger(__name__)

BACKENDS = ("fast", "official")
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
    backend: str = "fast",
    **config: Any,
) -> Argoverse2Scores:
    """Score detections against labels.

    Args:
        detections: log_id, timestamp_ns, category, tx_m ty_m tz_m, length_m width_m height_m, qw qx qy qz, score.
        labels: the same with ``num_interior_pts`` in place of the score.
        split_dir: folder of the logs (``sensor/val``), whose maps and poses give the region of interest.
        only_roi: count only boxes that touch the region of interest.
        backend: "fast", or "official" for av2's own code.
        config: further fields of `Argoverse2Settings`, such as ``max_range_m`` or ``categories``.

    Raises:
        ValueError: a column is missing, a number is not finite, a quaternion has no length, ``only_roi`` without
            ``split_dir``, or the backend is unknown.
        DataError: a log's map or poses are missing.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    if only_roi and split_dir is None:
        raise ValueError("only_roi needs split_dir, the folder of the logs with their maps")
    check_table("detections", detections, "score")
    check_table("labels", labels, "num_interior_pts")
    settings = Argoverse2Settings(**config)
    folder = Path(split_dir) if only_roi and split_dir is not None else None
    given = _as_texts(detections), _as_texts(labels), settings, folder
    metrics, detections, labels = score_fast(*given) if backend == "fast" else score_officially(*given)
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
class Argoverse2DetectionMetric(StreamingMetric):
    """Writes the official submission file, scores its boxes and returns `Argoverse2Scores.flat`.

    Only the sweeps that were tested count, so a part of a split can be scored. A frame's ``scene`` is its log.

    Args:
        root: folder that holds the split folders, such as ``data/argoverse2/sensor``.
        split: its sub-folder, "val" or "train".
        output_dir: folder for ``detections.feather``.
        only_roi: count only boxes that touch the region of interest, as the leaderboard does.
        max_range_m: boxes beyond it do not count [m].
        backend: "fast", or "official" for av2's own code.
        collect_device: "cpu" or "gpu", see `StreamingMetric`.
        prefix: of the metric names; "argoverse2" if not given.
        memory_mb: megabytes of boxes that a process keeps in memory, see `StreamingMetric`.
    """

    default_prefix = "argoverse2"
    columns = STORED_COLUMNS

    def __init__(
        self,
        root: str,
        split: str = "val",
        output_dir: str = "work_dirs/argoverse2_detection",
        only_roi: bool = True,
        max_range_m: float = 150.0,
        backend: str = "fast",
        collect_device: str = "cpu",
        prefix: str | None = None,
        memory_mb: float = 16.0,
    ) -> None:
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        super().__init__(output_dir, collect_device, prefix, memory_mb)
        self.split_dir = Path(root) / split
        self.only_roi, self.max_range_m, self.backend = only_roi, max_range_m, backend

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Predictions]) -> None:
        """Keep the rows of a batch under their log and time.

        Raises:
            ValueError: predictions that cannot be written, see `argoverse2_rows`, or of a category that is unknown.
        """
        for frame, sample in with_predictions(data_batch, data_samples):
            self.keep(f"{frame.scene}/{frame.timestamp_ns}", stored_rows(argoverse2_rows(sample, frame.scene)))

    def compute_metrics(self, frames: StoredFrames) -> dict[str, float]:
        """Scores over the sweeps that were tested."""
        sweeps = {}
        for token, columns in frames.items():
            log, _, timestamp_ns = token.rpartition("/")
            sweeps[log, int(timestamp_ns)] = rows_of_stored(columns, log, int(timestamp_ns))
        path = write_argoverse2_results(sweeps.values(), self.output_dir / "detections.feather")
        logger.info("wrote %s", path)
        return evaluate_argoverse2(
            concat_rows(sweeps.values()),
            read_labels(self.split_dir, list(sweeps)),
            split_dir=self.split_dir,
            only_roi=self.only_roi,
            max_range_m=self.max_range_m,
            backend=self.backend,
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


def _as_texts(table: pd.DataFrame) -> pd.DataFrame:
    """The table with plain texts where log and category are pandas' categories, which sort by their own order."""
    import pandas as pd

    coded = [name for name in ("log_id", "category") if isinstance(table[name].dtype, pd.CategoricalDtype)]
    return table.astype(dict.fromkeys(coded, str)) if coded else table
