"""nuScenes detection: mAP, the five true-positive errors and NDS, as the official devkit computes them.

Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, section 3; configuration
``detection_cvpr_2019``. Boxes are global. Kept are boxes nearer to the ego than the range of their class, ground truth
with at least one LiDAR or radar point, and no cycle in a bicycle rack. Predictions take, by falling score over the
whole set, the nearest free ground truth of their sample if its centre is nearer than 0.5, 1, 2 or 4 m in the xy plane.
A class without ground truth counts as AP 0 and errors 1; errors that make no sense for a class are left out of means.

``backend="fast"`` computes on columns of numbers (see `detection.nuscenes_evaluation`), ``backend="official"`` calls
the devkit, which takes minutes for a validation set. Both give the same numbers and refuse the same boxes.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from perception.atomic_write import write_json
from perception.errors import DataError
from perception.registry import METRICS
from perception.structures import Frame, Predictions

from .detection.nuscenes_boxes import NuScenesBoxes, with_known_velocity
from .detection.nuscenes_config import NuScenesConfig
from .detection.nuscenes_evaluation import evaluate_nuscenes_boxes
from .detection.nuscenes_files import read_nuscenes_boxes, refuse_other_samples
from .detection.nuscenes_filters import Surroundings
from .detection.nuscenes_official import score_file_officially, score_rows_officially
from .detection.nuscenes_scores import ERRORS, NuScenesScores
from .detection.nuscenes_truth import read_nuscenes_truth
from .nuscenes_results import COLUMNS, DETECTION_NAMES, LIDAR_ONLY, nuscenes_columns, write_nuscenes_columns
from .nuscenes_root import read_split_samples
from .stored_frames import StoredFrames
from .streaming_metric import StreamingMetric

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

Backend = Literal["fast", "official"]


def evaluate_nuscenes(
    ground_truth: Mapping[str, Sequence[Mapping[str, Any]]],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    ego_positions: Mapping[str, Sequence[float]],
    bicycle_racks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    config: Mapping[str, Any] | None = None,
    *,
    backend: Backend = "fast",
) -> NuScenesScores:
    """Score boxes that are given as rows of the results file, without a data root.

    Args:
        ground_truth: rows by sample token, with ``num_pts`` (LiDAR + radar points); an unknown velocity is null or NaN.
        predictions: rows by sample token, with ``detection_score``; the same tokens.
        ego_positions: x, y, z [m, global] of the vehicle at the LiDAR's time by sample token.
        bicycle_racks: translation, size (w, l, h) and rotation of the racks by sample token.
        config: a serialized detection config of the devkit in place of ``detection_cvpr_2019``.
        backend: what computes, "fast" or "official".

    Raises:
        ValueError: the tokens of the arguments differ, a sample has too many predictions, or a row is malformed.
    """
    _check_backend(backend)
    settings, racks = NuScenesConfig.from_mapping(config), bicycle_racks or {}
    for name, tokens in (("predictions", predictions), ("ego_positions", ego_positions)):
        if set(tokens) != set(ground_truth):
            odd = sorted(set(tokens) ^ set(ground_truth))
            raise ValueError(f"{name} and ground_truth must have the same samples; {len(odd)} differ, e.g. {odd[0]!r}")
    most = max((len(rows) for rows in predictions.values() if isinstance(rows, Sequence)), default=0)
    if most > settings.max_boxes_per_sample:
        raise ValueError(f"a sample must have at most {settings.max_boxes_per_sample} boxes, got one of {most}")
    truth = {token: [with_known_velocity(row) for row in rows] for token, rows in ground_truth.items()}
    if backend == "official":
        return score_rows_officially(truth, predictions, ego_positions, racks, settings)
    return evaluate_nuscenes_boxes(
        NuScenesBoxes.from_rows(truth), NuScenesBoxes.from_rows(predictions),
        Surroundings.from_rows(ego_positions, racks), settings,
    )


def evaluate_nuscenes_root(
    root: Path | str,
    version: str,
    split: str,
    results_json: Path | str,
    output_dir: Path | str | None = None,
    *,
    backend: Backend = "fast",
) -> NuScenesScores:
    """Score a results file against the annotations of a data root, as the devkit's ``DetectionEval`` does.

    The root may hold any number of the split's scenes. With ``output_dir``, ``metrics_summary.json`` and
    ``metrics_details.json`` are written there as the devkit would.

    Args:
        root: nuScenes data root.
        version: its version, such as "v1.0-trainval".
        split: "train", "val", "mini_val" ... or a split of the root's splits.json.
        results_json: the results file, with exactly the samples of the split that the root holds.
        output_dir: folder for what the devkit writes; nothing is written if not given.
        backend: what computes, "fast" or "official".

    Raises:
        DataError: the root, the split or the results file is missing or does not fit the others.
    """
    _check_backend(backend)
    if backend == "official":
        scores, meta = score_file_officially(root, version, split, results_json)
    else:
        scores, meta = _score_file(root, version, split, results_json)
    if output_dir is not None:
        _write_scores(Path(output_dir), scores, meta)
    return scores


def nuscenes_table(metrics: Mapping[str, float], title: str = "nuScenes detection") -> Table:
    """A rich table of flat metrics (with or without a ``prefix/``): a line a class, then the means and NDS."""
    from rich.table import Table

    flat = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
    columns = ("AP", *ERRORS.values())
    table = Table(title=title)
    table.add_column("class", no_wrap=True)
    for heading in ("AP", "ATE (m)", "ASE", "AOE (rad)", "AVE (m/s)", "AAE"):
        table.add_column(heading, justify="right")
    for name in DETECTION_NAMES:
        if f"{name}_AP" in flat:
            table.add_row(name, *(_figure(flat.get(f"{name}_{column}")) for column in columns))
    table.add_section()
    table.add_row("mean", *(_figure(flat.get(f"m{column}")) for column in columns), style="bold")
    table.add_row("NDS", _figure(flat.get("NDS")), style="bold")
    return table


@METRICS.register_module()
class NuScenesDetectionMetric(StreamingMetric):
    """Writes the official results file of a split, scores it and returns `NuScenesScores.flat`.

    Under distributed testing every rank hands in its frames; a frame that came twice counts once.

    Args:
        root: nuScenes data root.
        version: its version, such as "v1.0-trainval".
        split: "train", "val", "mini_val" ... or a split of the root's splits.json.
        output_dir: folder for ``results_nusc.json``, ``metrics_summary.json`` and ``metrics_details.json``.
        meta: which inputs the model uses, as in the results file.
        collect_device: "cpu" or "gpu", see `StreamingMetric`.
        prefix: of the metric names; "nuscenes" if not given.
        backend: what computes, "fast" or "official".
        memory_mb: megabytes of boxes that a process keeps in memory, see `StreamingMetric`.
    """

    default_prefix = "nuscenes"
    columns = COLUMNS

    def __init__(
        self,
        root: str,
        version: str = "v1.0-trainval",
        split: str = "val",
        output_dir: str = "work_dirs/nuscenes_detection",
        meta: Mapping[str, bool] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        backend: Backend = "fast",
        memory_mb: float = 16.0,
    ) -> None:
        _check_backend(backend)
        super().__init__(output_dir, collect_device, prefix, memory_mb)
        self.root, self.version, self.split = Path(root), version, split
        self.meta, self.backend = meta, backend

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Predictions]) -> None:
        """Keep the boxes of a batch; the frames themselves are not needed.

        Raises:
            ValueError: predictions that cannot be written, see `nuscenes_columns`.
        """
        for sample in data_samples:
            self.keep(sample.token, nuscenes_columns(sample))

    def compute_metrics(self, frames: StoredFrames) -> dict[str, float]:
        """Scores over all samples of the split that the root holds; those without predictions count as empty."""
        tokens = read_split_samples(self.root, self.version, self.split)
        path = write_nuscenes_columns(frames, self.output_dir / "results_nusc.json", self.meta, tokens)
        logger.info("wrote %s", path)
        if self.backend == "official":
            return evaluate_nuscenes_root(
                self.root, self.version, self.split, path, self.output_dir, backend=self.backend
            ).flat()
        predictions = NuScenesBoxes.from_columns(frames, tokens)                 # as they stand in the file
        frames.close()
        truth, surroundings = read_nuscenes_truth(self.root, self.version, self.split)
        scores = evaluate_nuscenes_boxes(truth, predictions, surroundings)
        _write_scores(self.output_dir, scores, {**LIDAR_ONLY, **(self.meta or {})})
        return scores.flat()


def _write_scores(folder: Path, scores: NuScenesScores, meta: Mapping[str, Any]) -> None:
    write_json(folder / "metrics_summary.json", {**scores.summary, "meta": meta})
    write_json(folder / "metrics_details.json", scores.curves)


def _score_file(
    root: Path | str, version: str, split: str, results_json: Path | str
) -> tuple[NuScenesScores, dict[str, Any]]:
    truth, surroundings = read_nuscenes_truth(root, version, split)
    predictions, meta = read_nuscenes_boxes(results_json, NuScenesConfig().max_boxes_per_sample)
    refuse_other_samples(results_json, predictions.tokens, truth.tokens)
    try:
        return evaluate_nuscenes_boxes(truth, predictions, surroundings), meta
    except ValueError as error:
        raise DataError(results_json, "results", f"what the devkit accepts for {split!r}", error) from error


def _check_backend(backend: str) -> None:
    if backend not in get_args(Backend):
        raise ValueError(f"backend must be one of {', '.join(get_args(Backend))}, got {backend!r}")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
