"""Polylines of unequal lengths, all vertices in one tensor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .se3 import SE3


@dataclass(frozen=True, eq=False)
class Polylines:
    """P polylines in the ego frame, metres; a closed one repeats its first vertex at its end.

    Args:
        vertices: (V, 2) or (V, 3) float, x y (z), the vertices of the first line, then those of the second, ...
        counts: (P,) int64 number of vertices of each line, >= 1.

    Raises:
        ValueError: a shape or dtype is wrong, or (seen on the CPU) the counts do not add up to V or are below 1.
    """

    vertices: Tensor
    counts: Tensor

    def __post_init__(self) -> None:
        shape = tuple(self.vertices.shape)
        if len(shape) != 2 or shape[1] not in (2, 3) or not self.vertices.is_floating_point():
            raise ValueError(f"vertices must be float (V, 2) or (V, 3), got {self.vertices.dtype} {shape}")
        if self.counts.dim() != 1 or self.counts.dtype != torch.int64:
            raise ValueError(f"counts must be int64 (P,), got {self.counts.dtype} {tuple(self.counts.shape)}")
        if self.counts.device.type == "cpu":               # elsewhere it would wait for the device
            if len(self.counts) and int(self.counts.min()) < 1:
                raise ValueError(f"counts must be >= 1, got {int(self.counts.min())}")
            if int(self.counts.sum()) != shape[0]:
                raise ValueError(f"counts add up to {int(self.counts.sum())} for {shape[0]} vertices")

    @classmethod
    def from_lines(cls, lines: Sequence[Tensor], dim: int = 2) -> Polylines:
        """From P tensors (V_i, 2 or 3); ``dim`` is the number of coordinates if there is no line."""
        if not lines:
            return cls(torch.zeros(0, dim), torch.zeros(0, dtype=torch.int64))
        counts = torch.tensor([len(line) for line in lines], dtype=torch.int64, device=lines[0].device)
        return cls(torch.cat(list(lines)), counts)

    @classmethod
    def cat(cls, parts: Sequence[Polylines]) -> Polylines:
        """All lines of several in one; the parts have the same number of coordinates."""
        return cls(torch.cat([part.vertices for part in parts]), torch.cat([part.counts for part in parts]))

    def __len__(self) -> int:
        return len(self.counts)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.vertices.split(self.counts.tolist()))

    def __getitem__(self, index: slice | Tensor) -> Polylines:
        """Some of the lines: by slice, mask or int64 index, in that order."""
        rows = torch.arange(len(self))[index.cpu() if isinstance(index, Tensor) else index].tolist()
        lines = list(self)
        chosen = [lines[row] for row in rows]
        return Polylines.from_lines(chosen) if chosen else Polylines(self.vertices[:0], self.counts[:0])

    @property
    def dim(self) -> int:
        """2 or 3 coordinates."""
        return self.vertices.shape[1]

    def line_of_vertex(self) -> Tensor:
        """(V,) int64 number of the line that each vertex belongs to."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.counts.device), self.counts)

    def lengths(self) -> Tensor:
        """(P,) length of each line in the xy plane [m]; 0 for a single vertex."""
        owner = self.line_of_vertex()
        steps = (self.vertices[1:, :2] - self.vertices[:-1, :2]).norm(dim=1)
        steps = steps * (owner[1:] == owner[:-1])
        return self.vertices.new_zeros(len(self)).index_add(0, owner[1:], steps)

    def is_closed(self) -> Tensor:
        """(P,) bool, whether a line of three vertices or more ends exactly where it begins."""
        ends = self.counts.cumsum(0)
        meets = (self.vertices[ends - self.counts] == self.vertices[ends - 1]).all(dim=1)
        return meets & (self.counts >= 3)

    def resampled(self, count: int) -> Tensor:
        """(P, count, 2 or 3) points equally spaced along each line, both ends included.

        The way along a line is measured in the xy plane; z is interpolated along. A line of no length repeats its first
        vertex.

        Raises:
            ValueError: ``count`` is below 2.
        """
        if count < 2:
            raise ValueError(f"count must be >= 2, got {count}")
        if not len(self):
            return self.vertices.new_zeros(0, count, self.dim)
        return torch.stack([resample_line(line, count) for line in self])

    def moved_by(self, transform: SE3) -> Polylines:
        """The lines in another frame, ``transform`` being new_from_old; lines without z stay in their plane."""
        if self.dim == 3:
            return replace(self, vertices=transform.apply(self.vertices))
        flat = torch.cat([self.vertices, torch.zeros_like(self.vertices[:, :1])], dim=1)
        return replace(self, vertices=transform.apply(flat)[:, :2])

    def scaled_by(self, factor: float) -> Polylines:
        """The lines enlarged about the origin."""
        return replace(self, vertices=self.vertices * factor)

    def mirrored_y(self) -> Polylines:
        """Left and right exchanged; the order of the vertices stays."""
        return replace(self, vertices=self.vertices * self.vertices.new_tensor([1.0, -1.0, 1.0][: self.dim]))

    def reversed(self, chosen: Tensor) -> Polylines:
        """The lines where (P,) bool ``chosen`` holds with their last vertex first; the others as they are."""
        place = torch.arange(len(self.vertices), device=self.counts.device)
        ends = self.counts.cumsum(0)
        owner = self.line_of_vertex()
        mirrored = (2 * ends - self.counts - 1)[owner] - place                   # first + last - place
        return replace(self, vertices=self.vertices[torch.where(chosen[owner], mirrored, place)])

    def to(self, target: torch.device | str | torch.dtype) -> Polylines:
        """The same on another device, or with vertices of another float type."""
        counts = self.counts if isinstance(target, torch.dtype) else self.counts.to(target)
        return Polylines(self.vertices.to(target), counts)


def resample_line(line: Tensor, count: int) -> Tensor:
    """(V, 2 or 3) -> (count, 2 or 3) equally spaced along the line in the xy plane; see `Polylines.resampled`."""
    return resample_lines(line[None], count)[0]


def resample_lines(lines: Tensor, count: int) -> Tensor:
    """(P, V, 2 or 3) -> (P, count, 2 or 3), lines of equally many vertices at once; see `Polylines.resampled`."""
    if lines.shape[1] == 1:
        return lines.expand(-1, count, -1)
    way = (lines[:, 1:, :2] - lines[:, :-1, :2]).norm(dim=2).cumsum(1)
    way = torch.cat([way.new_zeros(len(lines), 1), way], dim=1)                  # (P, V)
    stops = torch.linspace(0.0, 1.0, count, dtype=way.dtype, device=way.device) * way[:, -1:]
    after = torch.searchsorted(way, stops, right=True).clamp(1, way.shape[1] - 1)              # (P, count)
    after = torch.where(way[:, -1:] > 0, after, 1)                               # no length: the first vertex
    before_way, after_way = way.gather(1, after - 1), way.gather(1, after)
    step = after_way - before_way
    share = ((stops - before_way) / torch.where(step > 0, step, 1.0)).clamp(0.0, 1.0)
    rows = after[..., None].expand(-1, -1, lines.shape[2])
    return torch.lerp(lines.gather(1, rows - 1), lines.gather(1, rows), share[..., None])
