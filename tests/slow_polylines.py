"""The polyline generator the slow, obvious way: nothing of the map is kept between steps, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from perception_plugins.vectormapnet.generator import Condition, PolylineGenerator
from perception_plugins.vectormapnet.generator_layers import KeyValue


class ProjectedAnew(Sequence[KeyValue]):
    """A map of its own for every line, whose keys and values are made whenever a layer asks for them."""

    def __init__(self, generator: PolylineGenerator, memory: Tensor) -> None:
        self.layers, self.memory = generator.decoder.stack(), memory                       # (L, S, C)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, layer: int) -> KeyValue:
        return self.layers[layer].cross_attn.key_value(self.memory)

    def __iter__(self) -> Iterator[KeyValue]:
        return (self[layer] for layer in range(len(self)))


def generate_with_projections_anew(
    generator: PolylineGenerator, bev: Tensor, condition: Condition, max_vertices: int
) -> Tensor:
    """`PolylineGenerator.generate`, which takes the likeliest tokens, without the kept projections of the map."""
    memory = ProjectedAnew(generator, generator.memory(bev)[condition.images])
    alone = Condition(condition.labels, condition.keypoints, torch.arange(len(condition)))
    return generator.generate(memory, alone, max_vertices=max_vertices)


@torch.no_grad()
def generate_from_the_start(
    generator: PolylineGenerator, bev: Tensor, condition: Condition, max_vertices: int
) -> Tensor:
    """`PolylineGenerator.generate`, which takes the likeliest tokens: each step reads the whole line again."""
    steps = 2 * max_vertices + 1
    tokens = torch.zeros(len(condition), steps, dtype=torch.int64)
    for step in range(steps):
        logits = generator(generator.read(bev), condition, tokens[:, : step + 1])
        stopped = (tokens[:, :step] == 0).any(dim=1)
        tokens[:, step] = logits[:, step].argmax(dim=1).masked_fill(stopped, 0)
    return tokens
