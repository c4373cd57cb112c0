"""Panoptic tracking of points as nuScenes scores it (Fong et al., "Panoptic nuScenes", RA-L 2022, section IV).

A label names the same object in all scans of a scene. Points without a true class are left out everywhere. What counts
as large is "more than ``min_points``" for tubes and tracks but "at least" for misses: the official code has both.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .lidar_panoptic import (
    FIRST_STUFF,
    IGNORED,
    MIN_POINTS,
    NUM_CLASSES,
    SPAN,
    LidarPanopticQuality,
    LidarPanopticScores,
    Segments,
    segment_pairs,
)
from .pair_counts import mean_or_nan, pair_counts, ratio, rows_of, sums_by_label

UNMATCHED = 0                                               # label that stands for "no prediction" in a track


@dataclass(frozen=True, eq=False)
class LidarTrackingScores:
    """Scores of whole scenes, in 0..1 as far as they are bounded; what is 0/0 is 0.

    Args:
        panoptic: scores of the scans for themselves.
        ptq: (17,) panoptic tracking quality: every switch of a true object's prediction costs 1.
        sptq: (17,) its soft form: every switch costs its IoU.
        id_switches: (17,) int64.
        occurs: (17,) bool, classes with true segments, over which PTQ and sPTQ are averaged.
        tq: tracking quality, mean over the tracks of things.
        association: S_assoc, mean over the tubes of things.
        motsa: mean over the things that occur, as ``smotsa`` and ``motsp``; NaN if none does.
        smotsa: with the IoU of the matches for their number.
        motsp: mean IoU of the matches.
    """

    panoptic: LidarPanopticScores
    ptq: np.ndarray
    sptq: np.ndarray
    id_switches: np.ndarray
    occurs: np.ndarray
    tq: float
    association: float
    motsa: float
    smotsa: float
    motsp: float

    def summary(self) -> dict[str, float]:
        """PAT, PQ, TQ, PTQ, sPTQ, LSTQ, mIoU, S_assoc, MOTSA, sMOTSA and MOTSP."""
        means = self.panoptic.means()
        pq, miou = means["PQ"], means["mIoU"]
        return {
            "PAT": float(ratio(2 * pq * self.tq, pq + self.tq, empty=0.0)), "PQ": pq, "TQ": self.tq,
            "PTQ": mean_or_nan(self.ptq[self.occurs]), "sPTQ": mean_or_nan(self.sptq[self.occurs]),
            "LSTQ": float(np.sqrt(self.association * miou)), "mIoU": miou, "S_assoc": self.association,
            "MOTSA": self.motsa, "sMOTSA": self.smotsa, "MOTSP": self.motsp,
        }


class LidarPanopticTracking:
    """Counts of segments, id switches, tubes and tracks.

    Args:
        num_classes: with the ignored one, 0.
        first_stuff: classes from this one on are stuff.
        min_points: see the head of this file.
    """

    def __init__(
        self, num_classes: int = NUM_CLASSES, first_stuff: int = FIRST_STUFF, min_points: int = MIN_POINTS
    ) -> None:
        self.quality = LidarPanopticQuality(num_classes, first_stuff, min_points)
        self.id_switches, self.switched_iou = np.zeros(num_classes, np.int64), np.zeros(num_classes)
        self.association_sum, self.num_tubes = 0.0, 0
        self.track_sum, self.num_tracks = 0.0, 0

    def update(
        self,
        truth: Sequence[npt.ArrayLike],
        predictions: Sequence[npt.ArrayLike],
        true_classes: Sequence[npt.ArrayLike] | None = None,
    ) -> None:
        """Count one scene.

        Args:
            truth: (N_t,) true labels of each of its scans, in order.
            predictions: (N_t,) predicted labels likewise.
            true_classes: (N_t,) challenge classes likewise, see `LidarPanopticQuality.update`.

        Raises:
            ValueError: numbers of scans or of points differ, or a label or a class is unknown.
        """
        classes = [None] * len(truth) if true_classes is None else list(true_classes)
        if not len(truth) == len(predictions) == len(classes):
            raise ValueError(f"truth and predictions must have as many scans, got {len(truth)} and {len(predictions)}")
        scans = [
            segment_pairs(*scan, self.quality.num_classes) for scan in zip(truth, predictions, classes, strict=True)
        ]
        for pairs in scans:
            self.quality.add(pairs)
        segments = [Segments.of_pairs(pairs[pairs.first // SPAN != IGNORED]) for pairs in scans]
        for before, now in itertools.pairwise(segments):
            self._add_switches(before, now)
        self._add_tubes(segments)
        self._add_tracks(segments)

    def _add_switches(self, before: Segments, now: Segments) -> None:
        """Things that are matched in both scans, by another prediction in the second."""
        matched = [scan.is_match & (scan.true_class == scan.found_class) for scan in (before, now)]
        matched[1] &= self._is_thing(now.pairs.first)
        earlier, later = before.pairs[matched[0]], now.pairs[matched[1]]
        row = rows_of(later.first, earlier.first)
        switched = row >= 0
        switched[switched] = earlier.second[row[switched]] != later.second[switched]
        classes, iou = later.first[switched] // SPAN, now.iou[matched[1]][switched]
        self.id_switches += np.bincount(classes, minlength=self.quality.num_classes)
        self.switched_iou += np.bincount(classes, weights=iou, minlength=self.quality.num_classes)

    def _add_tubes(self, scans: Sequence[Segments]) -> None:
        """How well the points of each true thing over the scene are those of one prediction."""
        true, true_sizes = sums_by_label(*self._large_things([scan.pairs.firsts() for scan in scans]))
        found, found_sizes = sums_by_label(*self._large_things([scan.pairs.seconds() for scan in scans]))
        shared = [scan.pairs[scan.true_sizes > self.quality.min_points] for scan in scans]
        t = rows_of(_joined([pairs.first for pairs in shared]), true)
        f = rows_of(_joined([pairs.second for pairs in shared]), found)
        points = _joined([pairs.counts for pairs in shared])
        both = (t >= 0) & (f >= 0)
        codes, common = sums_by_label(t[both] * len(found) + f[both], points[both])
        t, f = np.divmod(codes, len(found))
        iou = common / (true_sizes[t] + found_sizes[f] - common)
        self.association_sum += float((common * iou / true_sizes[t]).sum())
        self.num_tubes += len(true)

    def _add_tracks(self, scans: Sequence[Segments]) -> None:
        """How long, and how steadily, each true thing is found as one prediction, whatever its class."""
        labels = [self._large_things([scan.pairs.firsts()])[0] for scan in scans]
        order = np.argsort(_joined(labels), kind="stable")                               # by track, then by time
        found = _joined([_matches(scan, true) for scan, true in zip(scans, labels, strict=True)])[order]     # (R,)
        tracks, lengths = np.unique(_joined(labels), return_counts=True)                 # (T,)
        track = np.repeat(np.arange(len(tracks)), lengths)                               # (R,)

        changes = (found[1:] != found[:-1]) | (found[:-1] == UNMATCHED)
        switches = np.bincount(track[1:][changes & (track[1:] == track[:-1])], minlength=len(tracks))
        steadiness = 1.0 - ratio(switches, lengths - 1, empty=0.0)

        hits = pair_counts(track[found != UNMATCHED], found[found != UNMATCHED])         # (K,) scans by track and id
        seen = _joined([self._large(*scan.pairs.seconds())[0] for scan in scans])
        ids, times_large = np.unique(seen, return_counts=True)
        times = np.append(times_large, 0)[rows_of(hits.second, ids)]                     # (K,)
        spare = np.where(times > 0, times - hits.counts, 0)
        overlap = hits.counts**2 / (lengths[hits.first] + spare) / lengths[hits.first]
        association = np.bincount(hits.first, weights=overlap, minlength=len(tracks))
        self.track_sum += float(np.sqrt(association * steadiness).sum())
        self.num_tracks += len(tracks)

    def merge(self, other: LidarPanopticTracking) -> None:
        """Take in the scenes of another process. Raises ValueError if it counts otherwise."""
        self.quality.merge(other.quality)
        self.id_switches += other.id_switches
        self.switched_iou += other.switched_iou
        self.association_sum += other.association_sum
        self.num_tubes += other.num_tubes
        self.track_sum += other.track_sum
        self.num_tracks += other.num_tracks

    def compute(self) -> LidarTrackingScores:
        """Scores over all that was counted."""
        quality, switches = self.quality, self.id_switches
        weight, truth = quality.tp + quality.fp / 2 + quality.fn / 2, quality.tp + quality.fn
        things = self._is_thing(np.arange(quality.num_classes) * SPAN) & (truth > 0)
        motsa = ratio(quality.tp - quality.fp - switches, truth)
        smotsa = ratio(quality.iou_sum - quality.fp - switches, truth)
        motsp = ratio(quality.iou_sum, quality.tp, empty=0.0)
        return LidarTrackingScores(
            panoptic=quality.compute(),
            ptq=ratio(quality.iou_sum - switches, weight, empty=0.0),
            sptq=ratio(quality.iou_sum - self.switched_iou, weight, empty=0.0),
            id_switches=switches.copy(), occurs=truth > 0,
            tq=float(ratio(self.track_sum, self.num_tracks, empty=0.0)),
            association=float(ratio(self.association_sum, self.num_tubes, empty=0.0)),
            motsa=mean_or_nan(motsa[things]), smotsa=mean_or_nan(smotsa[things]), motsp=mean_or_nan(motsp[things]),
        )

    def _is_thing(self, labels: np.ndarray) -> np.ndarray:
        classes = labels // SPAN
        return (classes != IGNORED) & (classes < self.quality.first_stuff)

    def _large(self, labels: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        keep = sizes > self.quality.min_points
        return labels[keep], sizes[keep]

    def _large_things(self, scans: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and sizes of the large segments of things, one scan after the other."""
        labels, sizes = (_joined(list(column)) for column in zip(*(self._large(*scan) for scan in scans), strict=True))
        is_thing = self._is_thing(labels)
        return labels[is_thing], sizes[is_thing]


def _matches(scan: Segments, labels: np.ndarray) -> np.ndarray:
    """Label of the prediction that overlaps each true label by an IoU above 0.5; `UNMATCHED` if none does."""
    matched = scan.pairs[scan.is_match]
    return np.append(matched.second, UNMATCHED)[rows_of(labels, matched.first)]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *parts])
