"""Token labelling: a class for each token beside that of the picture, with boxes of tokens mixed between pictures.

"All Tokens Matter: Token Labeling for Training Better Vision Transformers" (Jiang et al., NeurIPS 2021).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.registry import MODELS

Box = tuple[int, int, int, int]                      # first row, first column, row and column after the last; in tokens
NO_BOX: Box = (0, 0, 0, 0)
AGREED, DISPUTED = 0.5, 0.9                          # share of the label map's class where it is the true one, or not


class TokenLabelLogits(NamedTuple):
    """What a network gives while it learns from token labels.

    Args:
        classes: (B, K) logits of the pictures.
        tokens: (B, N, K) logits of the tokens, row by row, each from the picture that it shows.
        box: tokens that the network saw from the batch in reverse order; `NO_BOX` if none.
    """

    classes: Tensor
    tokens: Tensor
    box: Box


def random_box(rows: int, columns: int, generator: torch.Generator | None = None) -> Box:
    """A box of the grid's proportions whose share of the area is uniform in [0, 1] before it is cut at the border."""
    area, down, across = torch.rand(3, generator=generator, device="cpu").tolist()
    height, width = int(rows * math.sqrt(area)), int(columns * math.sqrt(area))
    row, column = int(rows * down), int(columns * across)
    return (
        max(row - height // 2, 0), max(column - width // 2, 0),
        min(row + height // 2, rows), min(column + width // 2, columns),
    )


def exchange_box(x: Tensor, box: Box, scale: int = 1) -> Tensor:
    """A copy of maps (B, H, W, C) in which a box comes from the batch in reverse order.

    Args:
        x: the maps.
        box: the box, in cells of ``scale`` x ``scale`` tokens.
        scale: side of a cell.
    """
    top, left, bottom, right = (scale * edge for edge in box)
    mixed = x.clone()
    mixed[:, top:bottom, left:right] = x.flip(0)[:, top:bottom, left:right]
    return mixed


@MODELS.register_module(role="loss")
class TokenLabelLoss(nn.Module):
    """Cross entropy of the pictures' and of the tokens' classes, both against soft targets.

    Args:
        class_weight: factor of the pictures' part.
        token_weight: factor of the tokens' part.
        ground_truth: let the true class count beside that of the label map, more where they agree.
    """

    def __init__(
        self, class_weight: float = 1.0, token_weight: float = 0.5, *, ground_truth: bool = False
    ) -> None:
        super().__init__()
        self.class_weight, self.token_weight, self.ground_truth = class_weight, token_weight, ground_truth

    def forward(self, raw: TokenLabelLogits, targets: Tensor) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            raw: what the network gave.
            targets: (B, K, 2 + N) probabilities: the true class, that of the label map, and those of the N tokens;
                or (B, K) for the picture and all its tokens; or (B,) int64 classes likewise.

        Raises:
            ValueError: the targets are of another shape.
        """
        B, N, K = raw.tokens.shape
        if targets.shape == (B,) and not targets.is_floating_point():
            targets = F.one_hot(targets, K).to(raw.classes.dtype)
        if targets.shape not in ((B, K), (B, K, 2 + N)):
            raise ValueError(
                f"targets must be ({B},) int64, ({B}, {K}) or ({B}, {K}, {2 + N}), "
                f"got {targets.dtype} {tuple(targets.shape)}"
            )
        if targets.dim() == 2:
            classes, tokens = targets, targets[:, None].expand(B, N, K)
        else:
            classes, tokens = self._class_targets(targets), targets[:, :, 2:].transpose(1, 2)   # (B, K), (B, N, K)
        top, left, bottom, right = raw.box
        own = 1 - (bottom - top) * (right - left) / N                                      # share of the picture itself
        classes = own * classes + (1 - own) * classes.flip(0)
        return {
            "loss_class": self.class_weight * F.cross_entropy(raw.classes.float(), classes.float()),
            "loss_token": self.token_weight * F.cross_entropy(raw.tokens.flatten(0, 1).float(), tokens.reshape(-1, K)),
        }

    def _class_targets(self, targets: Tensor) -> Tensor:
        """(B, K, 2 + N) -> (B, K)."""
        true, guessed = targets[:, :, 0], targets[:, :, 1]
        if not self.ground_truth:
            return guessed
        agreed = true.argmax(dim=1, keepdim=True) == guessed.argmax(dim=1, keepdim=True)   # (B, 1)
        share = torch.where(agreed, AGREED, DISPUTED)
        return share * guessed + (1 - share) * true
