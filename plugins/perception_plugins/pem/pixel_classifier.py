"""Classes of pixels, read from the mask features themselves, as a further lesson in training.

Not published for PEM: kMaX-DeepLab (Yu et al., ECCV 2022) and its forerunners have such a loss, which brings a dense
signal from the first iteration on. Trainings of minutes without weights to begin with need it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.models.losses.ohem import ohem_cross_entropy
from perception.structures import Segments


class PixelClassifier(nn.Module):
    """A linear layer over the mask features, and its loss over the pixels that are hard for it.

    Args:
        in_channels: width of the mask features.
        num_classes: K.
        weight: of the loss.
        threshold: see `ohem_cross_entropy`.
        kept_share: share of the pixels that are learned from however easy they are.

    Raises:
        ValueError: ``kept_share`` lies outside [0, 1].
    """

    def __init__(
        self, in_channels: int, num_classes: int, *, weight: float = 1.0, threshold: float = 0.7,
        kept_share: float = 0.25,
    ) -> None:
        super().__init__()
        if not 0.0 <= kept_share <= 1.0:
            raise ValueError(f"kept_share must lie in [0, 1], got {kept_share}")
        self.weight, self.threshold, self.kept_share = weight, threshold, kept_share
        self.classify = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, mask_features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, K, h, w) logits."""
        return self.classify(mask_features)

    def loss(self, logits: Tensor, segments: Sequence[Segments]) -> Tensor:
        """Weighted loss of the logits against the segments of the B pictures, of any size of the same ratio.

        Pixels of no segment do not count.
        """
        truth = torch.stack([one.classes() for one in segments])                        # (B, H, W)
        size = (logits.shape[2], logits.shape[3])
        if truth.shape[1:] != size:                  # the pixel nearest to the centre of each cell
            truth = F.interpolate(truth[:, None].float(), size, mode="nearest-exact")[:, 0].long()
        kept = int(self.kept_share * truth.numel())
        return self.weight * ohem_cross_entropy(logits.float(), truth, threshold=self.threshold, min_kept=kept)
