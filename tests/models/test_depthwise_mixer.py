"""The depthwise convolution as a token mixer."""

from __future__ import annotations

import pytest
import torch

from perception.models.mixers.depthwise import DepthwiseConvMixer


@torch.no_grad()
def test_windows_by_hand():
    mixer = DepthwiseConvMixer(2)
    mixer.conv.weight.zero_()
    mixer.conv.bias.copy_(torch.tensor([0.0, 0.5]))
    mixer.conv.weight[0, 0, 1] = torch.tensor([1.0, 10, 100])               # left, itself, right
    mixer.conv.weight[1, 0, :, 1] = torch.tensor([1.0, 0, 0])               # above
    x = torch.tensor([[1.0, 1], [2, 2], [3, 3], [4, 4], [5, 5], [6, 6]])[None]
    expected = torch.tensor([[210.0, 0.5], [321, 0.5], [32, 0.5], [540, 1.5], [654, 2.5], [65, 3.5]])[None]
    assert torch.equal(mixer(x, (2, 3)), expected)
    mask = torch.tensor([[True, False, True, True, True, True]])
    masked = torch.tensor([[10.0, 0.5], [0, 0], [30, 0.5], [540, 1.5], [654, 0.5], [65, 3.5]])[None]
    assert torch.equal(mixer(x, (2, 3), mask), masked)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: DepthwiseConvMixer(4, kernel=2), "kernel must be odd and >= 1, got 2"),
    (lambda: DepthwiseConvMixer(4)(torch.rand(1, 6, 4)), r"needs the size \(H, W\) of the map .* got None"),
    (lambda: DepthwiseConvMixer(4)(torch.rand(1, 6, 4), (2, 2)), "a map of 2 x 2 has other than 6 tokens"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
