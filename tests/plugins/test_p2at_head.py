"""P2AT's network: sizes, gradients, folding, refusals."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import fold_batch_norms
from perception.models.image_backbones.resnet import ResNet
from perception.structures.segmentation import IGNORE_LABEL, PixelLabels
from perception_plugins.p2at import P2ATHead, P2ATLogits
from perception_plugins.p2at.attention import PyramidPooling
from perception_plugins.p2at.boundary import boundary_map
from perception_plugins.p2at.decoder import GlobalContext
from perception_plugins.p2at.head import sampled

WIDTHS = (4, 6, 8, 10)


def small_head(**options: object) -> P2ATHead:
    torch.manual_seed(0)
    defaults = {"num_classes": 3, "aux2_channels": 1, "width": 8, "key_dim": 4, "num_heads": 2}
    return P2ATHead(WIDTHS, **{**defaults, **options})


def small_backbone() -> ResNet:
    torch.manual_seed(0)
    return ResNet(18, stem_channels=4, widths=WIDTHS, counts=(1, 1, 1, 1))


def random_labels(count: int, size: tuple[int, int], num_classes: int = 3) -> list[PixelLabels]:
    draw = torch.Generator().manual_seed(1)
    return [PixelLabels(torch.randint(num_classes, size, generator=draw)) for _ in range(count)]


def randomized(module: nn.Module) -> nn.Module:
    """Every parameter and statistic away from its start, so that a scale or a norm can't hide."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for tensor in [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]:
            tensor.add_(0.3 * torch.rand(tensor.shape, generator=draw))
    return module


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack([value for name, value in losses.items() if name.startswith("loss")]).sum()


@pytest.mark.parametrize("size", [(1, 1), (3, 20), (31, 33), (64, 96), (75, 101)])
def test_pictures_of_any_size_give_logits_at_a_quarter_of_it(size):
    backbone, head = small_backbone().eval(), small_head().eval()
    with torch.no_grad():
        logits = head(backbone(torch.rand(1, 3, *size)))
    assert logits.shape == (1, 3, *(math.ceil(length / 4) for length in size))
    assert torch.isfinite(logits).all()


def test_training_gives_the_auxiliary_logits_too_and_evaluation_does_not():
    features = small_backbone()(torch.rand(2, 3, 64, 96))
    raw = small_head().train()(features)
    assert isinstance(raw, P2ATLogits)
    assert raw.logits.shape == (2, 3, 16, 24)
    assert raw.aux1.shape == (2, 3, 8, 12)
    assert raw.aux2.shape == (2, 1, 16, 24)
    assert isinstance(small_head().eval()(features), Tensor)
    assert isinstance(small_head(auxiliary=False).train()(features), Tensor)


def test_class_weights_are_taken_off_the_logits_outside_training():
    weights = [1.0, 2.0, 0.5]
    options = {"criterion": {"type": "P2ATLoss", "class_weights": weights}}
    features = small_backbone().eval()(torch.rand(1, 3, 64, 64))
    plain, adjusted = small_head(**options).eval(), small_head(**options, logit_adjustment=0.5).eval()
    wanted = plain(features) - 0.5 * torch.tensor(weights).log()[:, None, None]
    torch.testing.assert_close(adjusted(features), wanted)
    assert set(adjusted.state_dict()) == set(plain.state_dict())
    torch.testing.assert_close(adjusted.all_logits(features).logits, plain(features))      # what training sees


def test_gradients_reach_every_parameter():
    backbone, head = small_backbone().train(), small_head().train()
    losses = head.loss(head(backbone(torch.rand(2, 3, 64, 96))), random_labels(2, (64, 96)))
    total(losses).backward()
    assert set(losses) == {
        "loss_semantic", "loss_auxiliary", "loss_boundary", "loss_boundary_semantic", "accuracy"
    }
    for name, parameter in [*backbone.named_parameters(), *head.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_final_logits_alone_give_the_semantic_loss_alone():
    head = small_head().eval()
    losses = head.loss(head(small_backbone().eval()(torch.rand(1, 3, 40, 48))), random_labels(1, (40, 48)))
    assert set(losses) == {"loss_semantic", "accuracy"}


def test_losses_may_look_at_every_second_row_and_column():
    raw = small_head().train()(small_backbone().train()(torch.rand(2, 3, 65, 97)))
    labels = random_labels(2, (65, 97))
    head = small_head(loss_stride=2)
    found = head.loss(raw, labels)
    classes = torch.stack([one.classes for one in labels])
    final, aux, boundary = (
        F.interpolate(logits, size=(33, 49), mode="bilinear", align_corners=True)
        for logits in (raw.logits, raw.aux1, raw.aux2)
    )
    boundaries = boundary_map(classes)[:, ::2, ::2].contiguous()
    wanted = head.criterion(final, classes[:, ::2, ::2], aux, boundary[:, 0], boundaries)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, msg=name)


@pytest.mark.parametrize(("length", "stride", "places"), [
    (1, 2, [0]), (4, 2, [0, 2, 3]), (5, 2, [0, 2, 4]), (6, 4, [0, 2, 5]), (3, 1, [0, 1, 2]),
])
def test_sampled_rows_reach_from_the_first_to_the_last(length, stride, places):
    planes = torch.arange(length)[None, :, None].expand(1, length, length)
    assert sampled(planes, stride)[0, :, 0].tolist() == places
    assert sampled(planes.transpose(1, 2), stride)[0, 0].tolist() == places


def test_labels_that_are_all_ignored_leave_finite_losses():
    backbone, head = small_backbone().train(), small_head().train()
    labels = [PixelLabels(torch.full((64, 64), IGNORE_LABEL))] * 2
    losses = head.loss(head(backbone(torch.rand(2, 3, 64, 64))), labels)
    total(losses).backward()
    assert losses["loss_semantic"] == losses["loss_auxiliary"] == losses["loss_boundary_semantic"] == 0
    assert all(torch.isfinite(p.grad).all() for p in head.parameters())


def test_a_few_steps_learn_the_halves_of_a_picture():
    torch.manual_seed(0)
    backbone, head = small_backbone().train(), small_head().train()
    images = torch.rand(2, 3, 64, 64)
    images[..., 32:] += 2.0
    labels = [PixelLabels((images[i, 0] > 1.0).long().cummax(dim=1).values) for i in range(2)]
    optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=5e-3)
    accuracies = []
    for _ in range(12):
        losses = head.loss(head(backbone(images)), labels)
        optimizer.zero_grad()
        total(losses).backward()
        optimizer.step()
        accuracies.append(float(losses["accuracy"]))
    assert accuracies[-1] > 0.9                      # random guesses among three classes have a third


def test_folded_norms_and_scales_change_nothing():
    head = randomized(small_head()).eval()
    features = [torch.rand(1, width, 96 // s, 64 // s) for width, s in zip(WIDTHS, (4, 8, 16, 32), strict=True)]
    folded = copy.deepcopy(head)
    fold_batch_norms(folded)
    with torch.no_grad():
        expected, got = head(features), folded(features)
        torch.testing.assert_close(got, expected, atol=1e-4 * expected.abs().max().item(), rtol=0)
    left = [name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert left == ["classifier.bn1", "aux1.bn1", "aux2.bn1"]                # behind a PReLU or a sum
    assert folded.block3.gamma is None
    fold_batch_norms(folded)
    with torch.no_grad():
        assert torch.equal(folded(features), got)


def test_the_layout_in_memory_changes_nothing():
    network = nn.Sequential(small_backbone(), small_head()).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = network(images)
        got = network.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)          # sums in another order


def test_autocast_keeps_the_answer():
    network = nn.Sequential(small_backbone(), small_head()).eval()
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            got = network(images)
    torch.testing.assert_close(got.float(), expected, atol=0.03 * expected.abs().max().item(), rtol=0)  # 8 bits a layer


def test_the_head_compiles_as_one_graph():
    head = small_head(num_layers=1).eval()
    features = [torch.rand(1, width, 32 // s, 32 // s) for width, s in zip(WIDTHS, (4, 8, 16, 32), strict=True)]
    with torch.no_grad():
        compiled = torch.compile(head, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(features), head(features))


def test_the_pools_of_the_paper_differ_from_those_of_the_release_in_the_second():
    released, paper = PyramidPooling(4, 4).eval(), PyramidPooling(4, 4, pyramid="p1p2p3").eval()
    paper.load_state_dict(released.state_dict())
    x = torch.rand(1, 4, 6, 7)
    assert not torch.allclose(released(x), paper(x))
    with torch.no_grad():
        for module in (released, paper):
            module.mix.conv.weight.view(12, 9)[4:8] = 0                      # what is read of the second pool
    torch.testing.assert_close(released(x), paper(x))


def test_a_single_picture_is_refused_in_training():
    with pytest.raises(ValueError, match="train on at least 2 a process, got 1"):
        GlobalContext(4).train()(torch.rand(1, 4, 5, 5))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([(64, 64)], r"labels must be those of 2 pictures of one size, got 1 of \[\(64, 64\)\]"),
        ([(64, 64), (64, 32)], r"got 2 of \[\(64, 32\), \(64, 64\)\]"),
        ([], "got 0"),
    ],
)
def test_labels_that_do_not_fit_the_batch_are_refused(sizes, message):
    labels = [PixelLabels(torch.zeros(size, dtype=torch.int64)) for size in sizes]
    with pytest.raises(ValueError, match=message):
        small_head().loss(torch.zeros(2, 3, 16, 16), labels)


def test_an_auxiliary_head_of_the_released_width_cannot_be_trained_on_boundaries():
    head = small_head(aux2_channels=None).train()
    raw = head(small_backbone()(torch.rand(2, 3, 64, 64)))
    assert raw.aux2.shape[1] == 3
    with pytest.raises(ValueError, match="aux2_channels must be 1 to train on boundaries, got 3"):
        head.loss(raw, random_labels(2, (64, 64)))


def test_arguments_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"in_channels must be the widths of four maps, got \(4, 8\)"):
        P2ATHead((4, 8))
    with pytest.raises(ValueError, match="pyramid must be one of p1p1p3, p1p2p3, got 'p3'"):
        small_head(pyramid="p3")
    with pytest.raises(ValueError, match="logit_adjustment needs a criterion with class_weights"):
        small_head(logit_adjustment=1.0)
    with pytest.raises(ValueError, match="loss_stride must be >= 1, got 0"):
        small_head(loss_stride=0)
    with pytest.raises(ValueError, match="auxiliary logits need auxiliary=True"):
        small_head(auxiliary=False).all_logits(())
