"""What the detector and the generator learn from: keypoints, tokens and the weights of tokens of every true element."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.models.heads.true_map import true_map
from perception.structures import Frame, Polylines, VectorMap

from .keypoints import NUM_KEYPOINTS, keypoints_of
from .tokens import Canvas, pad_tokens

EDGE = 0.1                                           # keypoints stay so many cells off the edges of the canvas
WEIGHTED_CLASS = "boundary"                          # its vertices count by the length of their edges


@dataclass(frozen=True)
class MapTargets:
    """True elements of a batch, image after image.

    Args:
        labels: B tensors (G_b,) int64.
        keypoints: B tensors (G_b, 2 P) float32, x1 y1 x2 y2 ... in cells of the canvas.
        conditions: (L, 2 P) int64 keypoints as the generator is told them; L is the sum of G_b.
        tokens: (L, T) int64, 0 behind the end.
        mask: (L, T) bool, True up to the stop.
        weights: (L, T) float32, 0 behind the stop.
    """

    labels: list[Tensor]
    keypoints: list[Tensor]
    conditions: Tensor
    tokens: Tensor
    mask: Tensor
    weights: Tensor

    @property
    def images(self) -> Tensor:
        """(L,) int64 number of the image of each element."""
        counts = torch.tensor([len(labels) for labels in self.labels], device=self.tokens.device)
        return torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)


def token_weights(line: Tensor, *, by_length: bool) -> Tensor:
    """How much each token of a line of V vertices counts.

    Args:
        line: (V, 2) float64 in [0, 1].
        by_length: a vertex counts by the mean length of its edges, 1 in all (0 if the line has no length), shared by
            its x and y, and the stop 1 / 2V; otherwise every token counts 1 / (2V + 1).

    Returns:
        (2 V + 1,) float64.
    """
    V = len(line)
    if not by_length:
        return line.new_full((2 * V + 1,), 1 / (2 * V + 1))
    edges = (line[1:] - line[:-1]).norm(dim=1)                                            # (V - 1,)
    total, number = line.new_zeros(V), line.new_zeros(V)
    for vertices in (slice(None, -1), slice(1, None)):
        total[vertices] += edges
        number[vertices] += 1
    share = total / number.clamp(min=1)
    share = share / share.sum() if share.sum() > 0 else share
    return torch.cat([share.repeat_interleave(2) / 2, line.new_full((1,), 1 / (2 * V))])


def map_targets(
    frames: Sequence[Frame],
    canvas: Canvas,
    *,
    classes: tuple[str, ...],
    kind: str,
    max_vertices: int,
    device: torch.device | str = "cpu",
) -> MapTargets:
    """Targets of the frames' vector maps; a frame without elements has none.

    A line wholly outside the region is left out; single vertices outside come to its edge, so lines that are clipped
    already stay as they are.

    Args:
        frames: B frames.
        canvas: the region and its cells.
        classes: class names of the head.
        kind: of keypoints, see `keypoints_of`.
        max_vertices: longer lines are thinned evenly to so many.
        device: of the result; it is computed on the CPU.

    Raises:
        ConfigError: a frame has no vector map, or one of other classes.
    """
    maps = [_elements_within(frame, canvas, classes) for frame in frames]
    lines = [[canvas.normalise(line) for line in elements.lines] for elements in maps]
    points = [[keypoints_of(line, kind).flatten() for line in some] for some in lines]
    keypoints = [torch.stack(some) if some else torch.zeros(0, 2 * NUM_KEYPOINTS[kind]) for some in points]
    all_lines = [thinned(line, max_vertices) for some in lines for line in some]
    names = [name for elements in maps for name in elements.names()]
    tokens = [canvas.tokens_of(line) for line in all_lines]
    weights = [
        token_weights(line, by_length=name == WEIGHTED_CLASS) for line, name in zip(all_lines, names, strict=True)
    ]
    return MapTargets(
        labels=[elements.labels.to(device) for elements in maps],
        keypoints=[cells_of(share, canvas).to(device) for share in keypoints],
        conditions=condition_of(torch.cat(keypoints), canvas).to(device),
        tokens=pad_tokens(tokens).long().to(device),
        mask=pad_tokens([torch.ones_like(line) for line in tokens]).bool().to(device),
        weights=pad_tokens(weights).float().to(device),
    )


def cells_of(keypoints: Tensor, canvas: Canvas) -> Tensor:
    """(G, 2 P) keypoints in [0, 1] -> (G, 2 P) float32 in cells, a little off the edges of the canvas."""
    size = keypoints.new_tensor(canvas.size)
    cells = keypoints.unflatten(1, (-1, 2)) * size                                        # (G, P, 2)
    return torch.minimum(cells.clamp(min=EDGE), size - EDGE).flatten(1).float()


def condition_of(keypoints: Tensor, canvas: Canvas) -> Tensor:
    """(G, 2 P) keypoints in [0, 1] -> (G, 2 P) int64 cells, the last of which is one below the canvas' size."""
    last = keypoints.new_tensor(canvas.size) - 1
    return (keypoints.unflatten(1, (-1, 2)) * last).long().flatten(1)


def thinned(line: Tensor, count: int) -> Tensor:
    """(V, 2) -> at most ``count`` of its vertices, evenly spaced in their order, both ends among them."""
    if len(line) <= count:
        return line
    return line[torch.linspace(0, len(line) - 1, count).round().long()]


def _elements_within(frame: Frame, canvas: Canvas, classes: tuple[str, ...]) -> VectorMap:
    """The frame's elements that have a vertex within the region, on the CPU."""
    elements = true_map(frame, classes).to("cpu")
    xy = elements.lines.vertices[:, :2]
    low, high = xy.new_tensor(canvas.region[:2]), xy.new_tensor(canvas.region[2:])
    inside = ((xy >= low) & (xy <= high)).all(dim=1)
    touched = torch.zeros(len(elements)).index_add(0, elements.lines.line_of_vertex(), inside.float()) > 0
    flat = Polylines(xy, elements.lines.counts)
    return elements.with_lines(flat)[touched]
