"""nuScenes detection by the devkit's own code: the judge of the fast one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perception.errors import DataError

from ..nuscenes_root import open_tables, silent, split_samples
from .nuscenes_config import NuScenesConfig
from .nuscenes_files import ResultsFile, refuse_other_samples
from .nuscenes_scores import NuScenesScores

Rows = Mapping[str, Sequence[Mapping[str, Any]]]
REFUSALS = (AssertionError, AttributeError, KeyError, OverflowError, TypeError, ValueError)    # how the devkit refuses


def score_rows_officially(
    ground_truth: Rows, predictions: Rows, ego_positions: Mapping[str, Sequence[float]], bicycle_racks: Rows,
    config: NuScenesConfig,
) -> NuScenesScores:
    """Score rows of the results format. Raises ValueError where the devkit refuses them."""
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.detection.data_classes import DetectionBox

    with _told_as_value_error("a box is not a row of the nuScenes results format"):
        true_boxes = EvalBoxes.deserialize(ground_truth, DetectionBox)
        predicted = EvalBoxes.deserialize(predictions, DetectionBox)
    return score_devkit_boxes(EgoAndRacks(ego_positions, bicycle_racks), true_boxes, predicted, config)


def score_file_officially(
    root: Path | str, version: str, split: str, results_json: Path | str
) -> tuple[NuScenesScores, dict[str, Any]]:
    """Score a results file against a data root; also gives the file's ``meta``. Raises DataError."""
    from nuscenes.eval.common import loaders
    from nuscenes.eval.detection.data_classes import DetectionBox
    from nuscenes.utils.splits import is_predefined_split

    tables, config = open_tables(root, version), NuScenesConfig()
    samples = split_samples(tables, split)
    found = [token for token, _ in ResultsFile(results_json).samples()]
    refuse_other_samples(results_json, found, samples)
    try:
        with silent():
            predictions, meta = loaders.load_prediction(str(results_json), config.max_boxes_per_sample, DetectionBox)
            if is_predefined_split(split):
                truth = loaders.load_gt(tables, split, DetectionBox)
            else:
                truth = loaders.load_gt_of_sample_tokens(tables, samples, DetectionBox)
        return score_devkit_boxes(tables, truth, predictions, config), meta
    except REFUSALS as error:
        raise DataError(results_json, "results", f"what the devkit accepts for {split!r}", repr(error)) from error


def score_devkit_boxes(tables: Any, ground_truth: Any, predictions: Any, config: NuScenesConfig) -> NuScenesScores:
    """Filter and evaluate as ``DetectionEval`` does; unlike its constructor this accepts that nothing was predicted.

    Args:
        tables: a ``NuScenes``, or `EgoAndRacks`.
        ground_truth: ``EvalBoxes``; its boxes get their distances, and loses those that do not count.
        predictions: likewise.
        config: the settings.

    Raises:
        ValueError: the devkit refuses the boxes.
    """
    from nuscenes.eval.common.loaders import add_center_dist, filter_eval_boxes
    from nuscenes.eval.detection.data_classes import DetectionConfig
    from nuscenes.eval.detection.evaluate import DetectionEval

    settings = DetectionConfig.deserialize(config.serialize())
    with silent(), _told_as_value_error("the devkit refuses the boxes"):
        kept = []
        for boxes in (ground_truth, predictions):
            add_center_dist(tables, boxes)
            kept.append(filter_eval_boxes(tables, boxes, settings.class_range) if boxes.all else boxes)
        evaluation = DetectionEval.__new__(DetectionEval)      # its constructor only loads files, which is done
        evaluation.cfg, evaluation.verbose = settings, False
        evaluation.gt_boxes, evaluation.pred_boxes = kept
        num_truth, num_predictions = (len(boxes.all) for boxes in kept)
        metrics, details = evaluation.evaluate()
        return NuScenesScores(metrics.serialize(), details.serialize(), num_truth, num_predictions)


class EgoAndRacks:
    """Just enough of the devkit's table look-up for its own filters: ego poses and bicycle racks by sample."""

    def __init__(self, ego_positions: Mapping[str, Sequence[float]], racks: Rows) -> None:
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


@contextmanager
def _told_as_value_error(what: str) -> Iterator[None]:
    try:
        yield
    except REFUSALS as error:
        raise ValueError(f"{what}: {error!r}") from error
