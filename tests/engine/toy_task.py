"""A task small enough to train in a second: which of three corners do the points lie in?"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn
from torch.utils.data import Dataset

from perception.errors import DataError
from perception.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from perception.structures import Annotations, Boxes3D, Frame, PointCloud, Predictions

CLASSES = ("left", "right", "front")
CENTRES = torch.tensor([[0.0, 4.0, 0.0], [0.0, -4.0, 0.0], [4.0, 0.0, 0.0]])
POINTS = 8


@TRANSFORMS.register_module()
class ToyJitter:
    """Moves each point a little."""

    def __init__(self, sigma: float = 0.5) -> None:
        self.sigma = sigma

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        noise = torch.from_numpy(rng.normal(0.0, self.sigma, (len(frame.points), 3)).astype(np.float32))
        return replace(frame, points=frame.points.with_xyz(frame.points.xyz + noise))


@DATASETS.register_module()
class ToyDataset(Dataset):
    """Frames whose points surround one of the centres."""

    classes = CLASSES

    def __init__(self, length: int = 24, seed: int = 0, transforms: Sequence[Any] = (), broken: int = -1) -> None:
        self.length, self.seed, self.broken = length, seed, broken
        self.transforms = [TRANSFORMS.build(dict(entry)) for entry in transforms]

    def __len__(self) -> int:
        return self.length

    def class_counts(self, index: int) -> list[int]:
        return [int(index % 3 == label) for label in range(3)]

    def load(self, index: int) -> Frame:
        rng = np.random.default_rng([7, index])
        xyz = CENTRES[index % 3] + torch.from_numpy(rng.normal(0.0, 1.0, (POINTS, 3)).astype(np.float32))
        return Frame(token=f"frame-{index}", timestamp_ns=index, points=PointCloud(xyz))

    def __getitem__(self, key: int | tuple[int, int]) -> Frame:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        if index == self.broken:
            raise DataError(f"frame-{index}.bin", field="points", expected="8 points", got=7)
        frame, rng = self.load(index), np.random.default_rng([self.seed, epoch, index])
        for transform in self.transforms:
            frame = transform(frame, rng)
        return frame


@MODELS.register_module()
class ToyPreprocessor(BaseDataPreprocessor):
    def forward(self, data: list[Frame], training: bool = False) -> dict[str, Any]:
        return {"inputs": torch.stack([frame.points.xyz for frame in data]).to(self.device), "data_samples": data}


@MODELS.register_module()
class ToyModel(BaseModel):
    """Classifies a frame by its points."""

    classes = CLASSES

    def __init__(self, width: int = 8, dropout: float = 0.2, batch_norm: bool = True) -> None:
        super().__init__(data_preprocessor={"type": "ToyPreprocessor"})
        self.encode = nn.Linear(3, width)
        self.norm = nn.BatchNorm1d(width) if batch_norm else nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(width, len(CLASSES))

    def forward(self, inputs: Tensor, data_samples: list[Frame], mode: str = "tensor") -> Any:
        maps = self.score(self.dropout(self.norm(self.encode(inputs).relu().mean(1))))     # (B, 3)
        if mode == "loss":
            labels = torch.tensor([frame.timestamp_ns % 3 for frame in data_samples], device=maps.device)
            return {"loss_label": nn.functional.cross_entropy(maps.float(), labels)}
        return maps if mode == "tensor" else self.decode(maps, data_samples)

    def decode(self, maps: Tensor, data_samples: list[Frame]) -> list[Predictions]:
        scores, labels = maps.float().softmax(1).max(1)
        return [
            Predictions(
                token=frame.token, timestamp_ns=frame.timestamp_ns, boxes=Boxes3D(torch.ones(1, 7)),
                scores=score[None].cpu(), labels=label[None].cpu(), classes=CLASSES,
            )
            for frame, score, label in zip(data_samples, scores, labels, strict=True)
        ]


@DATASETS.register_module()
class ToyStreet(ToyDataset):
    """Cars as clouds of points on a plain; for detectors."""

    classes = ("car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle",
               "pedestrian", "traffic_cone")

    def load(self, index: int) -> Frame:
        rng = np.random.default_rng([9, index])
        cars = torch.from_numpy(rng.uniform(-20, 20, (5, 9)).astype(np.float32))
        cars[:, 2:9] = torch.tensor([1.0, 4.0, 2.0, 1.6, 0.3, 0.0, 0.0])
        noise = torch.from_numpy(rng.uniform(-0.5, 0.5, (5, 60, 3)).astype(np.float32))
        on_cars = (cars[:, None, :3] + noise * cars[:, None, 3:6]).flatten(0, 1)            # (300, 3)
        ground = torch.from_numpy(rng.uniform(-25, 25, (300, 3)).astype(np.float32)) * torch.tensor([1.0, 1.0, 0.01])
        xyz = torch.cat([on_cars, ground])
        points = PointCloud(torch.cat([xyz, torch.ones(len(xyz), 1)], dim=1), ("x", "y", "z", "intensity"))
        annotations = Annotations(Boxes3D(cars), torch.zeros(5, dtype=torch.int64), self.classes)
        return Frame(token=f"frame-{index}", timestamp_ns=index, points=points, annotations=annotations)


@METRICS.register_module()
class ToyCount(BaseMetric):
    """How many objects a detector finds in a frame."""

    def process(self, data_batch: list[Frame], data_samples: list[Predictions]) -> None:
        self.results += [len(predictions) for predictions in data_samples]

    def compute_metrics(self, results: list[int]) -> dict[str, float]:
        return {"objects": float(np.mean(results))}


@METRICS.register_module()
class ToyAccuracy(BaseMetric):
    """Share of right answers, and the mean score, which tells any two models apart."""

    default_prefix = "toy"

    def process(self, data_batch: list[Frame], data_samples: list[Predictions]) -> None:
        pairs = zip(data_batch, data_samples, strict=True)
        self.results += [(int(p.labels) == f.timestamp_ns % 3, float(p.scores)) for f, p in pairs]

    def compute_metrics(self, results: list[tuple[bool, float]]) -> dict[str, float]:
        right, scores = np.array(results, dtype=float).T
        return {"accuracy": float(right.mean()), "score": float(scores.mean()), "frames": float(len(results))}


@HOOKS.register_module()
class KillHook(Hook):
    """Ends the process as a power cut would, before an iteration."""

    priority = "VERY_HIGH"

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if batch_idx == self.iteration:
            os.kill(os.getpid(), signal.SIGKILL)
