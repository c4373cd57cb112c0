"""The metric of vector maps: average precision by class and threshold, see `maps.vector_map_ap` for its rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from perception.atomic_write import write_json
from perception.datasets.maps.line_clipping import checked_region
from perception.errors import suggestion
from perception.registry import METRICS
from perception.structures import Frame, MapPredictions, Polylines
from perception.structures.vector_map import MAP_CLASSES

from .maps.conventions import CONVENTIONS, MEASURES, THRESHOLDS
from .maps.elements import MapElements
from .maps.vector_map_ap import evaluate_by_token, named
from .stored_frames import StoredFrames
from .streaming_metric import StreamingMetric, with_predictions
from .vector_map_results import write_vector_map_results
from .vector_map_rows import COLUMNS, elements_of_rows, rows_of_elements

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

RESULTS, METRICS_FILE = "results_map.json", "metrics_map.json"


@METRICS.register_module()
class VectorMapMetric(StreamingMetric):
    """Scores `MapPredictions` against the ``vector_map`` of the frames of the batch.

    Under distributed testing every rank hands in its frames; a frame that came twice counts once. All frames that were
    tested count, those without true elements too, unless told otherwise.

    Args:
        classes: names of the classes that count; elements of other classes of the model or the map are left out.
        thresholds: "standard" (0.5, 1, 1.5 m), "hard" (0.2, 0.5, 1 m), "long_range" (1, 1.5, 2 m), or numbers.
        convention: "vectormapnet", "maptr", "maptrv2" or "streammapnet".
        measure: "chamfer", "frechet", "near_share" or "iou", see `evaluate_vector_map`.
        dim: 2, or 3 to compare heights too.
        region: x0, y0, x1, y1 [m] that truth and predictions are clipped to first; None for all there is.
        frame: "true", or "shrunken" as VectorMapNet's published figures are (60/62 and 30/32 about the corner of the
            ``region``, which must be given: -30, -15, 30, 15).
        skip_frames_without_truth: as VectorMapNet's release does.
        output_dir: folder for ``results_map.json`` and ``metrics_map.json``.
        collect_device: "cpu" or "gpu", see `StreamingMetric`.
        prefix: of the metric names; "map" if not given.
        memory_mb: megabytes of elements that a process keeps in memory, see `StreamingMetric`.

    Raises:
        ValueError: a name is unknown, the region is empty, or "shrunken" comes without a region.
    """

    default_prefix = "map"
    columns = COLUMNS

    def __init__(
        self,
        classes: Sequence[str] = MAP_CLASSES,
        thresholds: str | Sequence[float] = "standard",
        convention: str = "maptr",
        measure: str = "chamfer",
        dim: int = 2,
        region: Sequence[float] | None = None,
        frame: str = "true",
        skip_frames_without_truth: bool = False,
        output_dir: str = "work_dirs/vector_map",
        collect_device: str = "cpu",
        prefix: str | None = None,
        memory_mb: float = 16.0,
    ) -> None:
        super().__init__(output_dir, collect_device, prefix, memory_mb)
        for argument, value, known in (
            ("thresholds", thresholds, THRESHOLDS), ("convention", convention, CONVENTIONS),
            ("measure", measure, MEASURES),
        ):
            named(argument, value, known)
        self.region = None if region is None else checked_region(region)
        if frame not in ("true", "shrunken"):
            raise ValueError(f'frame must be "true" or "shrunken", got {frame!r}')
        if frame == "shrunken" and self.region is None:
            raise ValueError('frame "shrunken" needs the region that it is shrunken about, got None')
        self.classes, self.is_shrunken = tuple(classes), frame == "shrunken"
        self.options = {
            "thresholds": thresholds, "convention": convention, "measure": measure, "dim": dim,
            "skip_frames_without_truth": skip_frames_without_truth,
        }

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[MapPredictions]) -> None:
        """Keep truth and predictions of a batch.

        Raises:
            ValueError: a frame has no map, predictions are of another frame, malformed, or of unknown classes.
        """
        for frame, sample in with_predictions(data_batch, data_samples):
            if frame.vector_map is None:
                raise ValueError(f"frame {frame.token!r} has no vector_map to score against; give the data set a map")
            truth = frame.vector_map
            try:
                rows = rows_of_elements(
                    self._elements(truth.lines, truth.labels, truth.classes),
                    self._elements(sample.lines, sample.labels, sample.classes, sample.scores),
                )
            except ValueError as error:
                raise ValueError(f"frame {frame.token!r}: {error}") from error
            self.keep(frame.token, rows)

    def compute_metrics(self, frames: StoredFrames) -> dict[str, float]:
        """Scores over the frames that were tested; writes the two files."""
        elements = {token: elements_of_rows(rows) for token, rows in frames.items()}
        predictions = {token: found for token, (_, found) in elements.items()}
        path = write_vector_map_results(predictions, self.output_dir / RESULTS, self.classes)
        scores = evaluate_by_token(
            {token: self._as_scored(truth) for token, (truth, _) in elements.items()},
            {token: self._as_scored(found) for token, found in predictions.items()},
            classes=self.classes, **self.options,
        )
        write_json(self.output_dir / METRICS_FILE, scores.flat())
        logger.info("wrote %s", path)
        return scores.flat()

    def _elements(
        self, lines: Polylines, labels: Tensor, classes: Sequence[str], scores: Tensor | None = None
    ) -> MapElements:
        """Those of the classes that count, with the labels of this metric."""
        missing = [name for name in self.classes if name not in classes]
        if missing:
            hint = suggestion(missing[0], classes)
            raise ValueError(f"there is no class {missing[0]!r}{hint} among {', '.join(classes)}")
        order = np.array([self.classes.index(name) if name in self.classes else -1 for name in classes], np.int64)
        own = order[labels.cpu().numpy()] if len(labels) else np.zeros(0, np.int64)
        keep = own >= 0
        own[~keep] = 0
        confidence = None if scores is None else scores.detach().cpu().double().numpy()
        return MapElements.from_polylines(lines, own, confidence)[keep]

    def _as_scored(self, elements: MapElements) -> MapElements:
        if self.region is not None:
            elements = elements.clipped(self.region)
            if self.is_shrunken:
                elements = elements.shrunken(self.region)
        return elements


def vector_map_table(metrics: Mapping[str, float], title: str = "Vector map, average precision") -> Table:
    """A rich table of flat metrics (with or without a ``prefix/``): a line a class, a column a threshold, then mAP."""
    from rich.table import Table

    flat = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
    classes = [name[: -len("_AP")] for name in flat if name.endswith("_AP")]
    thresholds = list(dict.fromkeys(
        name.removeprefix(f"{label}_AP_") for label in classes for name in flat if name.startswith(f"{label}_AP_")
    ))
    table = Table(title=title)
    table.add_column("class", no_wrap=True)
    for heading in (*thresholds, "AP"):
        table.add_column(heading, justify="right")
    for label in classes:
        columns = [*(f"{label}_AP_{threshold}" for threshold in thresholds), f"{label}_AP"]
        table.add_row(label, *(f"{flat[column]:.3f}" for column in columns))
    table.add_section()
    table.add_row("mAP", *[""] * len(thresholds), f"{flat['mAP']:.3f}", style="bold")
    return table
