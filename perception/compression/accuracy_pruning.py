"""Pruning by the loss of a model's own task, as a compressor.

"AxFormer: Accuracy-driven Approximation of Transformers for Faster, Smaller and more Accurate NLP Models" (2020).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from perception.registry import COMPRESSORS

from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .pruning.apply import apply_masks
from .pruning.by_accuracy import prune_by_accuracy
from .pruning.masks import PruningMasks


@COMPRESSORS.register_module()
class AccuracyPruning(Compressor):
    """Leaves out the heads, hidden channels and branches without which the loss of calibration frames falls.

    The more frames, the less the search fits itself to them; `prune_by_accuracy` tells more.

    Args:
        masks: what goes, as `PruningMasks.to_dict` gives it; None searches.
        num_groups: groups of the hidden channels of a feed-forward part; they divide its width.
        top_k: keys that hard attention keeps.
        refine_factor, vote, tolerance: of the search; its loss must fall unless there is a tolerance.
        refit: fit what reads heads and hidden channels to those that stay; see `prune_by_accuracy`.
    """

    def __init__(
        self, masks: Mapping[str, Any] | None = None, *, num_groups: int = 8, top_k: int = 30,
        refine_factor: float = 1.1, vote: float = 0.5, tolerance: float = 0.0, refit: bool = False,
    ) -> None:
        self.masks = None if masks is None else PruningMasks.from_dict(masks)
        self.num_groups, self.top_k = num_groups, top_k
        self.refine_factor, self.vote, self.tolerance, self.refit = refine_factor, vote, tolerance, refit

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Search and prune; annotated frames are needed.

        Raises:
            ValueError: there are none, or the model has no layers that can be pruned.
        """
        calibration.need("AccuracyPruning")
        frames = [batch["data_samples"] for batch in calibration.batches]
        pruned = prune_by_accuracy(
            model, frames, num_groups=self.num_groups, top_k=self.top_k, refine_factor=self.refine_factor,
            vote=self.vote, tolerance=self.tolerance, refit=self.refit,
        )
        step = {
            "type": "AccuracyPruning", "masks": pruned.masks.to_dict(), "num_groups": self.num_groups,
            "top_k": self.top_k,
        }
        notes = {
            "share_pruned": pruned.masks.share_pruned(), "loss_before": pruned.search.base_losses.mean().item(),
            "loss_after": pruned.search.loss, "evaluations": len(pruned.search.trace),
        }
        report = CompressionReport(("attention heads", "hidden channels"), notes=notes)
        return Compression(pruned.model, ConfigChanges(steps=(step,)), report)

    def restructure(self, model: nn.Module) -> nn.Module:
        """The same parts left out of a new model. Raises ValueError if no masks were told."""
        if self.masks is None:
            raise ValueError("AccuracyPruning builds a model anew from its masks, got none")
        return apply_masks(model, self.masks, num_groups=self.num_groups, top_k=self.top_k)
