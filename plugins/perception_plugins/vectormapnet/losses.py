"""Losses of the two networks, in float32 and normalised over all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from perception.models.losses.focal import sigmoid_focal_loss
from perception.models.losses.normalizers import sum_over_ranks, world_size

from .detector import Detections
from .matching import MatchCosts, Pairs


@dataclass(frozen=True)
class DetectorLoss:
    """Focal loss of the classes and smooth L1 of the keypoints of matched queries, in every layer.

    Args:
        costs: of matching.
        classes: weight of the focal loss.
        keypoints: weight of the keypoints' loss, which is a mean over coordinates [cells].
        beta: below this difference [cells] the loss is quadratic.
    """

    costs: MatchCosts = field(default_factory=MatchCosts)
    classes: float = 2.0
    keypoints: float = 0.1
    beta: float = 0.5

    def __call__(
        self, found: Detections, labels: Sequence[Tensor], keypoints: Sequence[Tensor]
    ) -> tuple[dict[str, Tensor], list[Pairs]]:
        """Losses by name, and the matches of the last layer in every image.

        The last layer's are "cls" and "reg", those of layer k before it "d{k}_cls" and "d{k}_reg".

        Args:
            found: of every layer.
            labels: B tensors (G_b,) int64.
            keypoints: B tensors (G_b, 2 P), cells.
        """
        losses, pairs = {}, []
        last = len(found.scores) - 1
        for layer, (scores, points) in enumerate(zip(found.scores.float(), found.keypoints.float(), strict=True)):
            pairs = [self.costs.pairs(*image) for image in zip(scores, points, labels, keypoints, strict=True)]
            name = "" if layer == last else f"d{layer}_"
            losses[f"{name}cls"], losses[f"{name}reg"] = self.of_layer(scores, points, labels, keypoints, pairs)
        return losses, pairs

    def of_layer(
        self,
        scores: Tensor,
        points: Tensor,
        labels: Sequence[Tensor],
        keypoints: Sequence[Tensor],
        pairs: Sequence[Pairs],
    ) -> tuple[Tensor, Tensor]:
        """Loss of the classes and of the keypoints of (B, Q, K) logits and (B, Q, 2 P) cells, for given matches."""
        target, difference, count = torch.zeros_like(scores), scores.new_zeros(()), 0
        for b, (queries, truths) in enumerate(pairs):
            target[b, queries, labels[b][truths]] = 1.0
            smooth = F.smooth_l1_loss(points[b, queries], keypoints[b][truths], beta=self.beta, reduction="sum")
            difference, count = difference + smooth / points.shape[2], count + len(queries)
        matched = (sum_over_ranks(scores.new_tensor(float(count))) / world_size()).clamp(min=1.0)
        focal = sigmoid_focal_loss(scores, target, self.costs.alpha, self.costs.gamma)
        return self.classes * focal / matched, self.keypoints * difference / matched


def token_log_probabilities(logits: Tensor, tokens: Tensor) -> Tensor:
    """(L, T, vocabulary) logits and (L, T) int64 tokens -> (L, T) log of the probability of each token."""
    return logits.log_softmax(dim=2).gather(2, tokens[:, :, None])[:, :, 0]


def weighted_log_loss(logits: Tensor, tokens: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Sum of the weighted negative log probabilities of the tokens where ``mask`` (L, T) is True."""
    log_probability = token_log_probabilities(logits, tokens)
    return -(log_probability.where(mask, 0.0) * weights).sum()


def length_chunks(lengths: Tensor) -> list[Tensor]:
    """Cut lines into a short and a long part so that padding each to its longest line wastes the least.

    Args:
        lengths: (L,) int64.

    Returns:
        Row numbers of each part; one part if there is nothing to save.
    """
    order = lengths.argsort()
    if len(order) < 2:
        return [order]
    rising = lengths[order]
    saved = torch.arange(1, len(order), device=lengths.device) * (rising[-1] - rising[:-1])
    best = int(saved.argmax())
    return [order] if not int(saved[best]) else [order[: best + 1], order[best + 1 :]]
