"""The super-resolution model: a picture to the same picture with a whole number of times as many rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor
from torch.nn import functional as F

from perception.engine.checkpoint import load_checkpoint
from perception.errors import CheckpointError
from perception.registry import MODELS
from perception.structures import Frame
from perception.structures.super_resolution import EnlargedPicture, resolution_pair
from perception.transforms.bicubic import to_uint8

from .forward_mode import frames_for
from .picture_padding import PADDINGS
from .sliding_window import MarginTiles, SlidingWindow
from .stage import Stage

OF_ONE_SCALE = "network.upsample."                   # weights that another scale may lack


@MODELS.register_module(role="task_model")
class SuperResolver(BaseModel):
    """Wires a super-resolution network, built from its config, with padding, tiles, loss and predictions.

    A network takes pictures (B, 3, H, W), RGB in [0, 1], and gives (B, 3, scale * H, scale * W); it has ``scale`` and
    ``divisor``, of which H and W must be multiples. Pictures are padded to that here, and what comes out is cropped.

    Args:
        network: of role "super_resolution_net".
        data_preprocessor: config of a `ResolutionPairPreprocessor`; None takes its defaults.
        padding: "reflect" to the next multiple, or "mirror", edge pixels twice and always beyond; see
            `picture_padding`.
        window: arguments of a `SlidingWindow` that goes over the picture in evaluation and averages where windows
            overlap (``taper`` leaves no seam); None takes it as a whole.
        tiles: in its place, arguments of `MarginTiles`; a margin of the network's ``reach`` changes nothing but the
            memory that is needed.
        pretrained: checkpoint of a `SuperResolver` of any scale that training begins with; ``network.upsample`` keeps
            its initial weights where the checkpoint has none that fit. None begins with the network's own.

    Raises:
        ValueError: the padding is unknown, there are windows and tiles, or they are no multiples of the divisor.
    """

    def __init__(
        self,
        network: Mapping[str, Any],
        data_preprocessor: Mapping[str, Any] | None = None,
        *,
        padding: str = "reflect",
        window: Mapping[str, Any] | None = None,
        tiles: Mapping[str, Any] | None = None,
        pretrained: Path | str | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        preprocessor = MODELS.build(data_preprocessor or {"type": "ResolutionPairPreprocessor"})
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        if padding not in PADDINGS:
            raise ValueError(f"padding must be one of {', '.join(PADDINGS)}, got {padding!r}")
        if window is not None and tiles is not None:
            raise ValueError("window and tiles exclude each other, got both")
        self.network = MODELS.build(network)
        self.pad, self.pretrained = PADDINGS[padding], pretrained
        self.tiling: SlidingWindow | MarginTiles | None = None
        if window is not None:
            self.tiling = SlidingWindow(**window)
            self._check_multiples("window", [*self.tiling.size, *self.tiling.stride])
        if tiles is not None:
            self.tiling = MarginTiles(**tiles)
            self._check_multiples("tiles", [*self.tiling.size, self.tiling.margin])

    @property
    def scale(self) -> int:
        """By which pictures are enlarged."""
        return self.network.scale

    def init_weights(self) -> None:
        """Initial weights, and those of ``pretrained``. Raises CheckpointError if they do not fit."""
        super().init_weights()
        if self.pretrained is not None:
            load_other_scale(self, load_checkpoint(self.pretrained)["state_dict"], str(self.pretrained))

    def forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Frame] | None = None, mode: str = "tensor"
    ) -> Any:
        """Run the network.

        Args:
            inputs: ``images`` (B, 3, H, W), as `ResolutionPairPreprocessor` gives them.
            data_samples: the B frames; needed for "loss" and "predict".
            mode: "loss" -> losses by name, "predict" -> list[EnlargedPicture], "tensor" -> what `enlarge` gives.

        Raises:
            ValueError: the mode is another, or the frames are missing.
            ConfigError: a frame of a training batch has no partner in the model's resolution.
        """
        frames = frames_for(mode, data_samples)
        images = inputs["images"]
        if mode == "loss":
            return self.loss(images, self.data_preprocessor.targets(frames, self.scale))
        if mode == "tensor":
            return self.enlarge(images)
        return self.decode(self._enlarge_each(images, frames), frames)

    def enlarge(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) of any size -> (B, 3, scale * H, scale * W), not clamped; by tiles in evaluation."""
        H, W = images.shape[2:]
        padded = self.pad(images, self.network.divisor)
        if self.training or self.tiling is None:
            found = self.network(padded)
        else:
            found = self.tiling.apply(self.network, padded, self.scale)
        return found[:, :, : H * self.scale, : W * self.scale]

    def loss(self, images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Mean absolute error of what is found for (B, 3, H, W) in (B, 3, scale * H, scale * W)."""
        return {"loss_pixel": F.l1_loss(self.enlarge(images).float(), targets)}

    @torch.no_grad()
    def decode(self, raw: Iterable[Tensor], data_samples: Sequence[Frame]) -> list[EnlargedPicture]:
        """Pictures (3, h, w), which may be padded at the right and below, to predictions of each frame's size."""
        found = []
        for one, size, frame in zip(raw, self.data_preprocessor.sizes(data_samples), data_samples, strict=True):
            height, width = size.own
            image = to_uint8(one[:, : height * self.scale, : width * self.scale])
            found.append(EnlargedPicture(frame.token, frame.timestamp_ns, image, self.scale))
        return found

    def can_learn_from(self, frame: Frame) -> bool:
        """Whether a frame has a picture in high resolution."""
        return resolution_pair(frame, self.data_preprocessor.camera) is not None

    def stages(self, batch: Mapping[str, Any]) -> list[Stage]:
        """The steps from the inputs of a batch to its predictions."""
        frames = batch["data_samples"]
        return [
            Stage("network", lambda inputs: self.enlarge(inputs["images"]), (self.network,)),
            Stage("decode", lambda raw: self.decode(raw, frames)),
        ]

    def _enlarge_each(self, images: Tensor, frames: Sequence[Frame]) -> Iterable[Tensor]:
        """Together if they have one size, else one by one: what pads a batch would show at their borders."""
        sizes = [size.own for size in self.data_preprocessor.sizes(frames)]
        if len(set(sizes)) == 1:
            return self.enlarge(images)
        return [
            self.enlarge(image[None, :, :height, :width])[0]
            for image, (height, width) in zip(images, sizes, strict=True)
        ]

    def _check_multiples(self, name: str, lengths: Sequence[int]) -> None:
        wrong = [length for length in lengths if length % self.network.divisor]
        if wrong:
            raise ValueError(f"{name} must be in multiples of {self.network.divisor}, got {wrong[0]}")


def load_other_scale(model: SuperResolver, state: Mapping[str, Tensor], name: str) -> None:
    """Put weights into a model that may have been made for another scale; all but `OF_ONE_SCALE` must fit.

    Args:
        model: takes the weights.
        state: tensors by key of a `SuperResolver`.
        name: how an error calls them.

    Raises:
        CheckpointError: keys beside those of the enlarging part are missing, unknown or of another shape.
    """
    own = model.state_dict()
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    wrong = [key for key in {**own, **state} if key not in fitting and not key.startswith(OF_ONE_SCALE)]
    if wrong:
        raise CheckpointError(f"{name}: {len(wrong)} weights do not fit or are missing, the first is {wrong[0]}")
    model.load_state_dict(fitting, strict=False)
