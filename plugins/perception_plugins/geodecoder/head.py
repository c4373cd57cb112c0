"""The heads: learned queries of scenes and hierarchies, a decoder, and the cells of the likeliest scene.

Clark et al., "Where We Are and What We're Looking At: Query Based Worldwide Image Geo-localization Using Hierarchies
and Scenes", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.geo_inference import GeoLogits
from perception.registry import MODELS

from .decoder import HierarchyDecoder
from .legacy import LegacyDecoder
from .losses import known_cross_entropy


class PyramidTokens(nn.Module):
    """Maps of several widths -> one row of tokens; the last map's come first.

    The last map stays as it is if it has the tokens' width; others are normalised and projected.

    Args:
        in_channels: widths of the maps.
        channels: width C of the tokens.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        last = len(in_channels) - 1
        self.project = nn.ModuleList(
            nn.Identity() if number == last and width == channels
            else nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))
            for number, width in enumerate(in_channels)
        )

    def forward(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens (B, N_i, C_i) of each map -> (B, sum of N_i, C)."""
        parts = [project(part) for project, part in zip(self.project, tokens, strict=True)]
        return torch.cat(parts[::-1], dim=1)


class SceneQueryHead(nn.Module):
    """Queries of S kinds of scene and H hierarchies; those of the likeliest scene tell the cells.

    The logit of a scene is the mean of channel 0 of its queries. Which scene it is, is the model's own choice in
    training too; through that choice no gradient flows, so scenes are learned from their labels alone.

    Args:
        in_channels: widths of the backbone's maps.
        num_classes: cells of each hierarchy, coarse to fine.
        decoder: queries (B, S, H, C) and image tokens (B, N, C) -> queries.
        num_scenes: kinds of scene; 3, 16 or 365 of Places365 in the paper, 1 for none.
        channels: token width C.
        hierarchy_weights: factor of each hierarchy's loss; None is 1 for all, as in the paper.
        label_smoothing: of the cells' losses.
        scene_smoothing: of the scenes' loss.

    Raises:
        ValueError: there is no hierarchy, scene or map, or there are not as many weights as hierarchies.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: Sequence[int],
        decoder: nn.Module,
        *,
        num_scenes: int,
        channels: int,
        hierarchy_weights: Sequence[float] | None = None,
        label_smoothing: float = 0.1,
        scene_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not in_channels or not num_classes or min(*num_classes, num_scenes) < 1:
            raise ValueError(
                "in_channels, num_classes and num_scenes must be one or more positive numbers, got "
                f"{tuple(in_channels)}, {tuple(num_classes)} and {num_scenes}"
            )
        weights = (1.0,) * len(num_classes) if hierarchy_weights is None else tuple(hierarchy_weights)
        if len(weights) != len(num_classes):
            raise ValueError(f"hierarchy_weights must be {len(num_classes)} numbers, got {weights}")
        self.num_classes, self.num_scenes = tuple(num_classes), num_scenes
        self.hierarchy_weights, self.label_smoothing, self.scene_smoothing = weights, label_smoothing, scene_smoothing
        self.tokens = PyramidTokens(in_channels, channels)
        self.queries = nn.Parameter(torch.rand(num_scenes, len(num_classes), channels))
        self.decoder = decoder
        self.classifiers = nn.ModuleList(nn.Linear(channels, count) for count in num_classes)

    def forward(self, maps: Sequence[Tensor]) -> GeoLogits:
        """Maps (B, C_i, h_i, w_i) -> `GeoLogits`."""
        return self.tell(self.tokens([part.flatten(2).transpose(1, 2) for part in maps]))

    def tell(self, tokens: Tensor) -> GeoLogits:
        """Image tokens (B, N, C) -> `GeoLogits`."""
        rows = torch.arange(len(tokens), device=tokens.device)
        queries = self.decoder(self.queries.expand(len(tokens), -1, -1, -1), tokens)       # (B, S, H, C)
        scenes = queries[..., 0].mean(dim=2)                                               # (B, S)
        scene = scenes.argmax(dim=1)
        selected = queries[rows, scene]                                                    # (B, H, C)
        parts = zip(self.classifiers, selected.unbind(1), strict=True)
        return GeoLogits(tuple(classify(query) for classify, query in parts), scenes, scene, selected)

    def loss(self, raw: GeoLogits, labels: Tensor, scenes: Tensor) -> dict[str, Tensor]:
        """Weighted losses by name: ``loss_hierarchy0``, ..., and ``loss_scene`` if there are several kinds.

        Args:
            raw: what `forward` gave.
            labels: (B, H) int64 cell in each hierarchy, -1 where a place lies in none.
            scenes: (B,) int64 kind of scene, -1 where it is unknown.
        """
        parts = zip(self.hierarchy_weights, raw.hierarchies, labels.unbind(1), strict=True)
        losses = {
            f"loss_hierarchy{number}": weight * known_cross_entropy(logits, cells, self.label_smoothing)
            for number, (weight, logits, cells) in enumerate(parts)
        }
        if self.num_scenes > 1:
            losses["loss_scene"] = known_cross_entropy(raw.scenes, scenes, self.scene_smoothing)
        return losses


@MODELS.register_module(role="geo_head")
class GeoDecoderHead(SceneQueryHead):
    """The head as the paper has it.

    Args:
        in_channels, num_classes: see `SceneQueryHead`.
        num_scenes: kinds of scene.
        channels: token width C.
        decoder: options of a `HierarchyDecoder`, such as ``num_dependent``.
        options: see `SceneQueryHead`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: Sequence[int],
        *,
        num_scenes: int = 16,
        channels: int = 1024,
        decoder: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        network = HierarchyDecoder(channels, len(num_classes), **(decoder or {}))
        super().__init__(in_channels, num_classes, network, num_scenes=num_scenes, channels=channels, **options)


@MODELS.register_module(role="geo_head")
class LegacyGeoHead(SceneQueryHead):
    """The head of the authors' public code, for weights that were trained with it.

    Args:
        in_channels, num_classes: see `SceneQueryHead`.
        num_scenes: kinds of scene.
        channels: token width C.
        decoder: options of a `LegacyDecoder`; ``legacy_chain=True`` runs it as the public code does.
        options: see `SceneQueryHead`; the public trainer has ``hierarchy_weights=(0.5, 0.3, 0.2)``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: Sequence[int],
        *,
        num_scenes: int = 16,
        channels: int = 1024,
        decoder: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        network = LegacyDecoder(channels, **(decoder or {}))
        super().__init__(in_channels, num_classes, network, num_scenes=num_scenes, channels=channels, **options)
