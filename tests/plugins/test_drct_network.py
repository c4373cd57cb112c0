"""DRCT as a network: sizes, borders, gradients, export and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.models.sliding_window import MarginTiles
from perception.transforms.bicubic import enlarged
from perception_plugins.drct import DRCT
from perception_plugins.drct.attention import map_of_windows, relative_positions, shift_mask, windows_of
from perception_plugins.drct.group import heads_of_layers
from perception_plugins.drct.network import group_rates

SMALL = {"depths": (6, 6), "channels": 12, "growth": 4, "heads": 3, "window": 4, "features": 8, "image_size": 16}


def network(scale: int = 2, **options: object) -> DRCT:
    torch.manual_seed(0)
    return DRCT(scale, **{**SMALL, **options}).eval()


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_pictures_are_enlarged_by_the_scale(scale):
    assert network(scale)(torch.rand(2, 3, 8, 20)).shape == (2, 3, 8 * scale, 20 * scale)


def test_windows_are_cut_row_by_row_and_put_back():
    x = torch.arange(2 * 4 * 6).float().view(2, 4, 6, 1)
    windows = windows_of(x, 2)
    assert windows.shape == (2 * 6, 4, 1)
    assert windows[1, :, 0].tolist() == [2, 3, 8, 9]
    assert torch.equal(map_of_windows(windows, 2, (4, 6)), x)


def test_a_row_of_the_bias_table_is_that_of_the_way_from_key_to_query():
    positions = relative_positions(2)                # tokens (0, 0), (0, 1), (1, 0), (1, 1); three columns a row
    assert positions.tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


def test_windows_at_the_border_of_a_rolled_map_are_split():
    apart = shift_mask((4, 4), 2, 1, torch.zeros(())) < 0
    assert apart.shape == (4, 4, 4)
    assert not apart[0].any()
    assert apart[1][0].tolist() == [False, True, False, True]          # right window: its columns are of two borders
    assert apart[3].sum() == 12                                        # lower right: all four are apart


def test_heads_follow_the_rule_of_the_release():
    assert heads_of_layers([180, 212, 244, 276, 308], 6) == [6, 4, 2, 6, 4]


def test_rates_of_the_groups_are_those_of_their_first_layers():
    rates = group_rates((6,) * 6, 0.1)
    assert rates == pytest.approx([0, 0.0171, 0.0343, 0.0514, 0.0686, 0.0857], abs=5e-5)


def test_windows_as_large_as_the_picture_it_was_made_for_stay_where_they_are():
    small = network(image_size=4, window=16)
    assert (small.divisor, small.shift) == (4, 0)
    assert small(torch.rand(1, 3, 8, 4)).shape == (1, 3, 16, 8)


def test_the_bicubic_shortcut_begins_as_bicubic_enlargement():
    images = torch.rand(1, 3, 16, 16)
    found, expected = network(shortcut="bicubic")(images), enlarged(images, 2)
    inner = (..., slice(4, -4), slice(4, -4))        # torch leaves the border out, MATLAB mirrors it
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-5, rtol=0)


def test_no_pixel_beyond_the_reach_matters():
    net = network(depths=(6,))
    reach = net.reach
    images = torch.rand(1, 3, 8, 4 * (2 * reach // 4 + 2)).requires_grad_()
    middle = images.shape[3] // 2
    net(images)[..., 2 * middle].sum().backward()
    columns = images.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    assert columns.min() >= middle - reach
    assert columns.max() <= middle + reach
    assert columns.max() - columns.min() > reach     # and it is no empty claim


@torch.no_grad()
def test_tiles_with_a_margin_of_the_reach_equal_the_whole():
    net, images = network(depths=(6,)), torch.rand(1, 3, 48, 60)
    margin = -(-net.reach // net.divisor) * net.divisor
    tiled = MarginTiles((16, 16), margin).apply(net, images, 2)
    torch.testing.assert_close(tiled, net(images), atol=1e-5, rtol=0)          # sums in another order


@torch.no_grad()
def test_tiles_with_a_smaller_margin_equal_the_whole_away_from_their_borders():
    net, images = network(depths=(6,)), torch.rand(1, 3, 96, 48)
    apart = (MarginTiles((48, 48), 0).apply(net, images, 2) - net(images)).abs()
    near = 2 * net.reach
    assert apart[:, :, : 96 - near].max() < 1e-5
    assert apart[:, :, 96 + near :].max() < 1e-5
    assert apart[:, :, 90:102].max() > 1e-3          # without a margin the seam is there


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_parameter_gets_a_gradient(checkpointing):
    net = network(checkpointing=checkpointing, position_table=True, drop_path=0.0).train()
    net(torch.rand(2, 3, 16, 16)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in net.parameters())


def test_recomputing_groups_changes_no_gradient():
    grads = []
    for checkpointing in (False, True):
        net = network(checkpointing=checkpointing, drop_path=0.0).train()
        net(torch.linspace(0, 1, 3 * 8 * 8).view(1, 3, 8, 8)).square().mean().backward()
        grads.append([parameter.grad for parameter in net.parameters()])
    for first, second in zip(*grads, strict=True):
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("options", [{}, {"shortcut": "bicubic", "embed_norm": False, "body_conv": False}])
def test_an_exported_network_gives_the_same(options):
    net, images = network(depths=(6,), **options), torch.rand(1, 3, 8, 12)
    exported = torch.export.export(net, (images,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(images), net(images))


def test_bfloat16_autocast_stays_near_full_precision():
    net, images = network(), torch.rand(1, 3, 16, 16)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rough = net(images)
    with torch.no_grad():
        exact = net(images)
    assert (rough - exact).abs().max() < 0.02        # 8 bits of mantissa, and a dozen layers
    net.train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = net(images).float().abs().mean()
    loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_the_range_inside_changes_nothing_outside_but_scale():
    net, images = network(), torch.rand(1, 3, 8, 8)
    ranged = network(image_range=255.0)
    assert ranged(images).shape == net(images).shape
    grey = net.mean.view(1, 3, 1, 1).expand(1, 3, 8, 8)                # 0 inside, whatever the range
    torch.testing.assert_close(ranged(grey) - net.mean, (net(grey) - net.mean) / 255)


@pytest.mark.parametrize(("images", "message"), [
    (torch.rand(1, 3, 8, 10), "images must have sides that are multiples of 4, got 8 x 10"),
    (torch.rand(1, 3, 0, 8), "multiples of 4, got 0 x 8"),
    (torch.rand(1, 1, 8, 8), r"images must be \(B, 3, H, W\), got \(1, 1, 8, 8\)"),
    (torch.rand(3, 8, 8), r"images must be \(B, 3, H, W\), got \(3, 8, 8\)"),
])
def test_pictures_that_do_not_fit_are_refused(images: Tensor, message: str):
    with pytest.raises(ValueError, match=message):
        network()(images)


def test_a_position_table_wants_pictures_of_its_size():
    with pytest.raises(ValueError, match="with position_table images must be 16 x 16, got 8 x 16"):
        network(position_table=True)(torch.rand(1, 3, 8, 16))


@pytest.mark.parametrize(("options", "message"), [
    ({"scale": 5}, "scale must be 3 or a power of two, got 5"),
    ({"scale": 1}, "scale must be 3 or a power of two, got 1"),
    ({"variant": "drct_xl"}, "variant must be one of drct, drct_l, got 'drct_xl'"),
    ({"shortcut": "nearest"}, 'shortcut must be "mean" or "bicubic"'),
    ({"window": 0}, "window and image_size must be >= 1, got 0 and 16"),
    ({"heads": (3,)}, "depths and heads must have one number a group"),
    ({"depths": ()}, "depths and heads must have one number a group"),
    ({"heads": 0}, "heads must be >= 1, got 0"),
    ({"growth": 7}, "a layer of width 19 with 2 heads, which do not divide it; heads is 3"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        network(**options)
