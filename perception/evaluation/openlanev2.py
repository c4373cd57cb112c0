"""The metric of lane segments, areas and connections, see `maps.openlanev2_ap` for its rules."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.evaluator import BaseMetric

from perception.atomic_write import write_json
from perception.registry import METRICS
from perception.structures import Frame, LaneGraph, MapPredictions

from .maps.lane_distances import prepared_truth
from .maps.openlanev2_ap import AREA_THRESHOLDS_M, LANE_THRESHOLDS_M, evaluate_openlanev2
from .openlanev2_results import write_openlanev2_results

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

RESULTS, METRICS_FILE = "results_openlanev2.json", "metrics_openlanev2.json"


@METRICS.register_module()
class OpenLaneV2Metric(BaseMetric):
    """Scores the ``lanes`` of `MapPredictions` against the ``lane_graph`` of the frames of the batch.

    Under distributed testing every rank hands in its frames; a frame that came twice counts once. All frames that were
    tested count.

    Args:
        crossings: "outline" compares whole outlines as the devkit does, "edges" two edges as LaneSegNet does.
        skip_frames_without_truth: leave out frames without any true lane or area.
        output_dir: folder for ``results_openlanev2.json`` and ``metrics_openlanev2.json``.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names; "openlanev2" if not given.

    Raises:
        ValueError: ``crossings`` is another word.
    """

    default_prefix = "openlanev2"

    def __init__(
        self,
        crossings: str = "outline",
        skip_frames_without_truth: bool = False,
        output_dir: str = "work_dirs/openlanev2",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if crossings not in ("outline", "edges"):
            raise ValueError(f'crossings must be "outline" or "edges", got {crossings!r}')
        self.crossings, self.skip_frames_without_truth = crossings, skip_frames_without_truth
        self.output_dir = Path(output_dir)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[MapPredictions]) -> None:
        """Keep truth and predictions of a batch.

        Raises:
            ValueError: a frame has no lane graph, or predictions are of another frame or have no lanes.
        """
        for frame, sample in zip(data_batch, data_samples, strict=True):
            if frame.token != sample.token:
                raise ValueError(f"predictions of frame {sample.token!r} came with frame {frame.token!r}")
            if frame.lane_graph is None:
                raise ValueError(f"frame {frame.token!r} has no lane_graph to score against; give the data set one")
            if sample.lanes is None:
                raise ValueError(f"predictions of frame {frame.token!r} have no lanes: the model does not give them")
            truth = prepared_truth(frame.lane_graph.to("cpu"), self.crossings)
            self.results.append((frame.token, truth, sample.lanes.to("cpu")))

    def compute_metrics(self, results: list[tuple[str, LaneGraph, LaneGraph]]) -> dict[str, float]:
        """Scores over the frames that were tested; writes the two files."""
        frames = {token: (truth, lanes) for token, truth, lanes in results}      # a frame that came twice counts once
        path = write_openlanev2_results(
            {token: lanes for token, (_, lanes) in frames.items()}, self.output_dir / RESULTS
        )
        counted = [
            (truth, lanes) for truth, lanes in frames.values()
            if not self.skip_frames_without_truth or len(truth) or len(truth.areas)
        ]
        flat = evaluate_openlanev2([truth for truth, _ in counted], [lanes for _, lanes in counted]).flat()
        write_json(self.output_dir / METRICS_FILE, flat)
        logger.info("wrote %s", path)
        return flat


def openlanev2_table(metrics: Mapping[str, float], title: str = "OpenLane-V2, average precision") -> Table:
    """A rich table of flat metrics (with or without a ``prefix/``): a line a kind, then the scores over all."""
    from rich.table import Table

    flat = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
    table = Table(title=title)
    table.add_column("kind", no_wrap=True)
    thresholds = sorted({*LANE_THRESHOLDS_M, *AREA_THRESHOLDS_M})
    for heading in (*(f"{value}m" for value in thresholds), "AP"):
        table.add_column(heading, justify="right")
    for name, title_of_row in (("AP_ls", "lane segment"), ("AP_ped", "ped_crossing"), ("AP_boundary", "road_boundary")):
        cells = [flat.get(f"{name}_{value}m") for value in thresholds]
        table.add_row(title_of_row, *("" if ap is None else f"{ap:.3f}" for ap in cells), f"{flat[name]:.3f}")
    table.add_section()
    for name in ("mAP", "DET_a", "TOP_lsls"):
        table.add_row(name, *[""] * len(thresholds), f"{flat[name]:.3f}", style="bold")
    return table
