"""nuScenes detection: mAP, the five true-positive errors and NDS, computed by the devkit's own code.

Caesar et al., "nuScenes: A multimodal dataset for autonomous driving", CVPR 2020, section 3; configuration
``detection_cvpr_2019``. Boxes are global. Kept are boxes nearer to the ego than the range of their class, ground truth
with at least one LiDAR or radar point, and no cycle in a bicycle rack. Predictions take, by falling score over the
whole set, the nearest free ground truth of their sample if its centre is nearer than 0.5, 1, 2 or 4 m in the xy plane.
A class without ground truth counts as AP 0 and errors 1; errors that make no sense for a class are left out of means.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.evaluator import BaseMetric

from perception.atomic_write import write_json
from perception.errors import DataError
from perception.registry import METRICS
from perception.structures import Frame, Predictions

from .nuscenes_results import DETECTION_NAMES, write_nuscenes_results
from .nuscenes_root import open_tables, refuse_other_samples, silent, split_samples

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

CONFIG = "detection_cvpr_2019"
ERRORS = {                                                 # devkit's name: ours, with the unit
    "trans_err": "ATE_m", "scale_err": "ASE", "orient_err": "AOE_rad", "vel_err": "AVE_mps", "attr_err": "AAE",
}


@dataclass(frozen=True)
class NuScenesScores:
    """What the devkit says of a set of predictions.

    Args:
        summary: the devkit's ``metrics_summary.json``: mean_ap, nd_score, label_aps, label_tp_errors ...
        curves: its ``metrics_details.json``: 101 samples of precision, confidence and errors by "class:threshold".
        num_ground_truth: boxes that were left by the filters.
        num_predictions: boxes that were left by the filters.
    """

    summary: dict[str, Any]
    curves: dict[str, Any]
    num_ground_truth: int
    num_predictions: int

    def flat(self) -> dict[str, float]:
        """One number a name: NDS, mAP, mATE_m ..., then car_AP, car_AP_0.5m ..., car_ATE_m ... as far as defined."""
        flat = {"NDS": self.summary["nd_score"], "mAP": self.summary["mean_ap"]}
        flat |= {f"m{ours}": self.summary["tp_errors"][devkit] for devkit, ours in ERRORS.items()}
        for name in self.summary["mean_dist_aps"]:
            flat[f"{name}_AP"] = self.summary["mean_dist_aps"][name]
            flat |= {f"{name}_AP_{distance}m": ap for distance, ap in self.summary["label_aps"][name].items()}
            flat |= {f"{name}_{ours}": self.summary["label_tp_errors"][name][devkit] for devkit, ours in ERRORS.items()}
        return {name: float(value) for name, value in flat.items() if not math.isnan(value)}


def evaluate_nuscenes(
    ground_truth: Mapping[str, Sequence[Mapping[str, Any]]],
    predictions: Mapping[str, Sequence[Mapping[str, Any]]],
    ego_positions: Mapping[str, Sequence[float]],
    bicycle_racks: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    config: Mapping[str, Any] | None = None,
) -> NuScenesScores:
    """Score boxes that are given as rows of the results file, without a data root.

    Args:
        ground_truth: rows by sample token, with ``num_pts`` (LiDAR + radar points); an unknown velocity is null or NaN.
        predictions: rows by sample token, with ``detection_score``; the same tokens.
        ego_positions: x, y, z [m, global] of the vehicle at the LiDAR's time by sample token.
        bicycle_racks: translation, size (w, l, h) and rotation of the racks by sample token.
        config: a serialized detection config of the devkit in place of ``detection_cvpr_2019``.

    Raises:
        ValueError: the tokens of the arguments differ, or a row is malformed.
    """
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.detection.data_classes import DetectionBox, DetectionConfig

    for name, tokens in (("predictions", predictions), ("ego_positions", ego_positions)):
        if set(tokens) != set(ground_truth):
            odd = sorted(set(tokens) ^ set(ground_truth))
            raise ValueError(f"{name} and ground_truth must have the same samples; {len(odd)} differ, e.g. {odd[0]!r}")
    truth = {token: [_with_nan_velocity(row) for row in rows] for token, rows in ground_truth.items()}
    try:
        true_boxes = EvalBoxes.deserialize(truth, DetectionBox)
        predicted = EvalBoxes.deserialize(predictions, DetectionBox)
    except (AssertionError, KeyError, TypeError) as error:
        raise ValueError(f"a box is not a row of the nuScenes results format: {error!r}") from error
    settings = None if config is None else DetectionConfig.deserialize(dict(config))
    with silent():
        return _score(_EgoAndRacks(ego_positions, bicycle_racks or {}), true_boxes, predicted, settings)


def evaluate_nuscenes_root(
    root: Path | str, version: str, split: str, results_json: Path | str, output_dir: Path | str | None = None
) -> NuScenesScores:
    """Score a results file against the annotations of a data root, as the devkit's ``DetectionEval`` does.

    The root may hold any number of the split's scenes. With ``output_dir``, ``metrics_summary.json`` and
    ``metrics_details.json`` are written there as the devkit would.

    Raises:
        DataError: the root, the split or the results file is missing or does not fit the others.
    """
    tables = open_tables(root, version)
    refuse_other_samples(results_json, split_samples(tables, split))
    return _evaluate_tables(tables, split, results_json, output_dir)


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
class NuScenesDetectionMetric(BaseMetric):
    """Writes the official results file of a split, scores it with the devkit and returns `NuScenesScores.flat`.

    Under distributed testing every rank hands in its frames; a frame that came twice counts once.

    Args:
        root: nuScenes data root.
        version: its version, such as "v1.0-trainval".
        split: "train", "val", "mini_val" ... or a split of the root's splits.json.
        output_dir: folder for ``results_nusc.json``, ``metrics_summary.json`` and ``metrics_details.json``.
        meta: which inputs the model uses, as in the results file.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names; "nuscenes" if not given.
    """

    default_prefix = "nuscenes"

    def __init__(
        self,
        root: str,
        version: str = "v1.0-trainval",
        split: str = "val",
        output_dir: str = "work_dirs/nuscenes_detection",
        meta: Mapping[str, bool] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.root, self.version, self.split = Path(root), version, split
        self.output_dir, self.meta = Path(output_dir), meta

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Predictions]) -> None:
        """Keep the predictions of a batch; the frames themselves are not needed."""
        self.results.extend(sample.to("cpu") for sample in data_samples)

    def compute_metrics(self, results: list[Predictions]) -> dict[str, float]:
        """Scores over all samples of the split that the root holds; those without predictions count as empty."""
        tables = open_tables(self.root, self.version)
        tokens = split_samples(tables, self.split)
        path = write_nuscenes_results(results, self.output_dir / "results_nusc.json", self.meta, tokens)
        scores = _evaluate_tables(tables, self.split, path, self.output_dir)
        logger.info("wrote %s", path)
        return scores.flat()


class _EgoAndRacks:
    """Just enough of the devkit's table look-up for its own filters: ego poses and bicycle racks by sample."""

    def __init__(
        self, ego_positions: Mapping[str, Sequence[float]], racks: Mapping[str, Sequence[Mapping[str, Any]]]
    ) -> None:
        self.ego_positions, self.racks = ego_positions, racks

    def get(self, table: str, token: Any) -> Any:
        if table == "sample":
            racks = [(token, row) for row in range(len(self.racks.get(token, ())))]
            return {"data": {"LIDAR_TOP": token}, "anns": racks}
        if table == "sample_data":
            return {"ego_pose_token": token}
        if table == "ego_pose":
            return {"translation": self.ego_positions[token]}
        sample, row = token
        return {**self.racks[sample][row], "category_name": "static_object.bicycle_rack"}


def _evaluate_tables(
    tables: Any, split: str, results_json: Path | str, output_dir: Path | str | None
) -> NuScenesScores:
    from nuscenes.eval.common import loaders
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.data_classes import DetectionBox
    from nuscenes.utils.splits import is_predefined_split

    limit = config_factory(CONFIG).max_boxes_per_sample
    try:
        with silent():
            predictions, meta = loaders.load_prediction(str(results_json), limit, DetectionBox)
            if is_predefined_split(split):
                truth = loaders.load_gt(tables, split, DetectionBox)
            else:
                truth = loaders.load_gt_of_sample_tokens(tables, split_samples(tables, split), DetectionBox)
            scores = _score(tables, truth, predictions)
    except (AssertionError, KeyError, TypeError) as error:
        raise DataError(results_json, "results", f"what the devkit accepts for {split!r}", repr(error)) from error
    if output_dir is not None:
        write_json(Path(output_dir) / "metrics_summary.json", {**scores.summary, "meta": meta})
        write_json(Path(output_dir) / "metrics_details.json", scores.curves)
    return scores


def _score(tables: Any, ground_truth: Any, predictions: Any, config: Any = None) -> NuScenesScores:
    """Filter and evaluate as ``DetectionEval`` does; unlike its constructor this accepts that nothing was predicted."""
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes
    from nuscenes.eval.detection.evaluate import DetectionEval

    config = config or config_factory(CONFIG)
    kept = []
    for boxes in (ground_truth, predictions):
        add_center_dist(tables, boxes)
        kept.append(filter_eval_boxes(tables, boxes, config.class_range) if boxes.all else boxes)
    evaluation = DetectionEval.__new__(DetectionEval)      # its constructor only loads files, which is done
    evaluation.cfg, evaluation.verbose = config, False
    evaluation.gt_boxes, evaluation.pred_boxes = kept
    metrics, details = evaluation.evaluate()
    return NuScenesScores(metrics.serialize(), details.serialize(), len(kept[0].all), len(kept[1].all))


def _with_nan_velocity(row: Mapping[str, Any]) -> dict[str, Any]:
    velocity = row.get("velocity") or (None, None)
    return {**row, "velocity": [math.nan if value is None else value for value in velocity]}


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
