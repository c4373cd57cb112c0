"""Argoverse 2 detection scores from columns of all sweeps at once: av2's numbers, bit by bit, without its loops."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .argoverse2_columns import BoxTables, with_flags
from .argoverse2_matching import match_boxes
from .argoverse2_region import inside_region
from .argoverse2_settings import Argoverse2Settings
from .argoverse2_summary import summarize

if TYPE_CHECKING:
    import pandas as pd


def score_fast(
    detections: pd.DataFrame, labels: pd.DataFrame, settings: Argoverse2Settings, split_dir: Path | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The table of metrics without the average, and both tables sorted and with their flags.

    Args:
        detections: checked table.
        labels: checked table.
        settings: thresholds and limits.
        split_dir: folder of the logs; None if boxes count wherever they are.

    Raises:
        DataError: a log's map or poses are missing, or there is no pose at the time of a sweep.
    """
    tables = BoxTables.of_frames(detections, labels)
    inside = None if split_dir is None else partial(inside_region, split_dir, tables.log_names)
    flags, label_flags = match_boxes(tables, settings, inside)
    limits = settings.affinity_thresholds_m
    return (
        summarize(tables, flags, label_flags, settings),
        with_flags(detections.iloc[tables.detections.order], limits, flags),
        with_flags(labels.iloc[tables.labels.order], limits, label_flags),
    )
