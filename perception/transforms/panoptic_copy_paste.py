"""Lay segments of one picture over another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..registry import DATASETS, TRANSFORMS
from ..structures import Camera, Frame, PixelLabels
from ..structures.segmentation import IGNORE_LABEL
from .picture_geometry import decoded


@TRANSFORMS.register_module()
class PanopticCopyPaste:
    """All instances and some of the other classes of a random picture of a data set, laid over the picture.

    How many of the classes without instances is drawn evenly from none to all. A class that both pictures show becomes
    one; an instance gets a number of its own. Pixels without a class, and things without a number, stay behind.
    As kMaX-DeepLab is trained (Yu et al., ECCV 2022), after "Simple Copy-Paste" (Ghiasi et al., CVPR 2021).

    Args:
        dataset: config of the data set that the other picture is drawn from; its transforms bring that picture to the
            size that the frames have here, and its ``things`` are the classes with instances.
        prob: probability of pasting; otherwise the frame stays as it is.

    Raises:
        ValueError: ``prob`` lies outside [0, 1], a frame has not one camera with a decoded picture whose labels have
            instances, or the two pictures differ in size.
    """

    def __init__(self, dataset: Mapping[str, Any], prob: float = 1.0) -> None:
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"prob must lie in [0, 1], got {prob}")
        self.dataset: Any = DATASETS.build(dataset)
        self.prob = prob
        classes = tuple(self.dataset.classes)
        self.things = [classes.index(name) for name in self.dataset.metainfo["things"]]

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame, maybe with segments of another picture."""
        if not frame.cameras or rng.random() >= self.prob:
            return frame
        other = self.dataset.load(int(rng.integers(len(self.dataset))))
        (name, camera), pasted = _labelled(frame), _labelled(self.dataset.transforms(other, rng))[1]
        return replace(frame, cameras={name: self.pasted(camera, pasted, rng)})

    def pasted(self, below: Camera, above: Camera, rng: np.random.Generator) -> Camera:
        """One camera's picture with segments of another's, both decoded, labelled and of one size."""
        image, labels = _parts(below)
        other_image, other_labels = _parts(above)
        if image.shape != other_image.shape:
            sizes = f"{tuple(other_image.shape[1:])} and {tuple(image.shape[1:])}"
            raise ValueError(f"the pasted picture must have the size of the other, got {sizes}")
        mask, numbers = self.chosen(other_labels, rng), _instances(other_labels)
        instances = _instances(labels)
        first = int(instances.max()) if instances.numel() else 0
        return replace(
            below, image=torch.where(mask, other_image, image), source=None,
            labels=PixelLabels(
                torch.where(mask, other_labels.classes, labels.classes),
                torch.where(mask, numbers + first * (numbers > 0), instances), labels.names,
            ),
        )

    def chosen(self, labels: PixelLabels, rng: np.random.Generator) -> Tensor:
        """(H, W) bool pixels of the segments to paste."""
        is_thing = torch.isin(labels.classes, torch.tensor(self.things, dtype=torch.int64))
        stuff = labels.classes[~is_thing & (labels.classes != IGNORE_LABEL)].unique()
        count = int(rng.integers(len(stuff) + 1))
        drawn = stuff[torch.from_numpy(rng.permutation(len(stuff))[:count])]
        return torch.where(is_thing, _instances(labels) > 0, torch.isin(labels.classes, drawn))

    def __repr__(self) -> str:
        return f"PanopticCopyPaste(dataset={self.dataset!r}, prob={self.prob})"


def _labelled(frame: Frame) -> tuple[str, Camera]:
    """Name and camera of a frame of one picture."""
    if len(frame.cameras) != 1:
        raise ValueError(f"frame {frame.token}: pasting takes frames of one picture, got {len(frame.cameras)}")
    name, camera = next(iter(frame.cameras.items()))
    decoded(camera, f"frame {frame.token}: camera {name}")
    if camera.labels is None or camera.labels.instances is None:
        raise ValueError(f"frame {frame.token} has no pixel labels with instances to paste")
    return name, camera


def _parts(camera: Camera) -> tuple[Tensor, PixelLabels]:
    assert camera.image is not None                        # seen to by _labelled
    assert camera.labels is not None
    return camera.image, camera.labels


def _instances(labels: PixelLabels) -> Tensor:
    assert labels.instances is not None                    # likewise
    return labels.instances
