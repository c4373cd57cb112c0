"""Picture classification: a backbone and a linear layer, and the model that trains any such network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import fold_into_next
from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import ClassPrediction, Frame

from .forward_mode import frames_for
from .metaformer.norm import token_norm
from .stage import Stage
from .token_layout import tokens_of

NETWORK = "network."


@MODELS.register_module(role="image_classifier")
class BackboneClassifier(nn.Module):
    """A norm of a backbone's last map, the mean over its places, and a linear layer.

    Args:
        backbone: config of an image backbone.
        num_classes: K.
        norm, norm_eps: of the map, before the mean, see `token_norm`; None has none.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        num_classes: int = 1000,
        norm: str | Mapping[str, Any] | None = None,
        *,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.norm = token_norm(norm, self.backbone.channels[-1], norm_eps)
        self.reset_classifier(num_classes)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.head.out_features

    def reset_classifier(self, num_classes: int) -> None:
        """Begin anew with another number of classes; the rest keeps its weights.

        Raises:
            ValueError: ``num_classes`` is below 1.
        """
        if num_classes < 1:
            raise ValueError(f"num_classes must be >= 1, got {num_classes}")
        like = next(self.backbone.parameters())
        self.head = nn.Linear(self.backbone.channels[-1], num_classes).to(like.device, like.dtype)
        nn.init.trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) -> logits (B, K)."""
        tokens = self.norm(tokens_of(self.backbone(images)[-1]))                           # (B, N, C)
        return self.head(tokens.mean(dim=1))

    def fold_batch_norm(self) -> None:
        """Give a norm of channels to the linear layer: a mean of places is that of their scaled and shifted values."""
        fold_into_next(self, "norm", self.head)


@MODELS.register_module(role="task_model")
class Classifier(BaseModel):
    """Tells what a picture as a whole shows.

    Its weights have the names that they have in the network itself, so that one checkpoint serves both, and the
    ``backbone.*`` in it any task whose ``pretrained`` it is.

    Args:
        network: config of an image classifier: pictures (B, 3, H, W) -> logits (B, K); has ``num_classes``. One with a
            ``loss(raw, labels)`` may give something else in training, which it takes with the classes (B,) int64.
        data_preprocessor: config of an `ImageDataPreprocessor`; None takes its defaults.
        classes: names of the K classes; None if they have none.
        label_smoothing: share of the truth that is spread over all classes in training.

    Raises:
        ValueError: there are not as many names as classes, or ``label_smoothing`` lies outside [0, 1).
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        data_preprocessor: Mapping[str, Any] | None = None,
        classes: Sequence[str] | None = None,
        *,
        label_smoothing: float = 0.0,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "ImageDataPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must lie in [0, 1), got {label_smoothing}")
        self.network = MODELS.build(network)
        self.classes, self.label_smoothing = tuple(classes or ()), label_smoothing
        if self.classes and len(self.classes) != self.network.num_classes:
            raise ValueError(f"classes must name {self.network.num_classes} classes, got {len(self.classes)} names")
        self.register_state_dict_post_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    def forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``images`` (B, 3, H, W), as `ImageDataPreprocessor` gives them.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[ClassPrediction], "tensor" -> logits (B, K).

        Raises:
            ValueError: the mode is another, or the frames are missing.
            ConfigError: a picture of a training batch has no class, or one beyond the model's.
        """
        frames = frames_for(mode, data_samples)
        truth = self.labels_of(frames) if mode == "loss" else []
        raw = self.network(inputs["images"])
        if mode == "tensor":
            return raw
        return self.loss_of(raw, truth) if mode == "loss" else self.decode(raw, frames)

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions."""
        frames = batch["data_samples"]
        return [
            Stage("network", lambda inputs: self.network(inputs["images"]), (self.network,)),
            Stage("decode", lambda logits: self.decode(logits, frames)),
        ]

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether the picture of a frame has a class."""
        return self.data_preprocessor.camera_of(frame).category is not None

    def labels_of(self, frames: Sequence[Frame]) -> list[int]:
        """The class of each frame's picture. Raises ConfigError if one has none, or one beyond the model's."""
        return [self._label(frame) for frame in frames]

    def _label(self, frame: Frame) -> int:
        category = self.data_preprocessor.camera_of(frame).category
        if category is None:
            raise ConfigError(f"the picture of frame {frame.token} has no class to learn from; train on a labelled set")
        if not 0 <= category < self.network.num_classes:
            raise ConfigError(
                f"frame {frame.token}: class {category} is none of the {self.network.num_classes} classes of the model"
            )
        return category

    def loss_of(self, raw: Any, labels: Sequence[int]) -> dict[str, Tensor]:
        """Losses by name against B classes: the network's own, or the cross entropy of its logits (B, K)."""
        truth = torch.tensor(labels, dtype=torch.int64, device=next(self.network.parameters()).device)
        if hasattr(self.network, "loss"):
            return self.network.loss(raw, truth)
        return {"loss_class": F.cross_entropy(raw.float(), truth, label_smoothing=self.label_smoothing)}

    @torch.no_grad()
    def decode(self, logits: Tensor, data_samples: Sequence[Frame]) -> list[ClassPrediction]:
        """Logits (B, K) to a prediction for each frame."""
        return [
            ClassPrediction(frame.token, frame.timestamp_ns, scores, self.classes)
            for frame, scores in zip(data_samples, logits.float().softmax(dim=1), strict=True)
        ]


def _without_prefix(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix + NETWORK)]:
        state[prefix + key.removeprefix(prefix + NETWORK)] = state.pop(key)


def _with_prefix(model: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    for key in [key for key in state if key.startswith(prefix)]:
        state[prefix + NETWORK + key.removeprefix(prefix)] = state.pop(key)
