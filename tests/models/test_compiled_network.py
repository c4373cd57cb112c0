from __future__ import annotations

import copy

import pytest
import torch
from random_frames import random_frame
from test_detector import tiny_detector
from torch._dynamo.testing import CompileCounterWithBackend

from perception.models.compiled_network import CompiledNetwork
from perception.models.detector import Detector


def pillars(model: Detector, seeds: list[int], points: int = 400) -> tuple[torch.Tensor, torch.Tensor, int]:
    frames = [random_frame(seed=seed) for seed in seeds]
    clouds = [cloud[:points] for cloud in model.data_preprocessor(frames, False)["inputs"]["points"]]
    return *model.voxel_encoder(clouds), len(seeds)


@pytest.fixture
def eager() -> Detector:
    return tiny_detector().eval()


def test_the_whole_network_is_one_graph_with_gradients():
    model = tiny_detector()
    compiled = torch.compile(model.network, fullgraph=True, backend="aot_eager", dynamic=True)
    for points in (400, 150):
        inputs = pillars(model, [0, 1], points)
        ours, expected = compiled(*inputs), model.network(*inputs)
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)
        weights = list(model.lidar_backbone.parameters())
        gradients = [
            torch.autograd.grad(sum(m.square().mean() for m in maps[0].values()), weights) for maps in (ours, expected)
        ]
        torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-3)


@torch.inference_mode()
def test_a_padded_network_gives_the_same_maps(eager: Detector):
    network = CompiledNetwork(eager.network, smallest=100, backend="aot_eager")
    for seeds in ([0], [1, 2]):
        inputs = pillars(eager, seeds)
        torch.testing.assert_close(network(*inputs), eager.network(*inputs), atol=1e-5, rtol=1e-4)


@torch.inference_mode()
def test_frames_of_one_bucket_are_compiled_once(eager: Detector):
    counter = CompileCounterWithBackend("eager")
    network = CompiledNetwork(eager.network, smallest=4096, growth=2.0, backend=counter)
    sizes = set()
    for seed, points in enumerate((300, 180, 240, 77)):
        inputs = pillars(eager, [seed], points)
        sizes.add(len(inputs[0]))
        network(*inputs)
    assert len(sizes) == 4
    assert counter.frame_count == 1
    assert set(network.cold_starts) == {(4096, 1)}


@torch.inference_mode()
def test_a_frame_without_pillars_is_padded_too(eager: Detector):
    network = CompiledNetwork(eager.network, smallest=64, backend="eager")
    features, coords, _ = pillars(eager, [0], 0)
    assert len(features) == 0
    torch.testing.assert_close(network(features, coords, 1), eager.network(features, coords, 1), atol=1e-5, rtol=1e-4)


def test_the_numbers_of_pillars_grow_by_the_factor():
    network = CompiledNetwork(lambda: [], smallest=100, growth=1.5)
    assert [network.padded_size(n) for n in (0, 100, 101, 152, 227)] == [100, 100, 151, 227, 227]


def test_a_copied_model_runs_its_own_weights(eager: Detector):
    eager.compiled = CompiledNetwork(eager.network, smallest=256, backend="eager")
    with torch.inference_mode():
        eager.compiled(*pillars(eager, [0]))
    twin = copy.deepcopy(eager)
    with torch.inference_mode():
        for parameter in twin.head.parameters():
            parameter.zero_()
        maps = twin.compiled(*pillars(twin, [0]))
    assert all(not m.any() for m in maps[0].values())


def test_only_evaluation_runs_the_compiled_network():
    model = tiny_detector(**{"model.compile": {"backend": "eager", "smallest": 2048}})
    batch = model.data_preprocessor([random_frame()], training=True)
    model(**batch, mode="loss")
    assert not model.compiled.cold_starts
    with torch.inference_mode():
        model.eval()(**batch, mode="tensor")
    assert set(model.compiled.cold_starts) == {(2048, 1)}


@pytest.mark.parametrize("options", [{"smallest": 0}, {"growth": 1.0}, {"growth": float("nan")}])
def test_numbers_that_never_grow_are_refused(options):
    with pytest.raises(ValueError, match="smallest must be >= 1 and growth above 1, got"):
        CompiledNetwork(lambda: [], **options)
