"""Fewer channels in convolutions that depend on each other, through torch-pruning; the extra is ``compress``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MissingExtraError
from ..registry import COMPRESSORS
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .input_modules import watch_inputs
from .last_layers import last_layers

PARTS = ("bev_backbone", "neck")                   # of a `Detector`


class _Chain(nn.Module):
    """Modules one after another, behind a convolution that stands for what gives their input of ``channels``."""

    def __init__(self, parts: Sequence[nn.Module], channels: int) -> None:
        super().__init__()
        self.source = nn.Conv2d(channels, channels, 1)
        self.parts = nn.ModuleList(parts)

    def forward(self, x: Any) -> Any:
        x = self.source(x)
        for part in self.parts:
            x = part(x)
        return x


@COMPRESSORS.register_module()
class TorchPruning(Compressor):
    """Drops the channels of smallest weight (group norm) from parts of a model, and all that depends on them.

    What the first part reads and what the last one gives keep their widths.

    Args:
        share: of the channels that go, in (0, 1).
        parts: names of modules that are run one after another.
        shapes: of the parameters and buffers that changed; found when the channels are dropped.

    Raises:
        ValueError: the share lies outside.
    """

    def __init__(
        self, share: float = 0.25, parts: Sequence[str] = PARTS, *, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> None:
        if not 0.0 < share < 1.0:
            raise ValueError(f"share must lie in (0, 1), got {share}")
        self.share, self.parts, self.shapes = share, tuple(parts), shapes

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Drop channels; one batch of data is needed to follow the maps through the parts.

        Raises:
            MissingExtraError: torch-pruning is not installed.
        """
        calibration.need("TorchPruning")
        library = _library()
        x = self._first_input(model, calibration)
        chain = _Chain([model.get_submodule(name) for name in self.parts], x.shape[1]).to(x.device)
        before = {name: value.shape for name, value in model.state_dict().items()}
        kept = last_layers(chain, lambda: chain(x))
        fixed = [chain.source, *(chain.get_submodule(name) for name in kept)]
        pruner = library.pruner.BasePruner(
            chain, x, library.importance.GroupMagnitudeImportance(p=2), pruning_ratio=self.share,
            ignored_layers=fixed,
        )
        with torch.enable_grad():
            pruner.step()
        model.zero_grad()
        self.shapes = {
            name: tuple(value.shape) for name, value in model.state_dict().items() if value.shape != before[name]
        }
        step = {"type": "TorchPruning", "parts": list(self.parts), "shapes": dict(self.shapes)}
        places = {module: name for name, module in model.named_modules()}
        left = tuple(places[module] for module in fixed[1:])
        report = CompressionReport(tuple(self.shapes), left)
        return Compression(model, ConfigChanges(steps=(step,)), report)

    def restructure(self, model: nn.Module) -> nn.Module:
        """Give layers the shapes that were kept."""
        for name, shape in (self.shapes or {}).items():
            path, _, key = name.rpartition(".")
            resize(model.get_submodule(path), key, shape)
        return model

    def _first_input(self, model: nn.Module, calibration: Calibration) -> Tensor:
        first, seen = self.parts[0], dict[str, Tensor]()
        one = Calibration(calibration.batches[:1])
        watch_inputs(model, (type(model.get_submodule(first)),), one, lambda name, x: seen.setdefault(name, x.clone()))
        if first not in seen:
            raise ValueError(f"{first} did not run on the calibration data")
        return seen[first]


def resize(layer: nn.Module, key: str, shape: Sequence[int]) -> None:
    """Give a layer a parameter or buffer of another shape, zeros, and the widths that follow from it.

    Raises:
        ValueError: the layer is no convolution, linear layer or batch normalisation.
    """
    old: Tensor = getattr(layer, key)
    new = old.new_zeros(tuple(shape))
    setattr(layer, key, nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new)
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        layer.num_features = shape[0]
    elif key == "weight":
        _resize_widths(layer, shape)


def _resize_widths(layer: nn.Module, shape: Sequence[int]) -> None:
    if isinstance(layer, nn.Linear):
        layer.out_features, layer.in_features = shape
    elif isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)) and layer.groups == 1:
        layer.in_channels, layer.out_channels = shape[:2]
    elif isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        if layer.groups == layer.in_channels and layer.groups > 1:
            layer.groups = shape[0]                # one filter a channel: as many groups as there are channels
        layer.out_channels, layer.in_channels = shape[0], shape[1] * layer.groups
    else:
        raise ValueError(f"no rule for the widths of {layer}")


def _library() -> Any:
    try:
        import torch_pruning
    except ImportError as error:
        raise MissingExtraError("compress", "the compressor TorchPruning") from error
    return torch_pruning
