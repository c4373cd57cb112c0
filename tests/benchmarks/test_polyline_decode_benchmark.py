"""Writing the lines of one image, with and without the kept projections of the map.

By default few lines and steps; the published size, on which both write the same 35 x 129 tokens, is for
    POLYLINES=35 VERTICES=64 pytest tests/benchmarks/test_polyline_decode_benchmark.py --benchmark-enable
and takes some minutes on two cores, nearly all of them without the projections.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import pytest
import torch
from slow_polylines import generate_with_projections_anew
from torch import Tensor

from perception_plugins.vectormapnet.generator import Condition, PolylineGenerator
from perception_plugins.vectormapnet.tokens import Canvas

LINES, VERTICES = int(os.environ.get("POLYLINES", 4)), int(os.environ.get("VERTICES", 2))


@cache
def setting() -> tuple[PolylineGenerator, Tensor, Condition]:
    """The published network with open gates, which never stops early, a random map and random elements."""
    torch.manual_seed(0)
    generator = PolylineGenerator(128, 3, Canvas()).eval()
    for layer in generator.decoder.layers:
        for gate in (layer.gate1, layer.gate2, layer.gate3):
            torch.nn.init.constant_(gate, 0.5)
    with torch.no_grad():
        generator.to_logits.bias[0] = -1e4
    labels, keypoints = torch.randint(0, 3, (LINES,)), torch.randint(0, 100, (LINES, 4))
    return generator, torch.randn(1, 128, 25, 50), Condition(labels, keypoints, torch.zeros_like(labels))


@torch.no_grad()
def generate_with_projections_kept(
    generator: PolylineGenerator, bev: Tensor, condition: Condition, max_vertices: int
) -> Tensor:
    return generator.generate(generator.read(bev), condition, max_vertices=max_vertices)


@pytest.mark.parametrize("generate", [generate_with_projections_kept, torch.no_grad()(generate_with_projections_anew)])
@pytest.mark.benchmark(group="polylines of an image")
def test_writing_the_lines_of_an_image(generate: Any, benchmark: Any):
    tokens = benchmark.pedantic(generate, args=(*setting(), VERTICES), rounds=1)
    assert tokens.shape == (LINES, 2 * VERTICES + 1)
    assert (tokens > 0).all()
