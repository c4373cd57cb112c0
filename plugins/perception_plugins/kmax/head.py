"""The head of kMaX-DeepLab: a pixel decoder, k-means layers and, in training, a semantic branch.

"k-means Mask Transformer" (Yu et al., ECCV 2022).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from perception.models.image_data_preprocessor import PictureSize
from perception.registry import MODELS
from perception.structures import SegmentationPredictions, Segments

from .cluster_targets import true_segments
from .decoding import PanopticRule, instances, masks_in_image, panoptic_map, pixel_shares, semantic_scores
from .kmeans_decoder import KMeansDecoder
from .losses import KMaXLoss
from .pixel_decoder import PixelDecoder
from .predictor import ClusterPredictions
from .semantic_branch import FullSemanticBranch, LightSemanticBranch, PixelSemanticBranch

BRANCHES = {"full": FullSemanticBranch, "light": LightSemanticBranch, "pixel": PixelSemanticBranch}
BRANCH_MAPS = (0, 2, 3)                              # of the maps in the pixel decoder's order
READ_MAPS = 3                                        # stages of the pixel decoder that the k-means layers read


@MODELS.register_module(role="seg_head")
class KMaXHead(nn.Module):
    """Mutually exclusive masks with a class each, things and stuff alike, from maps of any size.

    The axial attention reaches over 255 places a side: at stride 16, images of 4080 pixels.

    Args:
        in_channels: widths of the backbone's maps, finest first.
        num_classes: real classes K.
        num_queries: clusters N.
        pixel_decoder: arguments of `PixelDecoder` but its widths; one stage a map.
        decoder: arguments of `KMeansDecoder`: ``layers``, ``channels``, ``base_channels``, ``hidden`` ...
        semantic_branch: "full", "light", "pixel" or None for none.
        semantic_channels: widths of the branch.
        map_order: positions of the backbone's maps, coarsest first; None reverses them. The released Cityscapes model
            over ResNet-50 reads its stem before the stage of the same stride: (4, 3, 2, 0, 1).
        loss: arguments of `KMaXLoss`.
        panoptic: thresholds of merging, arguments of `PanopticRule`.
        things: classes whose instances are told apart.
        max_instances: pairs of cluster and class that become instances, at most.

    Raises:
        ValueError: the branch is another, or ``map_order`` is no permutation of the maps, of which there are four at
            least.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        num_queries: int = 128,
        pixel_decoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        semantic_branch: str | None = "full",
        semantic_channels: Sequence[int] = (256, 64, 32),
        map_order: Sequence[int] | None = None,
        loss: Mapping[str, Any] | None = None,
        panoptic: Mapping[str, float] | None = None,
        things: Collection[int] = (),
        max_instances: int = 100,
    ) -> None:
        super().__init__()
        if semantic_branch is not None and semantic_branch not in BRANCHES:
            raise ValueError(f'semantic_branch must be one of {", ".join(BRANCHES)} or None, got {semantic_branch!r}')
        count = len(in_channels)
        self.map_order = tuple(range(count)[::-1] if map_order is None else map_order)
        if count <= READ_MAPS or sorted(self.map_order) != list(range(count)):
            raise ValueError(f"map_order must order {count} maps, four at least, got {self.map_order}")
        if num_classes < 1 or num_queries < 1:
            raise ValueError(f"num_classes and num_queries must be > 0, got {num_classes} and {num_queries}")
        widths = [in_channels[position] for position in self.map_order]
        self.num_classes, self.num_queries = num_classes, num_queries
        self.pixel_decoder = PixelDecoder(widths, **(pixel_decoder or {}))
        read = (*self.pixel_decoder.channels[:READ_MAPS], self.pixel_decoder.channels[-1])
        self.decoder = KMeansDecoder(read, num_classes, num_queries=num_queries, **(decoder or {}))
        self.branch_reads_pixels = semantic_branch == "pixel"
        self.semantic_branch: nn.Module | None = None
        if semantic_branch is not None:
            branch_widths = read[-1:] if self.branch_reads_pixels else [widths[place] for place in BRANCH_MAPS]
            self.semantic_branch = BRANCHES[semantic_branch](branch_widths, num_classes, semantic_channels)
        self.criterion = KMaXLoss(**(loss or {}))
        self.panoptic, self.things, self.max_instances = PanopticRule(**(panoptic or {})), tuple(things), max_instances

    def forward(self, features: Sequence[Tensor]) -> ClusterPredictions:
        """Maps (B, C_i, H / s_i, W / s_i) of the backbone -> predictions at stride 4; layers and branch in training.

        Raises:
            ValueError: there is another number of maps, or a map exceeds the reach of the axial attention.
        """
        if len(features) != len(self.map_order):
            raise ValueError(f"features must be {len(self.map_order)} maps, got {len(features)}")
        maps = [features[position] for position in self.map_order]
        decoded = self.pixel_decoder(maps)
        final, layers = self.decoder((*decoded[:READ_MAPS], decoded[-1]))
        if not self.training:
            return final
        semantic = None
        if self.semantic_branch is not None:
            read = decoded[-1:] if self.branch_reads_pixels else [maps[place] for place in BRANCH_MAPS]
            semantic = self.semantic_branch(read)
        size = final.masks.shape
        return replace(final, auxiliary=tuple(layer.resized(size) for layer in layers), semantic=semantic)

    def loss(self, raw: ClusterPredictions, segments: Sequence[Segments]) -> dict[str, Tensor]:
        """Weighted losses by name against the segments of the B images, each at the size of its image.

        Raises:
            ValueError: there are not B of them, a label is no class, or an image exceeds the predictions.
        """
        if len(segments) != len(raw.logits):
            raise ValueError(f"segments must be of {len(raw.logits)} images, got {len(segments)}")
        for image, found in enumerate(segments):
            bad = [label for label in found.labels.tolist() if not 0 <= label < self.num_classes]
            if bad:
                raise ValueError(f"segments[{image}].labels must lie in [0, {self.num_classes}), got {bad[0]}")
        h, w = raw.masks.shape[2:]
        return self.criterion(raw, [true_segments(found, (h, w)) for found in segments])

    def decode(self, raw: ClusterPredictions, sizes: Sequence[PictureSize]) -> list[SegmentationPredictions]:
        """What is to be seen in each of the B pictures, in its own size; tokens and times are left empty."""
        found = []
        for logits, clusters, size in zip(raw.logits, raw.masks, sizes, strict=True):
            shares = pixel_shares(masks_in_image(clusters, size.padded, size.used, size.own))          # (N, H, W)
            found.append(SegmentationPredictions(
                "", 0, semantic_scores(logits, shares).argmax(dim=0),
                panoptic_map(logits, shares, self.things, self.panoptic).prediction(),
                instances(logits, shares, things=self.things, top_k=self.max_instances, pixel=self.panoptic.pixel),
            ))
        return found
