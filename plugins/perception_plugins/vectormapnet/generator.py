"""The polyline generator: writes the vertices of each element one coordinate after the other.

VectorMapNet (Liu et al., ICML 2023), section 3.4; after PolyGen (Nash et al., ICML 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .generator_layers import GeneratorDecoder, KeyValue, LineSlots, TokenCache
from .memory import BEVMemory
from .sampling import BLOCKED, check_mass, pick
from .tokens import STOP, Canvas

PUBLISHED_ROWS = 3                                   # of the table of keypoints, the third of which boxes never use


@dataclass(frozen=True)
class Condition:
    """What the generator is told of L elements.

    Args:
        labels: (L,) int64 class.
        keypoints: (L, 2 P) int64 cells, x1 y1 x2 y2 ..., each in [0, canvas].
        images: (L,) int64 number of the image, in any order.
    """

    labels: Tensor
    keypoints: Tensor
    images: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> Condition:
        return Condition(self.labels[rows], self.keypoints[rows], self.images[rows])


def ordered_codes(count: int, channels: int, std: float = 0.25) -> Tensor:
    """(count, channels) codes that are the less alike the further apart two numbers are: waves of 4 to 400 cells."""
    lengths = torch.logspace(math.log10(4.0), math.log10(400.0), channels)
    phases = torch.rand(channels) * (2 * math.pi)
    waves = torch.arange(count)[:, None] * (2 * math.pi / lengths) + phases
    return waves.cos() * (math.sqrt(2.0) * std)


class PolylineGenerator(nn.Module):
    """A decoder over the tokens of a line, led by a prefix that tells its class and keypoints.

    Args:
        in_channels: width of the BEV map.
        num_classes: classes K.
        canvas: region and cells, which set the vocabulary.
        num_keypoints: keypoints P of an element.
        channels: token width C.
        heads: attention heads.
        layers: decoder layers.
        hidden: width of the feed-forward part.
        max_positions: greatest number of vertices that have a position code.
        dropout: share dropped in training.
        frequencies, stride: see `BEVMemory`.
        ordered: codes of neighbouring cells begin alike, see `ordered_codes`, and the same codes are compared with for
            the logits, so that what is learned of one cell holds for those beside it. The published tables begin at
            random and learn each cell for itself.
    """

    allowed: Tensor

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        canvas: Canvas,
        *,
        num_keypoints: int = 2,
        channels: int = 256,
        heads: int = 8,
        layers: int = 6,
        hidden: int = 512,
        max_positions: int = 500,
        dropout: float = 0.2,
        frequencies: int = 0,
        stride: int = 1,
        ordered: bool = False,
    ) -> None:
        super().__init__()
        self.max_positions, self.prefix_length = max_positions, 1 + 2 * num_keypoints
        self.memory = BEVMemory(in_channels, channels, frequencies=frequencies, stride=stride)
        self.class_table = nn.Embedding(num_classes, channels)
        self.keypoint_table = nn.Embedding(max(PUBLISHED_ROWS, num_keypoints), channels)
        self.axis_table = nn.Embedding(2, channels)
        self.vertex_table = nn.Embedding(max_positions, channels)
        self.token_table = nn.Embedding(canvas.vocabulary, channels)
        self.decoder = GeneratorDecoder(channels, heads=heads, hidden=hidden, layers=layers, dropout=dropout)
        self.to_logits = nn.Linear(channels, canvas.vocabulary)
        self.register_buffer("allowed", canvas.allowed(), persistent=False)
        for weight in self.parameters():
            if weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
        if ordered:
            self.token_table.weight = nn.Parameter(ordered_codes(canvas.vocabulary, channels))
            self.to_logits.weight = self.token_table.weight

    def prefix(self, condition: Condition) -> Tensor:
        """(L, 1 + 2 P, C) tokens of the condition: the class, then each coordinate of the keypoints."""
        place = torch.arange(condition.keypoints.shape[1], device=condition.keypoints.device)
        keypoints = (
            self.token_table(condition.keypoints)
            + self.keypoint_table(torch.div(place, 2, rounding_mode="floor"))
            + self.axis_table(place % 2)
        )
        return torch.cat([self.class_table(condition.labels)[:, None], keypoints], dim=1)

    def embed(self, tokens: Tensor, first: int = 0) -> Tensor:
        """(L, T) tokens, the first of which is number ``first`` of its line -> (L, T, C)."""
        place = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        vertex = torch.div(place, 2, rounding_mode="floor")
        return self.token_table(tokens) + self.axis_table(place % 2) + self.vertex_table(vertex)

    def prefix_mask(self, length: int, device: torch.device | str = "cpu") -> Tensor:
        """(length, length) bool, True where a token may see another: the prefix itself, the others what is before."""
        mask = torch.ones(length, length, dtype=torch.bool, device=device).tril()
        mask[: self.prefix_length, : self.prefix_length] = True
        return mask

    def logits(self, hidden: Tensor, first: int = 0) -> Tensor:
        """(L, T, C) -> (L, T, vocabulary) of the tokens from number ``first`` on; float32, -1e9 where one cannot be."""
        axis = torch.arange(first, first + hidden.shape[1], device=hidden.device) % 2
        return self.to_logits(hidden).float().masked_fill(~self.allowed[axis], BLOCKED)

    def read(self, bev: Tensor) -> list[KeyValue]:
        """(B, in_channels, H, W) map -> keys and values of every layer, (B, heads, H * W, D) each."""
        return self.decoder.project(self.memory(bev))

    def forward(self, memory: Sequence[KeyValue], condition: Condition, tokens: Tensor) -> Tensor:
        """Teacher forcing: logits of every token of the true lines, given the true tokens before it.

        Args:
            memory: of B images, from `read`.
            condition: of L elements.
            tokens: (L, T) int64, the true lines; the last token is not read, it is only foretold.

        Returns:
            (L, T, vocabulary) float32.

        Raises:
            ValueError: a line is too long for the position codes.
        """
        if tokens.shape[1] > 2 * self.max_positions + 1:
            raise ValueError(f"tokens must have at most {2 * self.max_positions + 1} columns, got {tokens.shape[1]}")
        sequence = torch.cat([self.prefix(condition), self.embed(tokens[:, :-1])], dim=1)
        slots = LineSlots(condition.images, len(memory[0][0]))
        mask = self.prefix_mask(sequence.shape[1], tokens.device)
        return self.logits(self.decoder(sequence, memory, slots, mask)[:, self.prefix_length - 1 :])

    @torch.no_grad()
    def generate(
        self,
        memory: Sequence[KeyValue],
        condition: Condition,
        *,
        max_vertices: int = 64,
        mass: float = 0.0,
        noise: Tensor | None = None,
        median: bool = False,
    ) -> Tensor:
        """Write the lines; a line that has stopped takes no further part.

        Args:
            memory: of B images, from `read`.
            condition: of L elements.
            max_vertices: a line ends after so many vertices, stopped or not.
            mass: share of the probability to sample from; 0 takes the likeliest token.
            noise: (L, 2 max_vertices + 1) uniform in [0, 1), what the draws are made with; needed unless ``mass`` is 0.
            median: with a ``mass`` of 0, take the median token, see `median_token`.

        Returns:
            (L, 2 max_vertices + 1) int64 tokens, 0 from the stop on.

        Raises:
            ValueError: ``max_vertices`` or ``mass`` is out of range, or the noise is missing or of another shape.
        """
        steps = self._check_sampling(len(condition), max_vertices, mass, noise)
        tokens = condition.labels.new_full((len(condition), steps), STOP)
        if not len(condition):
            return tokens
        num_images = len(memory[0][0])
        cache = TokenCache(len(memory), len(condition), self.prefix_length + steps, memory[0][0])
        alive = torch.arange(len(condition), device=tokens.device)
        slots, sequence = LineSlots(condition.images, num_images), self.prefix(condition)
        for step in range(steps):
            hidden = self.decoder(sequence, memory, slots, cache=cache)[:, -1:]
            draws = None if noise is None else noise[alive, step]
            choice = pick(self.logits(hidden, step)[:, 0], mass, draws, median=median)
            tokens[alive, step] = choice
            going = (choice != STOP).nonzero()[:, 0]
            if not len(going):
                break
            if len(going) < len(alive):
                alive, choice = alive[going], choice[going]
                cache.keep(going)
                slots = LineSlots(condition.images[alive], num_images)
            sequence = self.embed(choice[:, None], step)
        return tokens

    def _check_sampling(self, lines: int, max_vertices: int, mass: float, noise: Tensor | None) -> int:
        """The greatest number of tokens of a line, after a look at the arguments."""
        if not 1 <= max_vertices <= self.max_positions:
            raise ValueError(f"max_vertices must lie in [1, {self.max_positions}], got {max_vertices}")
        check_mass(mass)
        steps = 2 * max_vertices + 1
        if mass > 0 and (noise is None or tuple(noise.shape) != (lines, steps)):
            got = None if noise is None else tuple(noise.shape)
            raise ValueError(f"noise must be ({lines}, {steps}) to sample from a mass of {mass}, got {got}")
        return steps
