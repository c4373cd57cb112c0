"""RMT as it classifies pictures, with the heads of the authors' ImageNet models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_linear_bn_eval

from perception.registry import MODELS

from .backbone import init_linear_layers
from .token_label import NO_BOX, TokenLabelLogits, exchange_box, random_box

CELL = 8                                             # tokens of the first stage along a token of the last


@MODELS.register_module(role="image_classifier")
class RMTClassifier(nn.Module):
    """The last map of an `RMT`, each token of it projected, then their mean classified.

    Args:
        backbone: config of the `RMT`; only its last map is used, without norm.
        num_classes: number of classes K.
        hidden: width of the projection.
    """

    def __init__(self, backbone: Mapping[str, Any], num_classes: int = 1000, *, hidden: int = 1024) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.backbone = MODELS.build(backbone, default_args={"out_indices": (3,), "out_norms": False})
        self.project = nn.Linear(self.backbone.channels[-1], hidden)
        self.norm: nn.Module = nn.BatchNorm2d(hidden)
        self.head = nn.Linear(hidden, num_classes)
        init_linear_layers(self.project)
        init_linear_layers(self.head)

    def init_weights(self) -> None:
        """Linear layers truncated normal with biases zero, those of the backbone too; others as torch has them."""
        init_linear_layers(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K). Raises ValueError as `RMT` does."""
        return self.head(self.pooled(self.backbone(images)[-1]))

    def projected(self, x: Tensor) -> Tensor:
        """Last map (B, C, h, w) -> (B, hidden, h, w)."""
        return F.silu(self.norm(self.project(x.movedim(1, -1)).movedim(-1, 1)))

    def pooled(self, x: Tensor) -> Tensor:
        """Last map (B, C, h, w) -> (B, hidden)."""
        return self.projected(x).mean(dim=(2, 3))

    def fold_batch_norm(self) -> None:
        """Give the normalisation's scale and shift to the projection; for evaluation only."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.project = fuse_linear_bn_eval(self.project, self.norm)
            self.norm = nn.Identity()


@MODELS.register_module(role="image_classifier")
class RMTTokenLabelClassifier(RMTClassifier):
    """An `RMTClassifier` with a second head that classifies each token of the last map.

    In training a box of tokens is exchanged between the pictures of a batch after the stem, and back in the logits of
    the tokens. In evaluation the best score that a token gives a class counts half.

    Args:
        backbone: see `RMTClassifier`.
        num_classes: likewise.
        hidden: likewise.
        projected_tokens: the second head reads projected tokens in place of the map's own. The authors' class reads the
            map's own; the width of the head in their weights of the small model is that of the projected ones.
        mix_tokens: exchange boxes in training.
        criterion: config of the loss; None for a `TokenLabelLoss` as published.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        num_classes: int = 1000,
        *,
        hidden: int = 1024,
        projected_tokens: bool = False,
        mix_tokens: bool = True,
        criterion: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, num_classes, hidden=hidden)
        self.projected_tokens, self.mix_tokens = projected_tokens, mix_tokens
        self.token_head = nn.Linear(hidden if projected_tokens else self.backbone.channels[-1], num_classes)
        self.criterion = MODELS.build(criterion or {"type": "TokenLabelLoss"})
        init_linear_layers(self.token_head)

    def forward(self, images: Tensor) -> Tensor | TokenLabelLogits:    # type: ignore[override]  # more in training
        """(B, 3, H, W) -> logits (B, K), in training `TokenLabelLogits`. Raises ValueError as `RMT` does."""
        if not self.training:
            classes, tokens = self.classify(self.backbone(images)[-1])
            return classes + 0.5 * tokens.flatten(1, 2).amax(dim=1)
        x = self.backbone.embed(images)                                                    # (B, H, W, C)
        box = random_box(x.shape[1] // CELL, x.shape[2] // CELL) if self.mix_tokens else NO_BOX
        classes, tokens = self.classify(self.backbone.encode(exchange_box(x, box, CELL))[-1])
        return TokenLabelLogits(classes, exchange_box(tokens, box).flatten(1, 2), box)

    def classify(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Last map (B, C, h, w) -> logits of the pictures (B, K) and of the tokens (B, h, w, K)."""
        projected = self.projected(x)                                                      # (B, hidden, h, w)
        tokens = self.token_head((projected if self.projected_tokens else x).movedim(1, -1))
        return self.head(projected.mean(dim=(2, 3))), tokens

    def loss(self, raw: TokenLabelLogits, targets: Tensor) -> dict[str, Tensor]:
        """Losses by name, of what training gave; targets as `TokenLabelLoss` takes them."""
        return self.criterion(raw, targets)
