"""torchvision's Swin transformers as backbones: maps, sizes, weights and export."""

from __future__ import annotations

import pytest
import torch
from torchvision.models import SwinTransformer, swin_b, swin_t

from perception.models.image_backbones.swin import TorchvisionSwin

SMALL = {"channels": 8, "depths": (1, 1, 2, 1), "heads": (1, 1, 2, 2), "drop_path": 0.0}


@pytest.mark.parametrize(("height", "width"), [(64, 96), (65, 101), (33, 40)])
def test_maps_have_the_promised_widths_and_strides(height, width):
    net = TorchvisionSwin("tiny", **SMALL).eval()
    maps = net(torch.rand(2, 3, height, width))
    assert [m.shape[1] for m in maps] == list(net.channels) == [16, 32, 64, 64]
    assert net.strides == (8, 16, 32, 32)
    for m, stride in zip(maps, net.strides, strict=True):
        rounded_up = [-(-(size // 4) // (stride // 4)) for size in (height, width)]
        assert list(m.shape[2:]) == rounded_up


def test_published_sizes_have_torchvisions_parameters_without_norm_and_classifier():
    with torch.device("meta"):
        for ours, theirs in ((TorchvisionSwin("base"), swin_b()), (TorchvisionSwin("tiny"), swin_t())):
            features = {key: value.shape for key, value in theirs.features.named_parameters()}
            assert {key: value.shape for key, value in ours.features.named_parameters()} == features


def test_the_maps_are_torchvisions_behind_each_merging_and_before_its_norm():
    torch.manual_seed(0)
    theirs = SwinTransformer([4, 4], SMALL["channels"], list(SMALL["depths"]), list(SMALL["heads"]), [7, 7]).eval()
    ours = TorchvisionSwin("tiny", out_indices=(1, 3), **SMALL).eval()
    ours.load_state_dict({key: value for key, value in theirs.state_dict().items() if key.startswith("features.")})
    images = torch.rand(1, 3, 64, 64)
    merged, last = ours(images)
    torch.testing.assert_close(last, theirs.features(images).permute(0, 3, 1, 2))
    torch.testing.assert_close(merged, theirs.features[:5](images).permute(0, 3, 1, 2))
    assert (merged.shape[1], last.shape[1]) == ours.channels == (32, 64)


def test_stages_that_no_map_needs_are_left_out():
    net = TorchvisionSwin("tiny", out_indices=(0, 1), **SMALL)
    assert len(net.features) == 5
    assert [tuple(m.shape) for m in net(torch.rand(1, 3, 64, 64))] == [(1, 16, 8, 8), (1, 32, 4, 4)]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"variant": "bass"}, r"variant must be one of tiny, small, base, got 'bass' \(did you mean \"base\"\?\)"),
        ({"depths": (1, 1, 1)}, "depths and heads must be four numbers each"),
        ({"out_indices": (3, 1)}, "out_indices must be ascending"),
        ({"out_indices": (4,)}, "out_indices must be ascending"),
        ({"out_indices": ()}, "out_indices must be ascending"),
    ],
)
def test_bad_arguments_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        TorchvisionSwin(**options)
