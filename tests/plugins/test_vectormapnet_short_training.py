"""What VectorMapNet lacks for a training of minutes: proposals, kindred codes, both stages in one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from perception.models.fourier import fourier
from perception_plugins.vectormapnet import JointStageHook, VectorMapHead
from perception_plugins.vectormapnet.generator import PolylineGenerator, ordered_codes
from perception_plugins.vectormapnet.memory import BEVMemory
from perception_plugins.vectormapnet.proposal_detector import ProposalDetector
from perception_plugins.vectormapnet.tokens import Canvas

CANVAS = Canvas(size=(40, 20))
SMALL = {"channels": 16, "heads": 2, "layers": 2, "hidden": 24, "dropout": 0.0}
close = torch.testing.assert_close


def detector(**options: object) -> ProposalDetector:
    torch.manual_seed(0)
    arguments = {**SMALL, "num_queries": 5, "frequencies": 2, "proposals": {}, **options}
    return ProposalDetector(6, 3, CANVAS.size, **arguments)


def bev(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 6, 5, 10, generator=torch.Generator().manual_seed(0))


def test_a_fresh_detector_says_what_is_proposed() -> None:
    model = detector().eval()
    found, best = model(bev()), model.proposals.best(model.proposals(bev()), 5)
    for scores, keypoints in zip(found.scores, found.keypoints, strict=True):
        close(scores, best.logits)
        close(keypoints, (best.points.clamp(0.01, 0.99) * model.canvas).flatten(2))


def test_each_layer_starts_from_the_points_of_the_one_before() -> None:
    model = detector().eval()
    nn.init.constant_(model.keypoint_head[-1].bias, 0.5)
    first, second = model(bev()).keypoints / model.canvas.repeat(2)
    close((second.logit() - first.logit()), torch.full_like(first, 0.5), atol=1e-4, rtol=0)


def test_a_batch_equals_its_maps_one_by_one() -> None:
    model = detector().eval()
    together = model(bev())
    for item in range(2):
        alone = model(bev()[item : item + 1])
        close(together.keypoints[:, item], alone.keypoints[:, 0])
        close(together.scores[:, item], alone.scores[:, 0])


def test_the_code_of_a_place_adds_waves_to_it() -> None:
    places = torch.tensor([[0.5, -1.0]])
    codes = fourier(places, 2)
    close(codes[0, :2], places[0])
    close(codes[0, 2:4], torch.tensor([torch.pi / 4, -torch.pi / 2]).sin())
    close(codes[0, 8:10], torch.tensor([torch.pi / 2, -torch.pi]).cos())
    close(fourier(places, 0), places)


def test_a_memory_of_larger_cells_holds_their_means() -> None:
    torch.manual_seed(0)
    memory = BEVMemory(6, 8, stride=2)
    fine = torch.randn(1, 6, 2, 3).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    plain = BEVMemory(6, 8)
    plain.load_state_dict(memory.state_dict())
    close(memory(fine), plain(fine[:, :, ::2, ::2]))


def test_codes_are_the_less_alike_the_further_apart() -> None:
    codes = torch.stack([ordered_codes(201, 256) for _ in range(20)])
    likeness = (codes[:, 100:101] * codes).sum(dim=2).mean(dim=0)
    assert likeness.argmax() == 100
    assert likeness[100] > likeness[101] > likeness[103] > likeness[110] > likeness[160]


def test_ordered_logits_compare_with_the_codes_of_the_tokens() -> None:
    generator = PolylineGenerator(6, 3, CANVAS, **SMALL, max_positions=8, ordered=True)
    assert generator.to_logits.weight is generator.token_table.weight
    names = [name for name, _ in generator.named_parameters()]
    assert len([name for name in names if "token_table" in name or "to_logits.weight" in name]) == 1


def test_the_second_stage_begins_at_its_iteration_also_when_resumed() -> None:
    generator = {**SMALL, "max_positions": 8}
    head = VectorMapHead(6, canvas=CANVAS.size, detector={**SMALL, "num_queries": 5}, generator=generator)
    hook, model = JointStageHook(begin=2), nn.Sequential(head)
    stages = []
    for iteration in (0, 1, 2, 3):
        hook.before_train_iter(SimpleNamespace(model=model, iter=iteration), iteration)
        stages.append(head.joint)
    assert stages == [False, False, True, True]
    with pytest.raises(ValueError, match="begin must be >= 0, got -1"):
        JointStageHook(begin=-1)
