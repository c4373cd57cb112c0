"""A memory of a few places of past frames, which all cells of the present map may look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from perception.registry import MODELS
from perception.structures import SE3

from ..attention.packed import PackedAttention
from ..fourier import fourier
from ..mixers.traits import State
from .cell_motion import cell_centres
from .frame_memory import FrameMemory, expect_rows


@MODELS.register_module()
class QueryMemory(FrameMemory):
    """Keeps the cells of each frame that score highest, with their places, and lets present cells attend to them.

    The queue of past queries of "Exploring Object-Centric Temporal Modeling for Efficient Multi-View 3D Object
    Detection" (StreamPETR, Wang et al., ICCV 2023), over cells of a map. What moves with the vehicle are the places
    alone, so nothing is interpolated, whatever the motion; what is remembered leaves after ``remembered`` frames. The
    contents of a token do not turn with the vehicle.

    Args:
        channels: width C of the map.
        region: x0, y0, x1, y1 [m] that the map covers, rows along y and columns along x.
        queries: cells Q that are kept of a frame; all of them if the map has fewer.
        remembered: frames K whose cells are kept.
        heads: of the attention; they divide the width of the memory.
        frequencies: waves of the code of places.
        options: further arguments of `FrameMemory`, which tells when a stream begins anew.

    Raises:
        ValueError: an argument is out of range.
    """

    def __init__(
        self, channels: int, region: Sequence[float], *, queries: int = 64, remembered: int = 4, heads: int = 4,
        frequencies: int = 4, **options: Any,
    ) -> None:
        super().__init__(channels, region, **options)
        if queries < 1 or remembered < 1:
            raise ValueError(f"queries and remembered must be >= 1, got {queries} and {remembered}")
        self.queries, self.remembered, self.frequencies = queries, remembered, frequencies
        self.score = nn.Linear(self.width, 1)
        self.place = nn.Linear(2 + 4 * frequencies, self.width)
        self.age = nn.Linear(1, self.width, bias=False)        # in shares of the longest gap
        self.attention = PackedAttention(self.width, heads=heads)
        self.owner = f"{queries} queries of {self.width} channels of {remembered} frames"

    def step(
        self, x: Tensor, past: State | None, moves: Sequence[SE3 | None], gaps_s: Tensor
    ) -> tuple[Tensor, State]:
        """See `FrameMemory.step`.

        The state has ``tokens`` (B, K * Q, D), newest first, their ``places`` (B, K * Q, 2) [m] in the ego frame of the
        last frame, their ``ages`` (B, K * Q) [s], and which of them are ``known`` (B, K * Q) bool.
        """
        expect_rows(past, len(x))
        places = cell_centres(self.region, (x.shape[1], x.shape[2])).to(x)                 # (h * w, 2)
        tokens = x.flatten(1, 2)
        chosen = self._chosen(tokens, places)
        if past is None:
            return x, self._padded(chosen)
        old = self._moved(past, moves, gaps_s)
        return x + self._told(tokens, places, old).view_as(x), self._queued(chosen, old)

    def _told(self, tokens: Tensor, places: Tensor, old: State) -> Tensor:
        """What cells (B, N, D) at places (N, 2) get of the old tokens; 0 where none is known."""
        known = old["known"]                                                               # (B, K * Q)
        query = self.attention.query(tokens + self._code(places))
        age = self.age(old["ages"][:, :, None] / self.max_gap_s)
        key, value = self.attention.key_value(old["tokens"] + self._code(old["places"]) + age)
        seen = known | ~known.any(dim=1, keepdim=True)
        mixed = self.attention.mix(query, key, value, seen[:, None, None])                 # (B, N, D)
        return mixed * known.any(dim=1)[:, None, None]

    def _chosen(self, tokens: Tensor, places: Tensor) -> State:
        """The cells that score highest, weighed by their scores, so that these learn."""
        scores = self.score(tokens)[:, :, 0].sigmoid()                                     # (B, N)
        best = scores.topk(min(self.queries, tokens.shape[1]), dim=1).indices              # (B, Q)
        kept = tokens.take_along_dim(best[:, :, None], dim=1) * scores.take_along_dim(best, dim=1)[:, :, None]
        ages = kept.new_zeros(best.shape)
        return {"tokens": kept, "places": places[best], "ages": ages, "known": torch.ones_like(best, dtype=torch.bool)}

    def _moved(self, past: State, moves: Sequence[SE3 | None], gaps_s: Tensor) -> State:
        """The old tokens seen from the present ego frame; unknown in streams that begin anew."""
        still = [SE3.identity() if move is None else move.inverse() for move in moves]
        places = []
        for present_from_past, xy in zip(still, past["places"], strict=True):
            xyz = torch.cat([xy, torch.zeros_like(xy[:, :1])], dim=1)
            places.append(present_from_past.apply(xyz)[:, :2])
        goes_on = torch.tensor([move is not None for move in moves], device=gaps_s.device)
        return {
            **past, "places": torch.stack(places), "ages": past["ages"] + gaps_s[:, None],
            "known": past["known"] & goes_on[:, None],
        }

    def _queued(self, chosen: State, old: State) -> State:
        """The new tokens before the old ones, without the oldest."""
        size = self.remembered * chosen["known"].shape[1]
        return {name: torch.cat([tensor, old[name]], dim=1)[:, :size] for name, tensor in chosen.items()}

    def _padded(self, chosen: State) -> State:
        """The first tokens of a queue whose rest is unknown."""
        blank = {name: torch.zeros_like(tensor) for name, tensor in chosen.items()}
        return {
            name: torch.cat([tensor, *[blank[name]] * (self.remembered - 1)], dim=1) for name, tensor in chosen.items()
        }

    def _code(self, places: Tensor) -> Tensor:
        """(..., 2) places [m] -> (..., D)."""
        low, high = places.new_tensor(self.region).view(2, 2)
        return self.place(fourier(2 * (places - low) / (high - low) - 1, self.frequencies))
