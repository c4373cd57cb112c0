"""A memory of the cells of BEV maps, by any token mixer that streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from perception.errors import ConfigError
from perception.registry import MODELS
from perception.structures import SE3

from ..mixers.traits import State, StreamingMixer
from .cell_motion import CellMotion, cell_motion
from .frame_memory import FrameMemory, expect_rows


@MODELS.register_module()
class TemporalMemory(FrameMemory):
    """Runs a streaming token mixer over frames, and adds what it tells to the BEV map of the present one.

    Over "cells", the default, every cell of the map is a sequence of its own through time, one token a frame. Each row
    of the mixer's state belongs to a cell, so before a frame is taken in, all rows are moved as the static world moves
    past the vehicle: a row is read where its cell lay in the map of the frame before. Interpolating states is exact
    for mixers that are linear in theirs (sums, LMU, selective scan) and an approximation for the others, which
    ``sampling="nearest"`` avoids. Only places move: a direction in a state, such as a heading, does not turn with the
    vehicle. Cells that come into sight begin at the mixer's first state.

    Over "tokens" the cells of a frame, row by row, are the next tokens of one sequence, for a mixer with a large
    associative state such as ATLAS. That state has no places, so nothing is moved: what it knows of places must come
    from the contents, and the motion of the vehicle is not made up for.

    Args:
        channels: width C of the map.
        mixer: config of a streaming token mixer, which is given ``channels``.
        region: x0, y0, x1, y1 [m] that the map covers, rows along y and columns along x.
        over: "cells" or "tokens".
        sampling: "bilinear" or "nearest", see `cell_motion`.
        options: further arguments of `FrameMemory`, which tells when a stream begins anew.

    Raises:
        ValueError: an argument is out of range.
        ConfigError: the mixer does not stream.
    """

    def __init__(
        self,
        channels: int,
        mixer: Mapping[str, Any],
        region: Sequence[float],
        *,
        over: Literal["cells", "tokens"] = "cells",
        sampling: Literal["nearest", "bilinear"] = "bilinear",
        **options: Any,
    ) -> None:
        super().__init__(channels, region, **options)
        if over not in ("cells", "tokens"):
            raise ValueError(f'over must be "cells" or "tokens", got {over!r}')
        self.over, self.sampling = over, sampling
        self.age = nn.Linear(1, self.width, bias=False)        # of what is remembered, in shares of the longest gap
        self.mixer = MODELS.build({"channels": self.width, **mixer})
        traits = getattr(self.mixer, "TRAITS", None)
        if traits is None or not traits.streaming:
            raise ConfigError(f"a temporal memory needs a mixer that streams, got {type(self.mixer).__name__}")
        self.owner = f"{type(self.mixer).__name__} of {self.width} channels over {over}"

    def step(
        self, x: Tensor, past: State | None, moves: Sequence[SE3 | None], gaps_s: Tensor
    ) -> tuple[Tensor, State]:
        """See `FrameMemory.step`. Raises ValueError if the state is of maps of another size."""
        rows = x.flatten(0, 2)[:, None] if self.over == "cells" else x.flatten(1, 2)       # (R, N, D)
        expect_rows(past, len(rows))
        motion = self._rows_seen(moves, x)
        seen = motion.seen.to(x.device)                                                    # (R,)
        ages = (gaps_s / self.max_gap_s).repeat_interleave(len(rows) // len(gaps_s)) * seen
        y, state = self._advance(rows + self.age(ages[:, None])[:, None], past, motion)
        return y.reshape(x.shape), state

    def _rows_seen(self, moves: Sequence[SE3 | None], x: Tensor) -> CellMotion:
        """Which rows of the state go on, and where each is read."""
        if self.over == "cells":
            return cell_motion(moves, self.region, (x.shape[1], x.shape[2]), self.sampling)
        seen = torch.tensor([move is not None for move in moves])
        index = seen.nonzero()                                                             # (P, 1)
        return CellMotion(seen, index, torch.ones_like(index, dtype=torch.float64))

    def _advance(self, rows: Tensor, past: State | None, motion: CellMotion) -> tuple[Tensor, State]:
        """Run the mixer over rows (R, N, D), from its first state where nothing is remembered."""
        mixer = cast(StreamingMixer, self.mixer)
        if past is None or not motion.seen.any():
            return mixer.stream(rows)
        seen, unseen = (part.nonzero()[:, 0].to(rows.device) for part in (motion.seen, ~motion.seen))
        kept = {name: motion.read(tensor) for name, tensor in past.items()}
        y, state = mixer.stream(rows[seen], kept)
        if not len(unseen):
            return y, state
        first, begun = mixer.stream(rows[unseen])
        place = torch.cat([seen, unseen]).argsort()
        return torch.cat([y, first])[place], {
            name: torch.cat([tensor, begun[name]])[place] for name, tensor in state.items()
        }
