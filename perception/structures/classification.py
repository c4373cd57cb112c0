"""What a picture as a whole shows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class ClassPrediction:
    """How likely a picture is of each class.

    Args:
        token: the frame's name, as in `Frame.token`.
        timestamp_ns: the frame's time.
        scores: (K,) float32 probability of each class.
        class_names: names of the K classes; empty if they are those of the data set.

    Raises:
        ValueError: the scores are not (K,) of at least one class, or there is not a name for each.
    """

    token: str
    timestamp_ns: int
    scores: Tensor
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.scores.dim() != 1 or not len(self.scores):
            raise ValueError(f"scores must be (K,) with K >= 1, got {tuple(self.scores.shape)}")
        if self.class_names and len(self.class_names) != len(self.scores):
            raise ValueError(f"{len(self.class_names)} class names for {len(self.scores)} scores")

    @property
    def label(self) -> int:
        """The most likely class."""
        return int(self.scores.argmax())

    def best(self, count: int = 5) -> list[tuple[int, float]]:
        """The most likely classes with their scores, best first; all if there are fewer than ``count``."""
        scores, labels = self.scores.topk(min(count, len(self.scores)))
        return list(zip(labels.tolist(), scores.tolist(), strict=True))
