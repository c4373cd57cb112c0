from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perception.registry import MODELS, load_plugin
from perception_plugins.flatformer.attention import GroupAttention
from perception_plugins.flatformer.encoder import FlatFormer
from perception_plugins.flatformer.position_code import position_code

GRID = (24, 20)


def tokens_at_random_cells(counts: list[int], channels: int = 16, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features and coords of samples with the given numbers of tokens, ordered by batch."""
    draw = torch.Generator().manual_seed(seed)
    coords = []
    for batch, count in enumerate(counts):
        cells = torch.randperm(GRID[0] * GRID[1], generator=draw)[:count].sort().values
        rows = [torch.full_like(cells, batch), torch.zeros_like(cells), cells // GRID[0], cells % GRID[0]]
        coords.append(torch.stack(rows, dim=1))
    stacked = torch.cat(coords).int()
    return torch.randn(len(stacked), channels, generator=draw), stacked


def small_encoder(**options: object) -> FlatFormer:
    torch.manual_seed(0)
    defaults = {"window": (5, 4), "group_size": 12, "num_blocks": 1, "num_heads": 4}
    return FlatFormer(16, GRID, **{**defaults, **options}).eval()


@pytest.mark.parametrize("counts", [[60, 24, 12], [30, 5, 0, 1], [0, 40], [3], [0], [0, 0]])
def test_a_batch_equals_its_samples_one_by_one(counts):
    encoder = small_encoder()
    features, coords = tokens_at_random_cells(counts)
    together = encoder.encode(features, coords, len(counts))
    for sample in range(len(counts)):
        rows = coords[:, 0] == sample
        alone = coords[rows].clone()
        alone[:, 0] = 0
        torch.testing.assert_close(together[rows], encoder.encode(features[rows], alone, 1), atol=1e-5, rtol=1e-5)


def test_the_order_of_tokens_within_a_sample_does_not_matter():
    encoder = small_encoder()
    features, coords = tokens_at_random_cells([50])
    turned = encoder.encode(features.flip(0), coords.flip(0), 1).flip(0)
    torch.testing.assert_close(encoder.encode(features, coords, 1), turned, atol=1e-5, rtol=1e-5)


def test_the_canvas_holds_the_tokens_and_zeros():
    encoder = small_encoder()
    features, coords = tokens_at_random_cells([40, 0, 7])
    canvas = encoder(features, coords, 3)
    assert canvas.shape == (3, 16, GRID[1], GRID[0])
    rows = coords.long()
    torch.testing.assert_close(canvas[rows[:, 0], :, rows[:, 2], rows[:, 3]], encoder.encode(features, coords, 3))
    assert (canvas != 0).any(dim=1).sum() == len(coords)
    assert not canvas[1].any()


def test_the_input_is_left_as_it_was():
    features, coords = tokens_at_random_cells([40])
    before = features.clone()
    small_encoder()(features, coords, 1)
    assert torch.equal(features, before)


def test_a_small_sample_attends_to_its_own_tokens_alone():
    """One group of n tokens equals plain attention over them, whatever the group size."""
    features, coords = tokens_at_random_cells([7])
    padded, exact = small_encoder(group_size=12), small_encoder(group_size=7)
    padded.load_state_dict(exact.state_dict())
    results = [encoder.encode(features, coords, 1) for encoder in (padded, exact)]
    torch.testing.assert_close(*results, atol=1e-6, rtol=1e-5)


class MeanMixer(nn.Module):
    """The mean of the filled slots of a group."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, tokens: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        weight = torch.ones_like(tokens[..., :1]) if mask is None else mask[:, :, None].to(tokens.dtype)
        mean = (tokens * weight).sum(dim=1, keepdim=True) / weight.sum(dim=1, keepdim=True)
        return (self.scale * mean).expand_as(tokens)


def test_the_mixer_of_a_group_can_be_replaced_by_a_config():
    MODELS.register_module("MeanMixerOfThisTest", force=True, module=MeanMixer)
    encoder = small_encoder(mixer={"type": "MeanMixerOfThisTest"})
    features, coords = tokens_at_random_cells([30, 4])
    assert encoder(features, coords, 2).isfinite().all()
    assert sum(isinstance(module, MeanMixer) for module in encoder.modules()) == 4


def test_a_mixer_of_groups_gets_them_as_maps_of_one_row_with_the_position_code_added():
    class Recorder(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.got: list[tuple[Tensor, tuple[int, int] | None, Tensor | None]] = []

        def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
            self.got.append((x, size, mask))
            return x

    MODELS.register_module("RecorderOfThisTest", force=True, module=Recorder)
    encoder = small_encoder(mixer={"type": "RecorderOfThisTest"})
    features, coords = tokens_at_random_cells([7])
    encoder.encode(features, coords, 1)
    groups, size, mask = encoder.blocks[0].layers[0].mixer.got[0]
    assert (groups.shape, size, mask.sum()) == ((1, 12, 16), (1, 12), 7)
    order = encoder.orders(coords, 1)[0].slots[:7]
    torch.testing.assert_close(groups[0, :7], (features + encoder.position(coords))[order])


def test_the_default_mixer_empties_slots_that_are_filled_up():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    mixed = GroupAttention(16, num_heads=4)(torch.randn(2, 3, 16), mask=mask)
    assert torch.equal(mixed.abs().sum(dim=2) > 0, mask)


def test_attention_without_position_or_mask_is_plain_self_attention():
    ours = GroupAttention(16, num_heads=4).eval()
    plain = nn.MultiheadAttention(16, 4, batch_first=True).eval()
    plain.load_state_dict({
        "in_proj_weight": ours.qkv.weight, "in_proj_bias": ours.qkv.bias,
        "out_proj.weight": ours.proj.weight, "out_proj.bias": ours.proj.bias,
    })
    tokens = torch.randn(3, 10, 16)
    torch.testing.assert_close(ours(tokens), plain(tokens, tokens, tokens)[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("channels", "used"), [(128, 128), (30, 28), (6, 4)])
def test_the_position_code_is_padded_with_zeros(channels, used):
    code = position_code(torch.tensor([[0, 0, 3, 5]]), channels)
    assert code.shape == (1, channels)
    assert not code[:, used:].any()
    assert code[0, 0].item() == pytest.approx(torch.sin(torch.tensor(5.0)).item())     # x first


def test_the_plugin_says_what_it_is():
    info = load_plugin("flatformer")
    assert info.roles == ("lidar_backbone", "token_mixer")
    assert MODELS.roles["FlatFormer"] == "lidar_backbone"
    assert MODELS.roles["GroupAttention"] == "token_mixer"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GroupAttention(10, num_heads=4), r"channels \(10\) must be divisible by num_heads \(4\)"),
        (lambda: small_encoder(group_size=0), "group_size, window and grid must be positive"),
        (lambda: small_encoder(window=(5, 0)), "group_size, window and grid must be positive"),
    ],
)
def test_wrong_sizes_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
