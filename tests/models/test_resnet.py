from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torchvision.ops import deform_conv2d

from perception.compression.batch_norm import fold_batch_norms
from perception.models.image_backbones.deform_conv import ModulatedDeformConv2d
from perception.models.image_backbones.resnet import BasicBlock, ResNet
from perception.registry import MODELS


def tiny(**options) -> ResNet:
    return ResNet(**{"depth": 50, "stem_channels": 4, "base_channels": 4, **options})


def randomize(module: torch.nn.Module, seed: int = 0) -> None:
    """Every parameter and statistic away from its start, so that a norm or an offset can't hide."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in [*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())]:
            tensor.add_(0.1 * torch.rand(tensor.shape, generator=draw))


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_torchvision_weights_load_by_name_and_give_the_same_map(depth):
    theirs = getattr(torchvision.models, f"resnet{depth}")(weights=None).eval()
    ours = ResNet(depth, out_indices=(3,)).eval()
    ours.load_state_dict({name: value for name, value in theirs.state_dict().items() if not name.startswith("fc.")})
    x = torch.rand(1, 3, 32, 64)
    with torch.no_grad():
        stem = theirs.maxpool(theirs.bn1(theirs.conv1(x)).relu())
        expected = theirs.layer4(theirs.layer3(theirs.layer2(theirs.layer1(stem))))
        torch.testing.assert_close(ours(x)[0], expected)


@pytest.mark.parametrize("style", ["pytorch", "caffe"])
@pytest.mark.parametrize("out_indices", [(0, 1, 2, 3), (1, 3), (2,)])
def test_maps_have_the_widths_and_strides_they_say(style, out_indices):
    net = tiny(style=style, out_indices=out_indices)
    maps = net(torch.rand(2, 3, 64, 96))
    assert [m.shape[1] for m in maps] == list(net.channels) == [16 * 2**stage for stage in out_indices]
    assert [64 // m.shape[2] for m in maps] == list(net.strides) == [4 * 2**stage for stage in out_indices]


@pytest.mark.parametrize(("style", "strided"), [("pytorch", "conv2"), ("caffe", "conv1")])
def test_the_style_places_the_stride(style, strided):
    first = tiny(style=style).layer2[0]
    assert [name for name in ("conv1", "conv2", "conv3") if getattr(first, name).stride == (2, 2)] == [strided]


@pytest.mark.parametrize(("depth", "expansion"), [(18, 1), (50, 4)])
def test_stages_may_have_any_widths_and_counts(depth, expansion):
    net = tiny(depth=depth, widths=(4, 6, 7, 9), counts=(1, 3, 2, 1))
    assert net.channels == tuple(width * expansion for width in (4, 6, 7, 9))
    assert [len(getattr(net, f"layer{stage}")) for stage in range(1, 5)] == [1, 3, 2, 1]
    assert [m.shape[1] for m in net(torch.rand(2, 3, 64, 64))] == list(net.channels)


def test_the_published_camera_backbone_has_its_number_of_parameters():
    with torch.device("meta"):
        net = ResNet(50, style="caffe", deformable_stages=(2, 3))
    assert sum(parameter.numel() for parameter in net.parameters()) == 24_254_771


@pytest.mark.parametrize("size", [(6, 9), (7, 5)])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_deformable_convolution_equals_torchvisions_operator(stride, size):
    conv = ModulatedDeformConv2d(5, 6, stride, bias=True)
    torch.nn.init.normal_(conv.conv_offset.weight, std=0.3)              # offsets of cells, some beyond the border
    torch.nn.init.normal_(conv.bias)
    x = torch.randn(2, 5, *size, requires_grad=True)
    moved = conv.conv_offset(x)
    expected = deform_conv2d(
        x, moved[:, :18], conv.weight, conv.bias, stride=stride, padding=1, mask=moved[:, 18:].sigmoid()
    )
    inputs = [x, *conv.parameters()]
    gradients = torch.autograd.grad(expected.square().sum(), inputs)
    ours = conv(x)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)     # sums of 45 products in another order
    for got, want in zip(torch.autograd.grad(ours.square().sum(), inputs), gradients, strict=True):
        torch.testing.assert_close(got, want, atol=1e-4 * max(1.0, want.abs().max().item()), rtol=0)


def test_a_fresh_deformable_convolution_is_half_a_plain_one():
    conv, x = ModulatedDeformConv2d(3, 4), torch.rand(1, 3, 5, 6)
    plain = torch.nn.functional.conv2d(x, conv.weight, padding=1)
    torch.testing.assert_close(conv(x), plain / 2)                       # the sigmoid of 0


def test_folded_norms_change_nothing():
    net = tiny(style="caffe", deformable_stages=(2, 3)).eval()
    randomize(net)
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = net(x)
        folded = copy.deepcopy(net)
        assert fold_batch_norms(folded) == 1 + sum((3, 4, 6, 3))
        for got, want in zip(folded(x), expected, strict=True):
            torch.testing.assert_close(got, want, atol=1e-4 * want.abs().max().item(), rtol=0)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())


def test_frozen_stages_get_neither_gradients_nor_new_statistics():
    net = tiny(frozen_stages=1).train()
    before = copy.deepcopy(net.state_dict())
    sum(m.sum() for m in net(torch.rand(2, 3, 64, 64))).backward()
    trained = {name for name, parameter in net.named_parameters() if parameter.grad is not None}
    moved = {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert not any(name.startswith(("conv1", "bn1", "layer1")) for name in trained | moved)
    assert {"layer2.0.conv1.weight", "layer2.0.bn1.weight"} <= trained
    assert "layer2.0.bn1.running_mean" in moved


def test_norm_eval_keeps_the_statistics_and_trains_the_scales():
    net = tiny(norm_eval=True).train()
    before = net.bn1.running_mean.clone()
    sum(m.sum() for m in net(torch.rand(2, 3, 64, 64))).backward()
    assert torch.equal(net.bn1.running_mean, before)
    assert net.bn1.weight.grad is not None


def test_norm_grad_off_keeps_the_scales():
    net = tiny(norm_grad=False)
    assert not any(p.requires_grad for name, p in net.named_parameters() if "bn" in name or "downsample.1" in name)
    assert net.layer1[0].conv1.weight.requires_grad


def test_a_basic_block_without_a_change_of_shape_has_a_bare_shortcut():
    block = BasicBlock(4, 4).eval()
    torch.nn.init.zeros_(block.bn2.weight)
    x = torch.rand(1, 4, 3, 3)
    assert block.downsample is None
    assert torch.equal(block(x), x)


def test_there_are_no_stages_behind_the_last_that_is_asked_for():
    model = tiny(out_indices=(0,), frozen_stages=4)
    assert not hasattr(model, "layer2")
    assert not [name for name, weight in model.named_parameters() if weight.requires_grad]


def test_it_is_registered_as_an_image_backbone():
    net = MODELS.build({"type": "ResNet", "depth": 18})
    assert MODELS.roles["ResNet"] == "image_backbone"
    assert net.channels == (64, 128, 256, 512)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": 20}, "depth must be one of 18, 34, 50, 101, 152, got 20"),
        ({"style": "torch"}, "style must be"),
        ({"out_indices": (0, 4)}, r"out_indices must be ascending stages 0 to 3, got \(0, 4\)"),
        ({"out_indices": ()}, "out_indices must name at least one stage"),
        ({"deformable_stages": (3, 2)}, "deformable_stages must be ascending"),
        ({"depth": 18, "deformable_stages": (3,)}, "deformable_stages needs bottlenecks"),
        ({"widths": (4, 8)}, r"widths must be four numbers >= 1, got \(4, 8\)"),
        ({"counts": (1, 0, 1, 1)}, "counts must be four numbers >= 1"),
        ({"frozen_stages": 5}, "frozen_stages must lie in -1 to 4, got 5"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)


def test_the_stems_map_comes_first_and_is_left_as_it_was():
    plain, with_stem = tiny().eval(), tiny(stem_map=True).eval()
    with_stem.load_state_dict(plain.state_dict())
    images = torch.rand(1, 3, 33, 65)
    stem, *maps = with_stem(images)
    assert with_stem.channels == (4, 16, 32, 64, 128)
    assert with_stem.strides == (4, 4, 8, 16, 32)
    torch.testing.assert_close(stem, plain.maxpool(plain.bn1(plain.conv1(images)).relu()))
    torch.testing.assert_close(maps, list(plain(images)))


def test_bottlenecks_widen_as_told_and_a_block_that_keeps_its_width_has_no_projection():
    net = tiny(expansion=2, base_channels=2)
    assert net.channels == (4, 8, 16, 32)
    assert [getattr(net, f"layer{stage}")[0].downsample is None for stage in (1, 2)] == [True, False]
    with pytest.raises(ValueError, match=r"expansion needs bottlenecks .* got depth 18"):
        ResNet(18, expansion=2)


def test_norms_take_their_settings():
    norms = [m for m in tiny(norm_eps=1e-3, norm_momentum=0.01).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}
