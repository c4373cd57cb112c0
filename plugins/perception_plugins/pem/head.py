"""PEM's head: a pixel decoder, a decoder of queries, their losses, and what they say of a picture.

"PEM: Prototype-based Efficient MaskFormer for Image Segmentation" (Cavagnero et al., CVPR 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from perception.models.image_data_preprocessor import PictureSize
from perception.models.sliding_window import resize_maps
from perception.registry import MODELS
from perception.structures import SegmentationPredictions, Segments

from .decoder import MaskPredictions, PrototypeDecoder
from .mask_loss import MaskLoss
from .pixel_classifier import PixelClassifier
from .post_processing import instances, panoptic_map, semantic_scores


@MODELS.register_module(role="seg_head")
class PEMHead(nn.Module):
    """Masks and classes of learned queries.

    Args:
        in_channels: widths of the backbone's maps of strides 4, 8, 16 and 32.
        num_classes: K.
        pixel_decoder: config of a decoder that gives mask features and levels, such as `PEMPixelDecoder`'s.
        decoder: arguments of the `PrototypeDecoder` other than its widths and classes.
        loss: arguments of the `MaskLoss`.
        pixel_classes: arguments of a `PixelClassifier` that teaches the mask features classes; None, as published, goes
            without.
        things: classes whose instances are told apart; None for a head that scores classes alone.
        object_threshold, overlap_threshold: see `panoptic_map`.
        max_instances: see `instances`.

    Raises:
        ValueError: a thing is not one of the K classes.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        num_classes: int,
        *,
        pixel_decoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        loss: Mapping[str, Any] | None = None,
        pixel_classes: Mapping[str, float] | None = None,
        things: Sequence[int] | None = None,
        object_threshold: float = 0.8,
        overlap_threshold: float = 0.8,
        max_instances: int = 100,
    ) -> None:
        super().__init__()
        if any(thing not in range(num_classes) for thing in things or ()):
            raise ValueError(f"things must be numbers of the {num_classes} classes, got {tuple(things or ())}")
        self.num_classes, self.things = num_classes, None if things is None else tuple(things)
        self.object_threshold, self.overlap_threshold = object_threshold, overlap_threshold
        self.max_instances = max_instances
        config = pixel_decoder or {"type": "PEMPixelDecoder"}
        self.pixel_decoder = MODELS.build(config, default_args={"in_channels": tuple(in_channels)})
        self.decoder = PrototypeDecoder(
            self.pixel_decoder.channels, self.pixel_decoder.mask_channels, num_classes,
            levels=self.pixel_decoder.levels, **(decoder or {}),
        )
        self.mask_loss = MaskLoss(num_classes, **(loss or {}))
        self.pixel_classifier: PixelClassifier | None = None
        if pixel_classes is not None:
            self.pixel_classifier = PixelClassifier(self.pixel_decoder.mask_channels, num_classes, **pixel_classes)

    def forward(self, features: Sequence[Tensor]) -> MaskPredictions:
        """Maps (B, C_i, H / s_i, W / s_i), finest first -> predictions, in training those of all stages."""
        mask_features, levels = self.pixel_decoder(features)
        found = self.decoder(mask_features, levels, auxiliary=self.training)
        if self.pixel_classifier is None or not self.training:
            return found
        return replace(found, semantic=self.pixel_classifier(mask_features))

    def loss(self, raw: MaskPredictions, segments: Sequence[Segments]) -> dict[str, Tensor]:
        """Losses by name; see `MaskLoss`. One more, "loss_semantic", is that of the `PixelClassifier`."""
        losses = self.mask_loss(raw, segments)
        if self.pixel_classifier is not None and raw.semantic is not None:
            losses["loss_semantic"] = self.pixel_classifier.loss(raw.semantic, segments)
        return losses

    @torch.no_grad()
    def decode(self, raw: MaskPredictions, sizes: Sequence[PictureSize]) -> list[SegmentationPredictions]:
        """What is to be seen in each of the B pictures, in its own size; regions and objects if things are told apart.

        Tokens and times are left empty.
        """
        found = []
        for logits, masks, size in zip(raw.logits, raw.masks.float(), sizes, strict=True):
            if self.things is None:
                classes = self.class_scores(logits, masks, size).argmax(dim=0)
                found.append(SegmentationPredictions("", 0, classes))
                continue
            masks = size.restored(masks)                                                # (Q, H, W)
            panoptic = panoptic_map(
                logits, masks, self.things, object_threshold=self.object_threshold,
                overlap_threshold=self.overlap_threshold,
            )
            objects = instances(logits, masks, things=self.things, max_instances=self.max_instances)
            classes = semantic_scores(logits, masks).argmax(dim=0)
            found.append(SegmentationPredictions("", 0, classes, panoptic, objects))
        return found

    def class_scores(self, logits: Tensor, masks: Tensor, size: PictureSize) -> Tensor:
        """Scores of the classes in one picture; as published, a head of classes alone resizes them, others the masks.

        Args:
            logits: (Q, K + 1).
            masks: (Q, h, w) logits.
            size: of the picture.

        Returns:
            (K, H, W), at least 0, in the picture's own size.
        """
        if self.things is not None:
            return semantic_scores(logits, size.restored(masks))
        return size.restored(semantic_scores(logits, resize_maps(masks[None], size.padded)[0]))
