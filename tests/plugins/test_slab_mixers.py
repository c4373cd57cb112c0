"""SLAB's mixers: against plain formulas, with and without windows, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from perception_plugins.slab import (
    ReducedLinearAttention,
    SimplifiedLinearAttention,
    SlabReducedAttention,
    SlabStripeAttention,
    SlabWindowAttention,
    WindowLinearAttention,
    linear_attention,
)
from perception_plugins.slab.stripe_attention import LinearStripeBranch
from perception_plugins.slab.windows import (
    cut_windows,
    join_windows,
    pad_to_windows,
    relative_places,
    shift_regions,
)

close = torch.testing.assert_close


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_linear_attention_by_hand():
    q, k = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]]]]), torch.tensor([[[[1.0, 1.0], [3.0, 0.0]]]])
    v = torch.tensor([[[[4.0, 0.0], [8.0, 1.0]]]])
    close(linear_attention(q, k, v), torch.tensor([[[[7.0, 0.75], [4.0, 0.0]]]]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("places", "keys", "channels"), [(9, 9, 4), (4, 4, 9), (3, 12, 5), (12, 3, 5)])
def test_both_orders_of_the_products_are_weights_of_the_values(places, keys, channels):
    q, k = randn(2, 3, places, channels).relu(), randn(2, 3, keys, channels, seed=1).relu()
    v = randn(2, 3, keys, channels, seed=2)
    weights = q @ k.transpose(2, 3)
    close(linear_attention(q, k, v), weights / (weights.sum(dim=3, keepdim=True) + 1e-6) @ v, atol=1e-5, rtol=1e-4)


def test_under_autocast_the_products_are_float32():
    q, k, v = (randn(1, 2, 64, 8, seed=seed).relu() for seed in range(3))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = linear_attention(q.bfloat16(), k.bfloat16(), v.bfloat16())
    assert mixed.dtype == torch.float32
    close(mixed, linear_attention(q.bfloat16().float(), k.bfloat16().float(), v.bfloat16().float()))


def test_a_query_that_looks_at_nothing_gets_the_convolved_values_alone():
    mixer = SimplifiedLinearAttention(4, heads=2)
    torch.nn.init.zeros_(mixer.qkv.weight[:4].data)
    torch.nn.init.constant_(mixer.qkv.bias.data[:4], -1.0)       # relu makes all queries 0
    x = randn(1, 6, 4)
    v = mixer.qkv(x)[..., 8:]
    weight, bias = mixer.core.dwc.weight.repeat(2, 1, 1, 1), mixer.core.dwc.bias.repeat(2)
    convolved = F.conv2d(v.transpose(1, 2).reshape(1, 4, 2, 3), weight, bias, padding=2, groups=4)
    close(mixer(x, (2, 3)), mixer.proj(convolved.flatten(2).transpose(1, 2)))


def test_without_a_size_tokens_form_a_square():
    mixer, x = SimplifiedLinearAttention(32, position=(3, 3)), randn(2, 9, 32)
    assert torch.equal(mixer(x), mixer(x, (3, 3)))


def test_positions_change_what_attention_sees_and_fit_other_maps():
    mixer, x = SimplifiedLinearAttention(32, position=(3, 3)), randn(2, 9, 32)
    before = mixer(x)
    torch.nn.init.uniform_(mixer.core.position)
    assert not torch.allclose(mixer(x), before, atol=1e-4)
    assert mixer(randn(1, 20, 32), (4, 5)).shape == (1, 20, 32)


def test_a_constant_table_of_positions_is_the_same_on_every_map():
    mixer = SimplifiedLinearAttention(32, position=(3, 3))
    torch.nn.init.constant_(mixer.core.position, 0.5)
    plain = SimplifiedLinearAttention(32)
    plain.load_state_dict({key: value for key, value in mixer.state_dict().items() if key != "core.position"})
    with torch.no_grad():
        plain.qkv.bias[32:64] += 0.5
    x = randn(1, 20, 32)
    close(mixer(x, (4, 5)), plain(x, (4, 5)))


def test_without_a_reduction_the_two_forms_agree():
    fused, parted = SimplifiedLinearAttention(32, position=(3, 4)), ReducedLinearAttention(32, position=(3, 4))
    state = fused.state_dict()
    for name in ("weight", "bias"):
        qkv = state.pop(f"qkv.{name}")
        state[f"q.{name}"], state[f"kv.{name}"] = qkv[:32], qkv[32:]
    parted.load_state_dict(state)
    x, mask = randn(2, 12, 32), randn(2, 12, seed=1) > 0
    close(parted(x, (3, 4), mask), fused(x, (3, 4), mask))


@pytest.mark.parametrize("kind", [ReducedLinearAttention, SlabReducedAttention])
def test_masked_tokens_of_a_reduced_map_change_no_real_one(kind):
    mixer, x = kind(32, reduction=2).eval(), randn(2, 24, 32)
    mask = torch.ones(2, 4, 6, dtype=torch.bool)
    mask[0, :, -3:] = False
    mask[1] = False                                          # nothing real at all
    mask = mask.flatten(1)
    changed = torch.where(mask[..., None], x, randn(2, 24, 32, seed=1))
    out = mixer(x, (4, 6), mask)
    close(out, mixer(changed, (4, 6), mask))
    assert out.isfinite().all()
    assert not out[~mask].any()


@settings(max_examples=25)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), height=st.integers(1, 4), width=st.integers(1, 4))
def test_windows_that_are_cut_and_joined_are_the_map(rows, columns, height, width):
    x = randn(2, rows, columns, 3)
    padded = pad_to_windows(x, (height, width))
    windows = cut_windows(padded, (height, width))
    assert windows.shape[2:] == (height * width, 3)
    joined = join_windows(windows, (height, width), (padded.shape[1], padded.shape[2]))
    assert torch.equal(joined, padded)
    assert torch.equal(joined[:, :rows, :columns], x)


def test_windows_lie_row_by_row_and_their_tokens_too():
    x = torch.arange(16.0).view(1, 4, 4, 1)
    assert cut_windows(x, (2, 2))[0, :, :, 0].tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


def test_what_fills_a_map_up_is_given():
    padded = pad_to_windows(torch.zeros(1, 2, 3, 1), (2, 2), torch.tensor([7.0]))
    assert padded[0, :, :, 0].tolist() == [[0, 0, 0, 7], [0, 0, 0, 7]]


def test_regions_of_shifted_windows_by_hand():
    regions = shift_regions((4, 4), 2, 1, torch.device("cpu"))
    assert regions.tolist() == [[0] * 4, [1, 2, 1, 2], [3, 3, 6, 6], [4, 5, 7, 8]]


def test_relative_places_by_hand():
    assert relative_places(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


@pytest.mark.parametrize("kind", [WindowLinearAttention, SlabWindowAttention])
def test_tokens_of_other_windows_are_not_seen(kind):
    mixer, x = kind(32, window=3).eval(), randn(1, 6, 6, 32)
    changed = x.clone()
    changed[:, 3:, :] = randn(1, 3, 6, 32, seed=1)
    before, after = (mixer(tokens.flatten(1, 2), (6, 6)).view(1, 6, 6, 32) for tokens in (x, changed))
    close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_a_shifted_window_is_one_of_the_rolled_map():
    shifted, plain = SlabWindowAttention(32, window=4, shift=1), SlabWindowAttention(32, window=4)
    plain.load_state_dict(shifted.state_dict())
    x = randn(1, 8, 8, 32)
    rolled = plain(x.roll((-1, -1), (1, 2)).flatten(1, 2), (8, 8)).view(1, 8, 8, 32).roll((1, 1), (1, 2))
    found = shifted(x.flatten(1, 2), (8, 8)).view(1, 8, 8, 32)
    close(found[:, 1:5, 1:5], rolled[:, 1:5, 1:5], atol=1e-5, rtol=1e-4)       # a window that is whole in both
    assert not torch.allclose(found[:, 0], rolled[:, 0], atol=1e-4)            # rows from the two ends of the map


@pytest.mark.parametrize(("size", "shifts"), [((4, 9), False), ((5, 9), True)])
def test_windows_are_shifted_on_maps_larger_than_one(size, shifts):
    mixer, plain = SlabWindowAttention(32, window=4, shift=2), SlabWindowAttention(32, window=4)
    plain.load_state_dict(mixer.state_dict())
    x = randn(1, size[0] * size[1], 32)
    assert torch.equal(mixer(x, size), plain(x, size)) != shifts


def test_one_window_of_linear_attention_is_linear_attention():
    windowed, plain = WindowLinearAttention(32, window=4), SimplifiedLinearAttention(32, position=(4, 4))
    plain.load_state_dict(windowed.state_dict())
    x = randn(2, 16, 32)
    close(windowed(x, (4, 4)), plain(x, (4, 4)))


@pytest.mark.parametrize("linear", [False, True])
def test_one_stripe_as_wide_as_the_map_is_the_whole_map(linear):
    whole = SlabStripeAttention(32, heads=2, linear=linear)
    striped = SlabStripeAttention(32, heads=2, linear=linear, split=4)
    state = whole.state_dict()
    for name in [name for name in state if name.startswith("attns.0.")]:
        value = state.pop(name)
        halves = [value, value] if ".core.dwc" in name else value.chunk(2)       # heads share that convolution
        for branch, half in enumerate(halves):
            state[name.replace("attns.0", f"attns.{branch}")] = half
    striped.load_state_dict(state)
    x = randn(2, 16, 32)
    close(striped(x, (4, 4)), whole(x, (4, 4)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("linear", [False, True])
def test_stripes_see_their_own_column_and_row_bands_alone(linear):
    mixer, x = SlabStripeAttention(32, heads=2, linear=linear, split=2).eval(), randn(1, 4, 6, 32)
    changed = x.clone()
    changed[:, 3, 5] = randn(1, 32, seed=1)
    before, after = (mixer(tokens.flatten(1, 2), (4, 6)).view(1, 4, 6, 32) for tokens in (x, changed))
    close(before[:, :2, :4], after[:, :2, :4])
    for row, column in ((0, 4), (2, 0)):                      # of its vertical stripe, and of its horizontal one
        assert not torch.allclose(before[:, row, column], after[:, row, column])


@pytest.mark.parametrize("linear", [False, True])
def test_a_last_stripe_that_does_not_fill_up_is_as_if_it_stood_alone(linear):
    mixer = SlabStripeAttention(32, heads=2, linear=linear, split=4).eval()
    x = randn(1, 4, 6, 32)
    vertical = mixer.attns[0]
    q, k, v = (part[..., :16] for part in mixer.qkv(x.flatten(1, 2)).chunk(3, dim=2))
    last = [part.view(1, 4, 6, 16)[:, :, 4:].flatten(1, 2) for part in (q, k, v)]
    alone = _narrow(vertical, 2)(*last, (4, 2))
    close(vertical(q, k, v, (4, 6)).view(1, 4, 6, 16)[:, :, 4:], alone.view(1, 4, 2, 16), atol=1e-5, rtol=1e-4)


def _narrow(branch: torch.nn.Module, split: int) -> torch.nn.Module:
    """The same weights for stripes of another width."""
    other = type(branch)(16, 1, split=split)
    other.load_state_dict(branch.state_dict())
    return other


def test_a_stripe_of_linear_attention_has_positions_of_its_own_shape():
    assert LinearStripeBranch(8, 1, split=3, resolution=(6, 6)).core.position.shape == (1, 18, 8)
    assert LinearStripeBranch(8, 1, resolution=(6, 6)).core.position.shape == (1, 36, 8)


@pytest.mark.parametrize(("build", "message"), [
    (lambda: SimplifiedLinearAttention(40), r"channels \(40\) must be divisible by head_channels \(32\)"),
    (lambda: SimplifiedLinearAttention(40, heads=3), r"channels \(40\) must be divisible by heads \(3\)"),
    (lambda: SimplifiedLinearAttention(32, kernel=4), "kernel must be odd and >= 1, got 4"),
    (lambda: SimplifiedLinearAttention(32)(torch.rand(1, 6, 32)), r"needs the size \(H, W\)"),
    (lambda: SimplifiedLinearAttention(32)(torch.rand(1, 6, 32), (2, 2)), "a map of 2 x 2 has other than 6 tokens"),
    (lambda: ReducedLinearAttention(32, reduction=0), "reduction must be >= 1, got 0"),
    (lambda: SlabReducedAttention(32, reduction=3)(torch.rand(1, 8, 32), (2, 4)), "2 x 4 does not fill a window of 3"),
    (lambda: SlabReducedAttention(32, reduction=2)(torch.rand(1, 8, 32)), r"needs the size \(H, W\)"),
    (lambda: SlabWindowAttention(32, window=4, shift=4), r"shift must lie in \[0, window\), got 4 for a window of 4"),
    (lambda: WindowLinearAttention(32)(torch.rand(1, 6, 32)), r"WindowLinearAttention needs the size \(H, W\)"),
    (lambda: SlabStripeAttention(32, split=2), "heads must be even for stripes of two directions, got 1"),
    (lambda: SlabStripeAttention(32, heads=2, split=0), "split must be >= 1, got 0"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
