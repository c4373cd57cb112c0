from __future__ import annotations

import re

import pytest
import torch
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.convnext import ConvNeXt as TorchvisionConvNeXt

from perception.models.channel_norm import ChannelNorm
from perception.models.image_backbones.convnext import ConvNeXt

WIDTHS, DEPTHS = (4, 6, 8, 10), (1, 1, 2, 1)


def tiny(**options) -> ConvNeXt:
    return ConvNeXt(DEPTHS, WIDTHS, **options)


def name_in_torchvision(name: str) -> str:
    """Ours (features.1 is the first stage there, features.2 the first reduction)."""
    down = re.fullmatch(r"downsample_layers\.(\d)\.(\d)\.(\w+)", name)
    if down is not None:
        return f"features.{2 * int(down[1])}.{down[2]}.{down[3]}"
    block = re.fullmatch(r"stages\.(\d)\.(\d+)\.(\w+)\.?(\w*)", name)
    assert block is not None
    prefix = f"features.{2 * int(block[1]) + 1}.{block[2]}."
    if block[3] == "gamma":
        return f"{prefix}layer_scale"
    return f"{prefix}block.{ {'dwconv': 0, 'norm': 2, 'pwconv1': 3, 'pwconv2': 5}[block[3]]}.{block[4]}"


def test_without_padding_it_is_torchvisions():
    settings = [CNBlockConfig(w, n, d) for w, n, d in zip(WIDTHS, (*WIDTHS[1:], None), DEPTHS, strict=True)]
    theirs = TorchvisionConvNeXt(settings, layer_scale=0.5, num_classes=1).eval()
    state, ours = theirs.state_dict(), tiny(layer_scale=0.5, out_indices=(3,)).eval()
    ours.load_state_dict({
        name: state[name_in_torchvision(name)].view_as(value) for name, value in ours.state_dict().items()
    })
    images = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(images)[0], theirs.features(images))


@pytest.mark.parametrize(("height", "width"), [(64, 96), (33, 49), (35, 62), (1, 1)])
def test_padded_sizes_round_up(height, width):
    net = tiny(stem_map=True, ceil_sizes=True)
    maps = net(torch.rand(2, 3, height, width))
    assert [m.shape[1] for m in maps] == list(net.channels) == [4, *WIDTHS]
    assert [tuple(m.shape[2:]) for m in maps] == [(-(-height // s), -(-width // s)) for s in net.strides]
    assert net.strides == (4, 4, 8, 16, 32)


def test_gradients_reach_every_parameter():
    net = tiny(drop_path=0.0, ceil_sizes=True, layer_scale=1.0)
    sum(m.square().sum() for m in net(torch.rand(1, 3, 33, 40))).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_branches_are_left_out_more_often_the_deeper_they_lie():
    rates = [block.drop_path.p for stage in tiny(drop_path=0.4).stages for block in stage]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"widths": (4, 6)}, r"widths must be one for each of the 4 depths, got \(4, 6\)"),
     ({"out_indices": (2, 1)}, r"out_indices must be ascending stages 0 to 3, got \(2, 1\)"),
     ({"out_indices": ()}, r"out_indices must be ascending stages 0 to 3, got \(\)"),
     ({"out_indices": (4,)}, r"out_indices must be ascending stages 0 to 3, got \(4,\)")],
)
def test_what_makes_no_sense_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ConvNeXt(**{"depths": DEPTHS, "widths": WIDTHS, **options})


def test_a_pixel_is_normalised_by_itself_in_float32():
    norm = ChannelNorm(2)
    pixels = torch.tensor([[1.0, 3.0], [500.0, 500.5]]).T.reshape(1, 2, 1, 2)
    first, second = 1.0, 0.25 / (0.25**2 + 1e-6) ** 0.5                    # distance from the mean by the deviation
    expected = torch.tensor([[-first, first], [-second, second]]).T.reshape(1, 2, 1, 2)
    torch.testing.assert_close(norm(pixels), expected, atol=1e-5, rtol=0)
    assert norm(pixels.bfloat16()).dtype == torch.bfloat16
