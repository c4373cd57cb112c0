"""FIT on maps and token by token: tiles, pictures of any size, several pictures, masks, precision, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from perception.engine.config import load_config
from perception.registry import MODELS
from perception_plugins.fit import FIT, FITMixer
from perception_plugins.fit.tiled import TiledFIT, cut, joined

CONFIG = Path(__file__).resolve().parents[2] / "configs/fit/fit_384_patch16.py"
close = torch.testing.assert_close


def mixer(**options: Any) -> FITMixer:
    torch.manual_seed(0)
    built = FITMixer(16, **{"heads": 2, "tile": 2, "latents": 3, **options}).eval()
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def backbone(**options: Any) -> FIT:
    torch.manual_seed(0)
    sizes = {"width": 16, "latent_width": 24, "heads": 2, "latent_heads": 4, "patch": 4, "crop": 2, "latents": 3}
    return FIT("(1)1(1)", **{**sizes, **options}).eval()


def test_tiles_by_hand_and_back():
    x = torch.arange(24).view(1, 4, 6, 1)
    tiles = cut(x, (2, 2), (2, 3))
    assert tiles[0, :, :, 0].tolist() == [
        [0, 1, 2, 6, 7, 8], [3, 4, 5, 9, 10, 11], [12, 13, 14, 18, 19, 20], [15, 16, 17, 21, 22, 23],
    ]
    assert torch.equal(joined(tiles, (2, 2), (2, 3)), x)


@torch.no_grad()
def test_a_tile_hears_of_others_through_latents_alone():
    net, x = mixer(), torch.randn(1, 16, 16)
    changed = x.clone()
    changed[:, 15] *= -1                                                  # the last tile of 4 x 4 tokens
    assert (net(changed, (4, 4)) - net(x, (4, 4)))[0].abs().amax(dim=1).gt(1e-6).all()
    deaf = mixer(layers="(2)")                                            # no global layer
    moved = (deaf(changed, (4, 4)) - deaf(x, (4, 4)))[0].abs().amax(dim=1) > 1e-6
    assert moved.nonzero().flatten().tolist() == [10, 11, 14, 15]


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (1, 1), (1, 7), None])
@torch.no_grad()
def test_maps_of_any_size_are_as_if_they_ended_where_the_mask_does(size):
    net, count = mixer(), 7 if size is None else size[0] * size[1]
    x = torch.randn(2, count, 16)
    whole = net(x, size)
    height, width = (1, count) if size is None else size
    around = (6, 8)
    wide, mask = torch.full((2, *around, 16), 1e3), torch.zeros(2, *around, dtype=torch.bool)
    wide[:, :height, :width], mask[:, :height, :width] = x.view(2, height, width, 16), True
    if size is None:
        got = net(torch.cat([x, torch.full((2, 9, 16), torch.inf)], dim=1), None, torch.arange(16).expand(2, -1) < 7)
        close(got[:, :7], whole, atol=1e-5, rtol=1e-5)
    else:
        got = net(wide.flatten(1, 2), around, mask.flatten(1)).unflatten(1, around)
        close(got[:, :height, :width].flatten(1, 2), whole, atol=1e-5, rtol=1e-5)
    assert not got.flatten(1, -2)[:, -1].any()


@torch.no_grad()
def test_a_causal_mixer_takes_tokens_in_their_order():
    net, x = mixer(causal=True), torch.randn(2, 18, 16)
    for last in (3, 4, 9, 17):
        close(net(x[:, :last], (1, last)), net(x, (3, 6))[:, :last], atol=1e-5, rtol=1e-5)
    changed = torch.cat([-x[:, :1], x[:, 1:]], dim=1)
    moved = (net(changed) - net(x)).abs().amax(dim=(0, 2))
    assert moved.gt(1e-6).all()
    mask = torch.ones(2, 18, dtype=torch.bool)
    mask[:, 4:8] = False                                                  # the second run is empty
    gap = torch.where(mask[..., None], x, -5 * x)
    close(net(gap, None, mask), net(x, None, mask))
    assert net(x, None, mask).isfinite().all()


@pytest.mark.parametrize("causal", [False, True])
def test_where_nothing_is_real_outputs_are_zero_and_gradients_finite(causal):
    net, x = mixer(causal=causal), torch.randn(2, 15, 16, requires_grad=True)
    mask = torch.tensor([[True] * 15, [False] * 15])
    out = net(x, (3, 5), mask)
    out.square().sum().backward()
    assert not out[1].any()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


def test_it_takes_any_count_of_tokens_in_any_precision_and_exports():
    net = mixer()
    assert all(net(torch.randn(2, count, 16)).shape == (2, count, 16) for count in (0, 1, 5))
    assert net(torch.randn(2, 0, 16), (0, 3)).shape == (2, 0, 16)
    x, mask = torch.randn(2, 15, 16), torch.ones(2, 15, dtype=torch.bool)
    with torch.autocast("cpu", torch.bfloat16):
        rough = net(x, (3, 5))
    close(rough.float(), net(x, (3, 5)), atol=0.2, rtol=0.1)
    exported = torch.export.export(net, (x, (3, 5), mask)).module()
    mask[1, :6] = False
    close(exported(x + 1, (3, 5), mask), net(x + 1, (3, 5), mask), atol=1e-5, rtol=1e-5)
    assert net.double()(x.double()).dtype == torch.float64


@torch.no_grad()
def test_pictures_of_a_set_exchange_news_and_others_do_not():
    images = torch.rand(4, 3, 16, 24)
    changed = images.clone()
    changed[1] = 0
    for count, heard in ((1, [1]), (2, [0, 1]), (4, [0, 1, 2, 3])):
        net = backbone(pictures=count)
        ((x,), (y,)) = net(images), net(changed)
        moved = (x - y).abs().amax(dim=(1, 2, 3)) > 1e-6
        assert moved.nonzero().flatten().tolist() == heard
    net = backbone(pictures=2)
    (x,), (y,) = net(images[:2]), net(images[[1, 0]])
    assert not torch.allclose(x, y.flip(0))                               # each has a code


@torch.no_grad()
def test_a_picture_keeps_no_more_than_its_whole_patches():
    net, images = backbone(), torch.rand(2, 3, 15, 23)
    (x,) = net(images)
    assert x.shape == (2, 16, 3, 5)
    close(x, net(images[:, :, :12, :20])[0])


def test_the_published_form_has_the_proposed_sizes():
    with torch.device("meta"):
        model = MODELS.build(load_config(CONFIG).model).network
        assert model(torch.empty(1, 3, 448, 448)).shape == (1, 1000)
    blocks = model.backbone.body.trunk.blocks
    assert [(len(block.local.layers), block.read is None) for block in blocks] == [(2, False), (2, False), (2, True)]
    assert [len(block.latent.layers) for block in blocks[:2]] == [2, 2]


@pytest.mark.parametrize(("build", "message"), [
    (lambda: mixer(layers="(1)1"), r"layers must end with local layers, .* got '\(1\)1'"),
    (lambda: mixer(tile=0), "tile, latents and pictures must be >= 1, got 0, 3 and 1"),
    (lambda: mixer()(torch.zeros(1, 5, 16), (2, 2)), "a map of 2 x 2 has other than 5 tokens"),
    (lambda: TiledFIT(16, tile=2, latents=1, latent_channels=6, heads=2, latent_heads=2, layers="(1)"),
     "latent_channels must be divisible by 4, got 6"),
    (lambda: backbone(pictures=2)(torch.zeros(3, 3, 8, 8)), "a batch must be sets of 2 pictures, got 3"),
    (lambda: backbone()(torch.zeros(1, 3, 3, 8)), "images must be at least 4 x 4 pixels, got 3 x 8"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
