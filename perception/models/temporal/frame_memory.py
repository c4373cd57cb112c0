"""What memories between the BEV encoder and the head share: streams of frames, when they begin anew, and clips."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.structures import SE3, Frame

from ..mixers.traits import State
from .memory_state import MemoryState, Moment


class FrameMemory(nn.Module):
    """Adds what a memory tells to the BEV map of the present frame.

    A stream of frames begins anew at a frame of another scene, one that is not later than the last or more than
    ``max_gap_s`` later, one without a known pose (or behind such a one), and one that lies farther away than
    ``max_speed`` allows: a jump of the localization.

    Args:
        channels: width C of the map.
        region: x0, y0, x1, y1 [m] that the map covers, rows along y and columns along x.
        width: channels D of the memory; None takes C.
        stride: cells of the map along the side of one of the memory, which averages them; it divides height and width.
        kernel: side of the convolutions into and out of the memory, odd. What moves between two frames, moves to other
            cells: the memory sees it as far as the features of a cell, and these convolutions, reach.
        max_gap_s: longest gap between two frames [s].
        max_speed: fastest plausible motion between two frames [m/s].
        truncate: steps of a training clip after which gradients are cut off; None goes through the whole clip.
        loss_steps: last frames of a training clip that losses are taken of; None takes all.

    Raises:
        ValueError: an argument is out of range.
    """

    owner: str                                             # the kind of states that it reads

    def __init__(
        self,
        channels: int,
        region: Sequence[float],
        *,
        width: int | None = None,
        stride: int = 1,
        kernel: int = 3,
        max_gap_s: float = 1.5,
        max_speed: float = 70.0,
        truncate: int | None = None,
        loss_steps: int | None = None,
    ) -> None:
        super().__init__()
        if len(region) != 4 or not (region[0] < region[2] and region[1] < region[3]):
            raise ValueError(f"region must be x0 < x1 and y0 < y1 as (x0, y0, x1, y1), got {tuple(region)}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and >= 1, got {kernel}")
        if not (max_gap_s > 0 and max_speed > 0):
            raise ValueError(f"max_gap_s and max_speed must be > 0, got {max_gap_s} and {max_speed}")
        for name, steps in (("stride", stride), ("truncate", truncate), ("loss_steps", loss_steps)):
            if steps is not None and steps < 1:
                raise ValueError(f"{name} must be >= 1, got {steps}")
        self.width = channels if width is None else width
        self.region, self.stride = tuple(region), stride
        self.max_gap_s, self.max_speed = max_gap_s, max_speed
        self.truncate, self.loss_steps = truncate, loss_steps
        self.enter = nn.Conv2d(channels, self.width, kernel, 1, kernel // 2)
        self.norm = nn.LayerNorm(self.width)
        self.leave = nn.Conv2d(self.width, channels, kernel, 1, kernel // 2)

    def step(
        self, x: Tensor, past: State | None, moves: Sequence[SE3 | None], gaps_s: Tensor
    ) -> tuple[Tensor, State]:
        """Take in the next frames of B streams.

        Args:
            x: (B, h, w, D) maps in the memory's cells.
            past: the tensors of the state; None if all streams begin anew.
            moves: of each stream, the present ego frame -> that of the frame before; None where it begins anew.
            gaps_s: (B,) time since the frame before [s]; 0 where a stream begins anew.

        Returns:
            (B, h, w, D), and the tensors of the state behind the frames, as many rows of each stream.
        """
        raise NotImplementedError

    def forward(
        self, bev: Tensor, frames: Sequence[Frame] = (), state: MemoryState | None = None, *, steps: int = 1
    ) -> tuple[Tensor, MemoryState | None]:
        """Take in the frames of B streams, one after the other.

        Args:
            bev: (T * B, C, H, W), T steps of B streams: first that of the first frames, then of the second, and so on.
            frames: the T * B frames in that order. Without them each map is seen with an empty memory.
            state: behind the frames before; None begins anew.
            steps: T.

        Returns:
            (T * B, C, H, W) fused maps, and the state behind the last frames; None without frames.

        Raises:
            ValueError: maps and frames are not T of each stream, the state is of another memory or of other streams, or
                the map has no whole number of the memory's cells.
        """
        if any(side % self.stride for side in bev.shape[2:]):
            raise ValueError(f"the map must have multiples of {self.stride} cells, got {tuple(bev.shape[2:])}")
        if frames and (len(frames) != len(bev) or len(bev) % steps):
            raise ValueError(f"{steps} steps need as many frames as maps, got {len(frames)} and {len(bev)}")
        if state is not None and not frames:
            raise ValueError("a memory that goes on needs the frames of the maps, got none")
        coarse = bev if self.stride == 1 else F.avg_pool2d(bev, self.stride)
        x = self.norm(self.enter(coarse).movedim(1, 3))                                    # (T * B, h, w, D)
        if frames:
            x, state = self._remember(x.chunk(steps), frames, state)
        else:
            x = self.step(x, None, [None] * len(x), x.new_zeros(len(x)))[0]
        told = self.leave(x.movedim(3, 1))
        if self.stride > 1:
            told = F.interpolate(told, bev.shape[2:], mode="bilinear", align_corners=False)
        return bev + told.to(bev.dtype), state

    def first_learned(self, frames: int, steps: int) -> int:
        """Number of the first frame of a batch of clips that losses are taken of: that of the last ``loss_steps``."""
        return frames // steps * max(steps - (self.loss_steps or steps), 0)

    def _remember(
        self, maps: Sequence[Tensor], frames: Sequence[Frame], state: MemoryState | None
    ) -> tuple[Tensor, MemoryState]:
        mixed, streams = [], len(maps[0])
        for step, x in enumerate(maps):
            present = frames[step * streams : (step + 1) * streams]
            if self.truncate and step and step % self.truncate == 0 and state is not None:
                state = state.detach()
            moves, gaps_s = self._since(state, present)
            y, tensors = self.step(x, self._read(state, x), moves, x.new_tensor(gaps_s))
            state = MemoryState(tensors, tuple(map(Moment.of, present)), self.owner)
            mixed.append(y)
        assert state is not None
        return torch.cat(mixed), state

    def motion(self, moment: Moment | None, frame: Frame) -> SE3 | None:
        """The present ego frame -> that of the remembered moment; None if the stream begins anew, see the class."""
        if moment is None or moment.scene != frame.scene:
            return None
        gap_s = (frame.timestamp_ns - moment.timestamp_ns) * 1e-9
        if moment.global_from_ego is None or frame.global_from_ego is None or not 0 < gap_s <= self.max_gap_s:
            return None
        past_from_present = moment.global_from_ego.inverse() @ frame.global_from_ego
        jumped = float(past_from_present.translation.norm()) > self.max_speed * gap_s
        return None if jumped else past_from_present

    def _since(
        self, state: MemoryState | None, frames: Sequence[Frame]
    ) -> tuple[list[SE3 | None], list[float]]:
        """The way back to the frame before of each stream, and the time since [s]; None and 0 where it begins anew."""
        if state is None:
            return [None] * len(frames), [0.0] * len(frames)
        if len(state) != len(frames):
            raise ValueError(f"the state must be of {len(frames)} streams, got {len(state)}")
        moves = [self.motion(moment, frame) for moment, frame in zip(state.moments, frames, strict=True)]
        gaps = [
            0.0 if moment is None or move is None else (frame.timestamp_ns - moment.timestamp_ns) * 1e-9
            for moment, move, frame in zip(state.moments, moves, frames, strict=True)
        ]
        return moves, gaps

    def _read(self, state: MemoryState | None, x: Tensor) -> State | None:
        """The tensors of a state, beside the maps. Raises ValueError if another memory wrote them."""
        if state is None:
            return None
        if state.owner != self.owner:
            raise ValueError(f"the state must be of {self.owner}, got one of {state.owner}")
        return {name: tensor.to(x.device) for name, tensor in state.tensors.items()}


def expect_rows(past: State | None, rows: int) -> None:
    """Raises ValueError if a tensor of a state has other than so many rows, so that it is of maps of another size."""
    given = sorted({len(tensor) for tensor in (past or {}).values()})
    if given not in ([], [rows]):
        raise ValueError(f"the state must have {rows} rows, got {given}")
