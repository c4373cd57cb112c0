"""A plain model of chosen widths out of a nested one, as a compressor."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from perception.compression.compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from perception.compression.norm_statistics import estimate_statistics
from perception.registry import COMPRESSORS

from .elastic import checked_widths, extract, nested_layers, parameters_at
from .profiles import balanced_profiles, within_budget


@COMPRESSORS.register_module()
class NestedExtraction(Compressor):
    """Mix'n'Match (MatFormer, section 3.3): the widths that are told, or the best balanced ones within a budget.

    Args:
        widths: hidden units, one number for all nested nets or one for each; or
        parameters: of the whole model at most; of the balanced profiles within it, the dearest are scored.
        tries: how many of these are scored, where the calibration can score; else the dearest is taken.
        statistics: take the running statistics of batch normalisation anew, of the calibration's frames. Those of the
            training are means over all widths; weights that learned with frozen ones (`FreezeNormHook`) rely on them.

    Raises:
        ValueError: not one of ``widths`` and ``parameters``, or ``tries`` is below 1.
    """

    def __init__(
        self, widths: int | Sequence[int] | None = None, *, parameters: int | None = None, tries: int = 5,
        statistics: bool = False,
    ) -> None:
        if (widths is None) == (parameters is None):
            raise ValueError(f"give either widths or parameters, got {widths} and {parameters}")
        if tries < 1:
            raise ValueError(f"tries must be >= 1, got {tries}")
        self.widths, self.parameters, self.tries, self.statistics = widths, parameters, tries, statistics

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Extract; data is needed for ``statistics`` alone.

        Raises:
            ValueError: there is none for them, the model has no nested net, a width is too large, or no profile is
                within the budget.
        """
        names = tuple(nested_layers(model))
        if self.statistics:
            calibration.need("NestedExtraction")
        if self.widths is not None:
            chosen = checked_widths(model, self.widths)
            small = self._extracted(model, chosen, calibration)
        else:
            small, chosen = self._best(model, calibration)
        changes = ConfigChanges(steps=({"type": "NestedExtraction", "widths": chosen},))
        return Compression(small, changes, CompressionReport(names, notes={"widths": chosen}))

    def restructure(self, model: nn.Module) -> nn.Module:
        """The plain model of the widths that were told. Raises ValueError if there were none."""
        if self.widths is None:
            raise ValueError("NestedExtraction builds a model anew from its widths, got a budget")
        return extract(model, self.widths)

    def _best(self, model: nn.Module, calibration: Calibration) -> tuple[nn.Module, list[int]]:
        layers = list(nested_layers(model).values())
        if len({layer.widths for layer in layers}) > 1:
            raise ValueError("a budget wants nested nets that are all of the same widths: give widths")
        profiles = balanced_profiles(len(layers), layers[0].widths)
        assert self.parameters is not None
        fitting = within_budget(profiles, lambda profile: parameters_at(model, profile), self.parameters)
        if not fitting:
            least = min(parameters_at(model, profile) for profile in profiles)
            raise ValueError(f"no profile has at most {self.parameters} parameters; the smallest has {least}")
        kept = fitting[: self.tries if calibration.score is not None else 1]
        models = [(self._extracted(model, one.profile, calibration), list(one.profile)) for one in kept]
        score = calibration.score
        return models[0] if score is None else max(models, key=lambda one: score(one[0]))

    def _extracted(self, model: nn.Module, widths: Sequence[int], calibration: Calibration) -> nn.Module:
        small = extract(model, widths)
        if self.statistics:
            estimate_statistics(small, calibration.batches, lambda net, batch: net(**batch, mode="tensor"))
        return small
