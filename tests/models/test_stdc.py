from __future__ import annotations

import pytest
import torch
from torch import nn

from perception.compression.batch_norm import fold_batch_norms
from perception.models.image_backbones.stdc import STDC, ConcatBlock
from perception.registry import MODELS


def tiny(**options) -> STDC:
    return STDC(**{"depth": (1, 2, 1), "base_channels": 8, **options})


@pytest.mark.parametrize(("depth", "published"), [("stdc1", 5_318_304), ("stdc2", 9_348_768)])
def test_published_backbones_have_their_number_of_parameters(depth, published):
    with torch.device("meta"):
        net = STDC(depth)
    assert sum(parameter.numel() for parameter in net.parameters()) == published
    assert net.channels == (64, 256, 512, 1024)


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (1, 7)])
@pytest.mark.parametrize("block", ["cat", "add"])
def test_maps_have_the_widths_and_strides_they_say_rounded_up(block, size):
    net = tiny(block=block).eval()
    for found, channels, stride in zip(net(torch.rand(2, 3, *size)), net.channels, net.strides, strict=True):
        assert found.shape == (2, channels, -(-size[0] // stride), -(-size[1] // stride))


@pytest.mark.parametrize("block", ["cat", "add"])
def test_gradients_reach_every_parameter(block):
    net = tiny(block=block)
    sum(found.square().mean() for found in net(torch.rand(2, 3, 64, 64))).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_block_joins_the_maps_of_a_chain():
    block, x = ConcatBlock(6, 8, num_convs=3).eval(), torch.rand(1, 6, 5, 4)
    chain = [block.convs[0](x)]
    for conv in block.convs[1:]:
        chain.append(conv(chain[-1]))
    assert [part.shape[1] for part in chain] == [4, 2, 2]
    assert torch.equal(block(x), torch.cat(chain, dim=1))


def test_with_stride_two_the_first_map_is_averaged_in_the_join_and_halved_for_the_chain():
    block, x = ConcatBlock(6, 8, 2).eval(), torch.rand(1, 6, 5, 4)
    first = block.convs[0](x)
    joined = block(x)
    torch.testing.assert_close(joined[:, :4], nn.functional.avg_pool2d(first, 3, 2, 1))
    torch.testing.assert_close(joined[:, 4:6], block.convs[1](block.down(first)))


def test_an_added_block_without_stride_keeps_its_input():
    block, x = ConcatBlock(8, 8, residual=True).eval(), torch.rand(1, 8, 3, 3)
    for conv in block.convs:
        nn.init.zeros_(conv.bn.weight)
    assert torch.equal(block(x), x)


def test_the_last_convolution_widens_the_coarsest_map():
    net = tiny(last_conv=True).eval()
    assert net.channels == (8, 32, 64, 1024)
    assert net(torch.rand(1, 3, 32, 32))[3].shape == (1, 1024, 1, 1)


@pytest.mark.parametrize("block", ["cat", "add"])
def test_folded_norms_change_nothing(block):
    net, x = tiny(block=block), torch.rand(2, 3, 64, 64)
    net(x)                                                               # statistics away from their start
    net.eval()
    with torch.no_grad():
        expected = net(x)
        fold_batch_norms(net)
        for got, want in zip(net(x), expected, strict=True):
            torch.testing.assert_close(got, want, atol=1e-4 * want.abs().max().item(), rtol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_it_is_registered_as_an_image_backbone():
    with torch.device("meta"):
        assert MODELS.build({"type": "STDC", "depth": "stdc2"}).strides == (4, 8, 16, 32)
    assert MODELS.roles["STDC"] == "image_backbone"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"depth": "stdc3"}, 'depth must be "stdc1" or "stdc2" or three numbers of blocks, got \'stdc3\''),
        ({"depth": (2, 2)}, "three numbers of blocks"),
        ({"depth": (2, 0, 2)}, "three numbers of blocks"),
        ({"block": "sum"}, 'block must be "cat" or "add", got \'sum\''),
        ({"num_convs": 1}, "num_convs must be at least 2, got 1"),
        ({"base_channels": 7}, "base_channels must be even"),
        ({"num_convs": 7}, "4 \\* base_channels divisible by 64 for blocks of 7 convolutions, got 8"),
    ],
)
def test_arguments_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny(**options)
