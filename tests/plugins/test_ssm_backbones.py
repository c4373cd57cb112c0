"""Vision Mamba and VMamba: published sizes, positions of other pictures, drop paths, streams, classifiers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.engine.config import load_config
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS
from perception_plugins.ssm_vision import PLUGIN, VimClassifier, VisionMamba, VMambaBackbone, resized_positions
from perception_plugins.ssm_vision.vmamba_layers import PatchMerging

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
PUBLISHED = {                                        # parameters with the classifier
    "vim_tiny": 7_148_008, "vim_tiny_plus": 7_250_344, "vim_small": 25_796_584, "vim_base": 97_598_440,
    "vmamba_vanilla_tiny": 22_893_448, "vmamba_vanilla_small": 44_417_416, "vmamba_vanilla_base": 76_254_056,
    "vmamba_tiny_s2l5": 30_705_832, "vmamba_small_s2l15": 50_147_752, "vmamba_base_s2l15": 88_557_800,
    "vmamba_tiny_s1l8": 30_249_064, "vmamba_small_s1l20": 49_012_840, "vmamba_base_s1l20": 86_614_504,
}
close = torch.testing.assert_close


def small_vim(**options) -> VisionMamba:
    torch.manual_seed(0)
    return VisionMamba(**{"width": 16, "depth": 2, "state": 2, "patch": 8, "stride": 8, "position": (4, 6), **options})


def small_vmamba(**options) -> VMambaBackbone:
    torch.manual_seed(0)
    return VMambaBackbone(**{"widths": (8, 16, 24, 32), "depths": (1, 1, 1, 1), **options})


def images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_every_config_is_a_release():
    assert set(PLUGIN.checkpoints) == set(PUBLISHED)
    assert all((CONFIGS.parent / path).is_file() for path in PLUGIN.checkpoints.values())


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_variant_has_as_many_parameters_as_published(name: str):
    with torch.device("meta"):
        network = MODELS.build(load_config(CONFIGS / f"ssm_vision/{name}.py").model).network
    assert sum(parameter.numel() for parameter in network.parameters()) == PUBLISHED[name]


def test_the_class_token_lies_in_the_middle_and_is_what_is_classified():
    network = VimClassifier({"type": "VisionMamba", "width": 16, "depth": 2, "patch": 8, "stride": 8,
                             "position": (4, 6)}, 5).eval()
    (tokens,), size = network.backbone.tokens(images(32, 48))
    assert (tokens.shape, size) == ((2, 25, 16), (4, 6))
    close(network(images(32, 48)), network.head(tokens[:, 12]))
    (dense,) = network.backbone(images(32, 48))
    close(tokens_of(dense), torch.cat([tokens[:, :12], tokens[:, 13:]], 1))


@pytest.mark.parametrize("size", [(4, 6), (8, 12), (3, 5)])
def test_positions_of_another_map_are_resized_and_the_class_token_keeps_its_own(size: tuple[int, int]):
    table = torch.randn(1, 25, 8)
    resized = resized_positions(table, (4, 6), size)
    middle = size[0] * size[1] // 2
    assert torch.equal(resized[:, middle], table[:, 12])
    grid = map_of(torch.cat([table[:, :12], table[:, 13:]], 1), (4, 6))
    expected = tokens_of(F.interpolate(grid, size, mode="bicubic", align_corners=False))
    close(torch.cat([resized[:, :middle], resized[:, middle + 1 :]], 1), expected)


def test_the_authors_way_takes_the_first_row_for_the_class_tokens():
    table = torch.randn(1, 25, 8)
    legacy = resized_positions(table, (4, 6), (8, 12), legacy=True)
    assert torch.equal(legacy[:, 0], table[:, 0])
    close(legacy[:, 1:], tokens_of(F.interpolate(map_of(table[:, 1:], (4, 6)), (8, 12), mode="bicubic")))
    assert torch.equal(resized_positions(table, (4, 6), (4, 6), legacy=True), table)


def test_patches_that_overlap_have_maps_of_their_own_size():
    net = VisionMamba("tiny_plus", width=16, depth=1)
    assert net.position_table.shape == (1, 27 * 27 + 1, 16)
    assert [x.shape for x in net(images(48, 40))] == [(2, 16, 5, 4)]


def test_maps_behind_an_earlier_block_are_the_normed_stream():
    both = small_vim(out_indices=(0, 1)).eval()
    first = small_vim(out_indices=(0,)).eval()
    assert len(first.blocks) == 1
    first.load_state_dict({name: both.state_dict()[name] for name in first.state_dict()})
    close(both(images(32, 48))[0], first(images(32, 48))[0])


def test_drop_paths_are_of_the_block_before():
    net = small_vim(depth=3, drop_path=0.4)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in net.blocks]
    assert rates == pytest.approx([0.0, 0.0, 0.2])
    assert [drop.drop_prob for drop in net.out_drops] == pytest.approx([0.4])


def test_the_last_layers_of_mixers_begin_smaller_the_deeper_a_vim_is_however_often():
    net = small_vim(depth=16)
    net.init_weights()
    weight = net.blocks[0].mixer.out_proj.weight.detach()
    assert 0.9 * 32**-0.5 / 4 < float(weight.abs().max()) <= 32**-0.5 / 4
    assert float(net.blocks[0].mixer.ahead.dt_bias.detach().abs().min()) > 0


@pytest.mark.parametrize("variant", ["tiny_s1l8", "vanilla_tiny"])
@pytest.mark.parametrize("size", [(64, 64), (66, 50), (37, 95)])
def test_maps_of_any_picture(variant: str, size: tuple[int, int]):
    net = small_vmamba(variant=variant).eval()
    maps = net(images(*size))
    if variant == "tiny_s1l8":
        assert [tuple(x.shape[2:]) for x in maps] == [(-(-size[0] // s), -(-size[1] // s)) for s in net.strides]
    assert all(x.isfinite().all() for x in maps)


def test_places_of_a_cell_are_merged_column_by_column():
    merging = PatchMerging(1, 4)
    merging.norm = nn.Identity()
    with torch.no_grad():
        merging.reduction.weight.copy_(torch.eye(4))
    x = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])[None, :, :, None]
    assert merging(x)[0, 0].tolist() == [[1.0, 4.0, 2.0, 5.0], [3.0, 6.0, 0.0, 0.0]]


def test_maps_are_given_of_the_stages_asked_for():
    whole, part = small_vmamba().eval(), small_vmamba(out_indices=(1,)).eval()
    assert (part.channels, part.strides, len(part.stages)) == ((16,), (8,), 2)
    part.load_state_dict({name: whole.state_dict()[name] for name in part.state_dict()})
    close(part(images(64, 64))[0], whole(images(64, 64))[1])


def test_checkpointing_changes_no_gradient():
    gradients = []
    for checkpointing in (False, True):
        net = small_vmamba(checkpointing=checkpointing, drop_path=0.0).train()
        sum(x.square().sum() for x in net(images(32, 32))).backward()
        gradients.append([parameter.grad for parameter in net.parameters()])
    close(gradients[1], gradients[0])


@pytest.mark.parametrize(("build", "message"), [
    (lambda: VisionMamba("tinny"), "variant must be one of tiny, tiny_plus, small, base, got 'tinny'"),
    (lambda: VMambaBackbone("tiny"), "variant must be one of vanilla_tiny"),
    (lambda: VMambaBackbone(depths=(1, 2)), r"depths must be four, one a stage, got \(1, 2\)"),
    (lambda: VMambaBackbone(stem="v2"), "stem must be patches or convolutions, got 'v2'"),
    (lambda: VMambaBackbone(downsample="v1"), "downsample must be merging or convolution, got 'v1'"),
    (lambda: small_vim()(torch.zeros(1, 3, 7, 9)), "images must be at least 8 x 8 pixels, got 7 x 9"),
    (lambda: VimClassifier({"type": "VisionMamba"}, 0), "num_classes must be >= 1, got 0"),
])
def test_what_cannot_be_is_refused(build, message: str):
    with pytest.raises(ValueError, match=message):
        build()
