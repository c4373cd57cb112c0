"""Self-training: a segmentor learns from labelled pictures, and from unlabelled ones that its own average labels.

"DAFormer: Improving Network Architectures and Training Strategies for Domain-Adaptive Semantic Segmentation"
(Hoyer et al., CVPR 2022), section 3, after DACS (Tranheden et al., WACV 2021).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_rank
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn

from perception.engine.checkpoint import load_checkpoint, load_weights
from perception.errors import ConfigError
from perception.models.image_data_preprocessor import ImageDataPreprocessor
from perception.models.losses.weighted_cross_entropy import pixel_accuracy, weighted_cross_entropy
from perception.models.segmentor import Segmentor
from perception.models.stage import Stage
from perception.registry import MODELS
from perception.structures import Frame, PixelLabels, SegmentationPredictions

from .class_mix import Random, class_mix
from .feature_distance import FeatureDistance
from .mix_augmentation import MixAugmentation
from .pairs import SourceTargetPair
from .teacher import PseudoLabels, leave_nothing_to_chance, pseudo_labels, teacher_momentum, update_teacher


class PairDataPreprocessor(BaseDataPreprocessor):
    """Source and target pictures of pairs; a batch of frames goes to the student's own preprocessor.

    Args:
        pictures: that preprocessor.
    """

    def __init__(self, pictures: ImageDataPreprocessor) -> None:
        super().__init__()
        self.pictures = pictures

    def forward(self, data: Any, training: bool = False) -> dict[str, Any]:
        """list[SourceTargetPair] -> dict(inputs=dict(source, target), data_samples=source frames).

        Both inputs are (B, 3, H, W) float32.

        Raises:
            TypeError, ValueError: see `ImageDataPreprocessor.forward`.
        """
        if not (isinstance(data, (list, tuple)) and data and all(isinstance(one, SourceTargetPair) for one in data)):
            return self.pictures(data, training)
        sources = [pair.source for pair in data]
        targets = [pair.target for pair in data]
        images = {
            name: self.pictures(frames, training)["inputs"]["images"]
            for name, frames in (("source", sources), ("target", targets))
        }
        return {"inputs": images, "data_samples": sources}


@MODELS.register_module(role="task_model")
class SelfTraining(BaseModel):
    """Trains any semantic `Segmentor` across domains; predicts as the student alone does.

    An iteration moves the teacher towards the student, takes the student's loss on the source, and its loss on source
    classes pasted onto target pictures, where the teacher's labels count by the teacher's confidence. All losses make
    one step, so any optimizer, precision, accumulation and number of processes goes.

    Args:
        student: config of a `Segmentor` with a semantic head.
        momentum: share of itself that the teacher keeps at most; 0 makes the teacher the student itself.
        threshold: confidence from which a pixel counts as sure.
        ignore_top, ignore_bottom: rows of target crops that the teacher's labels do not count in; published for crops
            of 512 rows out of 512.
        feature_distance: arguments of a `FeatureDistance` to the student's backbone as it was initialised; None goes
            without.
        augmentation: arguments of a `MixAugmentation`; None goes without.
        pretrained: checkpoint of the whole student, trained on the source, to begin with; None begins as the student
            does by itself.
        seed: of what is drawn; with the process and the iteration it gives the numbers of that iteration.

    Raises:
        ValueError: the student has no semantic head.
    """

    iteration: Tensor

    def __init__(
        self,
        student: Mapping[str, Any],
        *,
        momentum: float = 0.999,
        threshold: float = 0.968,
        ignore_top: int = 15,
        ignore_bottom: int = 120,
        feature_distance: Mapping[str, Any] | None = None,
        augmentation: Mapping[str, Any] | None = None,
        pretrained: Path | str | None = None,
        seed: int = 0,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        built = MODELS.build(student)
        if not isinstance(built, Segmentor) or built.things is not None:
            raise ValueError("student must be a Segmentor with a semantic head (things=None)")
        super().__init__(data_preprocessor=PairDataPreprocessor(built.data_preprocessor), init_cfg=init_cfg)
        self.student = built
        self.teacher = copy.deepcopy(built).requires_grad_(False)
        self.reference: nn.Module | None = None
        self.feature_distance: FeatureDistance | None = None
        if feature_distance is not None:
            self.feature_distance = FeatureDistance(len(built.classes), **feature_distance)
            self.reference = copy.deepcopy(built.backbone).requires_grad_(False).eval()
        self.augmentation = None if augmentation is None else MixAugmentation(**augmentation)
        self.momentum, self.threshold, self.pretrained, self.seed = momentum, threshold, pretrained, seed
        self.ignored_rows = {"ignore_top": ignore_top, "ignore_bottom": ignore_bottom}
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))

    def init_weights(self) -> None:
        """Those of the student, which teacher and reference begin with. Raises CheckpointError if they do not fit."""
        super().init_weights()
        if self.pretrained is not None:
            load_weights(self.student, load_checkpoint(self.pretrained), str(self.pretrained))
        self.teacher.load_state_dict(self.student.state_dict())
        if self.reference is not None:
            self.reference.load_state_dict(self.student.backbone.state_dict())

    def train(self, mode: bool = True) -> SelfTraining:
        """As torch's; the teacher normalises by batches as the student does but leaves nothing out by chance."""
        super().train(mode)
        leave_nothing_to_chance(self.teacher)
        if self.reference is not None:
            self.reference.eval()
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names of the student."""
        return self.student.classes

    def forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the student, or with mode "loss" one iteration.

        Args:
            inputs: for "loss" ``source`` and ``target``, (B, 3, H, W) each, as `PairDataPreprocessor` gives them; else
                as `Segmentor.forward` takes them.
            data_samples: for "loss" the B source frames.
            mode: see `Segmentor.forward`.

        Raises:
            ConfigError: training was given frames instead of pairs, or a source frame is not labelled.
            ValueError: source and target differ in size; or see `Segmentor.forward`.
        """
        if mode != "loss":
            return self.student(inputs, data_samples, mode)
        if "target" not in inputs:
            raise ConfigError("self-training needs pairs of frames: train on SourceTargetPairs")
        labels = self.student.labels_of(data_samples or ())
        rng = np.random.default_rng([self.seed, get_rank(), int(self.iteration)])
        return self.losses(inputs["source"], labels, inputs["target"], rng)

    def losses(
        self, source: Tensor, labels: Sequence[PixelLabels], target: Tensor, rng: Random
    ) -> dict[str, Tensor]:
        """One iteration, less the step of the optimizer: losses of the student by their published names.

        Args:
            source: (B, 3, H, W) pictures.
            labels: B, theirs.
            target: (B, 3, H, W) pictures of the other domain.
            rng: draws what is mixed and how it is augmented.
        """
        update_teacher(self.teacher, self.student, teacher_momentum(int(self.iteration), self.momentum))
        self.iteration += 1
        classes = torch.stack([entry.classes for entry in labels])                         # (B, H, W)
        features = self.student.backbone(self.student.laid_out(source))
        losses = self.student.loss_of(self.student.neck(features), labels)
        if self.reference is not None and self.feature_distance is not None:
            with torch.no_grad():
                frozen = self.reference(source)[-1]
            losses["src.loss_imnet_feat_dist"] = self.feature_distance(features[-1], frozen, classes)
        mix = class_mix(source, classes, target, self.label(target), rng)
        logits = self.student.logits(self.augmented(mix.images, rng))
        losses["mix.decode.loss_seg"] = weighted_cross_entropy(logits, mix.labels, mix.weights)
        losses["mix.decode.acc_seg"] = pixel_accuracy(logits, mix.labels)
        return losses

    @torch.no_grad()
    def label(self, target: Tensor) -> PseudoLabels:
        """What the teacher says of pictures (B, 3, H, W)."""
        logits = self.teacher.logits(target)
        return pseudo_labels(logits, target.shape[2:], threshold=self.threshold, **self.ignored_rows)

    def augmented(self, images: Tensor, rng: Random) -> Tensor:
        """Normalised pictures (B, 3, H, W) with other colours and blur."""
        if self.augmentation is None:
            return images
        pictures = self.student.data_preprocessor
        values = ((images * pictures.std + pictures.mean) / 255).clamp(0, 1)     # a black just below 0 has no hue
        order = [2, 1, 0] if pictures.bgr else [0, 1, 2]
        return (self.augmentation(values[:, order], rng)[:, order] * 255 - pictures.mean) / pictures.std

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The student's."""
        return self.student.stages(batch)

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether a source frame is labelled."""
        return self.student.can_learn_from(frame)

    def decode(self, raw: Any, data_samples: Sequence[Frame]) -> list[SegmentationPredictions]:
        """What the student's head gave to predictions."""
        return self.student.decode(raw, data_samples)
