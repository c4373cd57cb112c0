"""IoU of predictions with the ground truth of their frames by Waymo's rules.

Kept is an IoU above 0 only, so nearly all pairs cost no more than a look at the distance of their centres. A pair has
IoU 0 if the types differ, if a dimension is at most 0.01 m or at least 1e6 m, or if nothing is shared. In 2D, heights
and z are not looked at. The intersection is exact; stored is float32, as the official tool does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perception_ops.upright_iou import upright_iou_pairs

from .coincident import lost_by_reference
from .objects import TYPES, WaymoObjects, frame_numbers

BOX_TYPES = ("3d", "2d")
LEAST_SIZE_M, MOST_SIZE_M = 0.01, 1e6
_PAIRS_AT_ONCE = 1 << 21   # about 100 MB of temporaries
_GROUPS = len(TYPES) + 1   # groups of a frame: one a type


@dataclass(frozen=True, eq=False)
class FramedObjects:
    """Predictions and ground truth in the order in which they are matched.

    Args:
        predictions: frame by frame, by falling score within each, in file order among equal scores.
        truths: frame by frame, by type within each, in file order among equal types.
        frame_starts: (F + 1,) int64 first prediction of each frame, and their number.
        prediction_frames: (P,) int64.
        truth_frames: (T,) int64, rising.
        prediction_places: (P,) int64 place in the frame, in file order.
        truth_places: (T,) int64, likewise.
    """

    predictions: WaymoObjects
    truths: WaymoObjects
    frame_starts: np.ndarray
    prediction_frames: np.ndarray
    truth_frames: np.ndarray
    prediction_places: np.ndarray
    truth_places: np.ndarray

    @classmethod
    def of(cls, truths: WaymoObjects, predictions: WaymoObjects) -> FramedObjects:
        """Bring both into order; frames that only one of them speaks of count."""
        (truth_frames, prediction_frames), num_frames = frame_numbers(truths, predictions)
        by_score = np.lexsort((-predictions.scores, prediction_frames))                    # stable
        by_type = np.lexsort((truths.types, truth_frames))
        return cls(
            predictions[by_score], truths[by_type],
            np.searchsorted(prediction_frames[by_score], np.arange(num_frames + 1)),
            prediction_frames[by_score], truth_frames[by_type],
            _places(prediction_frames)[by_score], _places(truth_frames)[by_type],
        )

    @property
    def num_frames(self) -> int:
        """F."""
        return len(self.frame_starts) - 1

    def same_type_pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """All pairs (prediction, truth) of a frame and a type, in chunks, by prediction and then by truth."""
        wanted = self.prediction_frames * _GROUPS + self.predictions.types
        offered = self.truth_frames * _GROUPS + self.truths.types
        first, last = np.searchsorted(offered, wanted, "left"), np.searchsorted(offered, wanted, "right")
        ends = np.concatenate([[0], np.cumsum(last - first)])                              # (P + 1,)
        start = 0
        while start < len(wanted):
            stop = max(int(np.searchsorted(ends, ends[start] + _PAIRS_AT_ONCE, "right")) - 1, start + 1)
            counts = (last - first)[start:stop]
            prediction = np.repeat(np.arange(start, stop), counts)
            within = np.arange(len(prediction)) - np.repeat(ends[start:stop] - ends[start], counts)
            yield prediction, first[prediction] + within
            start = stop


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of a prediction and a truth of the same frame and type, by prediction and then by truth.

    Args:
        predictions: (E,) int64 rows of `FramedObjects.predictions`.
        truths: (E,) int64 rows of `FramedObjects.truths`.
        iou: (E,) float32, > 0.
    """

    predictions: np.ndarray
    truths: np.ndarray
    iou: np.ndarray

    @classmethod
    def none(cls) -> Pairs:
        """No pair at all."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))

    @classmethod
    def concatenate(cls, parts: Sequence[Pairs]) -> Pairs:
        """One after the other."""
        return cls(*(
            np.concatenate([getattr(part, name) for part in parts]) for name in ("predictions", "truths", "iou")
        ))

    def __len__(self) -> int:
        return len(self.iou)

    def __getitem__(self, rows: np.ndarray) -> Pairs:
        """Some of the pairs: by mask or int64 index."""
        return Pairs(self.predictions[rows], self.truths[rows], self.iou[rows])


def overlapping_pairs(objects: FramedObjects, *, box_type: str = "3d", coincident_boxes: str = "exact") -> Pairs:
    """The pairs that share something.

    Args:
        objects: predictions and truths.
        box_type: "3d", or "2d" for what is seen from above.
        coincident_boxes: "exact", or "reference" for the official tool's mistake, see `coincident`.
    """
    bev = box_type == "2d"
    parts = [Pairs.none()]
    for chunk in objects.same_type_pairs():
        boxes = objects.predictions.boxes, objects.truths.boxes
        near = are_near(boxes[0], boxes[1], *chunk)
        prediction, truth = (rows[near] for rows in chunk)
        iou = pair_iou(boxes[0], boxes[1], prediction, truth, bev=bev)
        if coincident_boxes == "reference":
            iou[lost_by_reference(boxes[0][prediction], boxes[1][truth])] = 0
        parts.append(Pairs(prediction, truth, iou)[iou > 0])
    return Pairs.concatenate(parts)


def are_near(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(E,) bool, whether the circles around two rectangles touch; where they do not, nothing is shared.

    Args:
        a: (K, 7) boxes.
        b: (L, 7) boxes.
        first: (E,) rows of ``a``.
        second: (E,) rows of ``b``.
    """
    reach_a, reach_b = (np.hypot(boxes[:, 3], boxes[:, 4]) / 2 for boxes in (a, b))
    squared = np.square(a[first, 0] - b[second, 0]) + np.square(a[first, 1] - b[second, 1])
    return squared <= np.square(reach_a[first] + reach_b[second]) * (1 + 1e-12)            # rounding must not lose one


def pair_iou(a: np.ndarray, b: np.ndarray, first: np.ndarray, second: np.ndarray, *, bev: bool) -> np.ndarray:
    """(E,) float32 IoU of box ``first[i]`` of ``a`` with box ``second[i]`` of ``b`` by the rules of this file."""
    iou = upright_iou_pairs(a, b, first, second, bev=bev).astype(np.float32)
    iou[~(have_size(a, bev)[first] & have_size(b, bev)[second])] = 0
    return iou


def have_size(boxes: np.ndarray, bev: bool) -> np.ndarray:
    """(N, 7) -> (N,) bool, whether a box can overlap with anything."""
    sizes = boxes[:, 3:5] if bev else boxes[:, 3:6]
    return ((sizes > LEAST_SIZE_M) & (sizes < MOST_SIZE_M)).all(1)


def _places(frames: np.ndarray) -> np.ndarray:
    """(N,) how many earlier rows have the same frame."""
    order = np.argsort(frames, kind="stable")
    ordered = frames[order]
    places = np.empty(len(frames), np.int64)
    places[order] = np.arange(len(frames)) - np.searchsorted(ordered, ordered)
    return places
