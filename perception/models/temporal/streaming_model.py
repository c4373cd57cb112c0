"""What task models with a memory share: prediction that goes from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from perception.errors import ConfigError
from perception.structures import Frame

from .frame_memory import FrameMemory
from .memory_state import MemoryState


class StreamingModel:
    """A base of task models that read a BEV map by a head, between which a `FrameMemory` may stand as ``memory``."""

    memory: FrameMemory | None

    def bev(self, inputs: Mapping[str, Any]) -> Tensor:
        """Inputs of B frames -> (B, C, H, W), what a memory gets."""
        raise NotImplementedError

    def read(self, bev: Tensor, inputs: Mapping[str, Any]) -> Any:
        """What the head gives of the maps (B, C, H, W)."""
        raise NotImplementedError

    def decode(self, maps: Any, data_samples: Sequence[Frame]) -> list[Any]:
        """What the head gave to predictions of each frame."""
        raise NotImplementedError

    def stream(
        self, inputs: Mapping[str, Any], data_samples: Sequence[Frame], state: MemoryState | None = None
    ) -> tuple[Any, MemoryState | None]:
        """What the head gives of the next frames, and what the memory knows behind them.

        Args:
            inputs: as the data preprocessor gives them; without ``steps`` the frames are those of one stream, in order.
            data_samples: the frames.
            state: behind the frames before; None begins anew. It stays as it is.

        Raises:
            ConfigError: the model has no memory.
            ValueError: see `FrameMemory.forward`.
        """
        if self.memory is None:
            raise ConfigError("this model carries nothing from frame to frame: its config has no model.memory")
        steps = inputs.get("steps", len(data_samples))
        bev, state = self.memory(self.bev(inputs), data_samples, state, steps=steps)
        return self.read(bev, inputs), state

    def predict_stream(
        self, inputs: Mapping[str, Any], data_samples: Sequence[Frame], state: MemoryState | None = None
    ) -> tuple[list[Any], MemoryState | None]:
        """Predictions of the next frames, and what the memory knows behind them; arguments and errors as `stream`."""
        raw, state = self.stream(inputs, data_samples, state)
        return self.decode(raw, data_samples), state
