"""What a temporal memory knows between two frames, as a value of its own: carried, moved, saved and restored."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from perception.atomic_write import atomic_path
from perception.errors import CheckpointError
from perception.structures import SE3, Frame

FORMAT = "perception temporal memory 1"
STATE, POSE = "state.", "pose."                            # what the names of tensors in a file begin with


@dataclass(frozen=True, eq=False)
class Moment:
    """When and where a memory was written last.

    Args:
        scene: name of the drive.
        timestamp_ns: time of the frame.
        global_from_ego: its pose; None if unknown.
    """

    scene: str
    timestamp_ns: int
    global_from_ego: SE3 | None

    @classmethod
    def of(cls, frame: Frame) -> Moment:
        """That of a frame."""
        return cls(frame.scene, frame.timestamp_ns, frame.global_from_ego)


@dataclass(frozen=True, eq=False)
class MemoryState:
    """The memories of B streams of frames behind their last frames.

    Args:
        tensors: state of the mixer by name; the first dimension holds the rows of the first stream, then of the second,
            and so on, as many of each.
        moments: of the B streams; None where a stream begins anew, whatever its rows hold.
        owner: the kind of memory that wrote it, which alone can read it.

    Raises:
        ValueError: there is no stream, or the rows of a tensor cannot be shared out among the streams.
    """

    tensors: dict[str, Tensor]
    moments: tuple[Moment | None, ...]
    owner: str

    def __post_init__(self) -> None:
        if not self.moments:
            raise ValueError("a state has at least one stream, got none")
        for name, tensor in self.tensors.items():
            if not tensor.ndim or len(tensor) % len(self.moments):
                raise ValueError(f"{name} must have rows for {len(self.moments)} streams, got {tuple(tensor.shape)}")

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def last_ns(self) -> int | None:
        """Time of the last frame of all streams; None if all begin anew."""
        return max((moment.timestamp_ns for moment in self.moments if moment is not None), default=None)

    def to(self, device: torch.device | str) -> MemoryState:
        """With its tensors on a device."""
        return self._with(lambda tensor: tensor.to(device))

    def detach(self) -> MemoryState:
        """Cut off from what computed it, so that gradients end here."""
        return self._with(Tensor.detach)

    def reset(self, streams: Iterable[int] | None = None) -> MemoryState:
        """With some streams, by default all, beginning anew at their next frame."""
        again = set(range(len(self)) if streams is None else streams)
        moments = (None if place in again else moment for place, moment in enumerate(self.moments))
        return replace(self, moments=tuple(moments))

    def select(self, streams: Iterable[int]) -> MemoryState:
        """Some of the streams, in the order given."""
        chosen = list(streams)
        tensors = {name: tensor.unflatten(0, (len(self), -1))[chosen].flatten(0, 1)
                   for name, tensor in self.tensors.items()}
        return replace(self, tensors=tensors, moments=tuple(self.moments[place] for place in chosen))

    def save(self, path: Path | str) -> None:
        """Write a ``.safetensors`` file, whole or not at all.

        Raises:
            CheckpointError: it cannot be written.
        """
        from safetensors.torch import save

        content = {STATE + name: tensor.detach().cpu().contiguous() for name, tensor in self.tensors.items()}
        for place, moment in enumerate(self.moments):
            if moment is not None and moment.global_from_ego is not None:
                content[f"{POSE}{place}"] = moment.global_from_ego.matrix()
        moments = [moment and {"scene": moment.scene, "timestamp_ns": moment.timestamp_ns} for moment in self.moments]
        metadata = {"format": FORMAT, "owner": self.owner, "moments": json.dumps(moments)}
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(save(content, metadata))
        except OSError as error:
            raise CheckpointError(f"{path}: the state could not be saved: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: Path | str) -> MemoryState:
        """Read a file that `save` wrote; its tensors lie on the CPU.

        Raises:
            CheckpointError: it is absent, damaged or holds something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                names = file.keys()                        # such a file cannot be iterated over
                metadata, content = file.metadata() or {}, {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: absent, truncated or no safetensors file ({error})") from error
        if metadata.get("format") != FORMAT:
            raise CheckpointError(f"{path}: expected a saved temporal memory, got {metadata.get('format', 'weights')}")
        poses = {name: SE3.from_matrix(pose) for name, pose in content.items() if name.startswith(POSE)}
        moments = tuple(
            None if entry is None else Moment(**entry, global_from_ego=poses.get(f"{POSE}{place}"))
            for place, entry in enumerate(json.loads(metadata["moments"]))
        )
        tensors = {name.removeprefix(STATE): tensor for name, tensor in content.items() if name.startswith(STATE)}
        return cls(tensors, moments, metadata["owner"])

    def _with(self, change: Callable[[Tensor], Tensor]) -> MemoryState:
        return replace(self, tensors={name: change(tensor) for name, tensor in self.tensors.items()})
