"""The network of PEM's head: what it gives, what it refuses, and what its attention chooses."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pem_models import halves, maps, small_head
from torch.nn import functional as F

from perception.compression.batch_norm import fold_batch_norms
from perception.registry import MODELS, load_plugin
from perception_plugins.pem.attention import PrototypeAttention
from perception_plugins.pem.pixel_classifier import PixelClassifier
from perception_plugins.pem.pixel_decoder import DeformUpsample, PEMPixelDecoder, SelfModulation

close = torch.testing.assert_close


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (96, 32)])
def test_every_query_has_classes_and_a_mask_of_a_quarter_of_the_size(size):
    raw = small_head().eval()(maps(size=size))
    assert raw.logits.shape == (2, 6, 5)
    assert raw.masks.shape == (2, 6, size[0] // 4, size[1] // 4)
    assert raw.auxiliary == ()


def test_training_gives_the_predictions_before_each_layer_too():
    raw = small_head().train()(maps())
    assert len(raw.auxiliary) == 4
    assert {stage.masks.shape for stage in raw.auxiliary} == {raw.masks.shape}


def test_mask_features_learn_classes_in_training_if_told_so():
    head = small_head(pixel_classes={"weight": 3.0})
    raw = head.train()(maps())
    assert raw.semantic.shape == (2, 4, 16, 24)
    segments = [halves(size=(64, 96)), halves((1, 3), size=(64, 96))]
    segments[0].masks[1] = False                                         # half of the first picture is unknown
    labels = torch.full((2, 16, 24), 255)
    labels[0, :, :12], labels[1, :, :12], labels[1, :, 12:] = 0, 1, 3
    hard = PixelClassifier(12, 4, weight=3.0, threshold=1.0, kept_share=0.0).loss(raw.semantic, segments)
    close(hard, 3.0 * F.cross_entropy(raw.semantic, labels, ignore_index=255))
    assert "loss_semantic" in head.loss(raw, segments)
    assert head.eval()(maps()).semantic is None


def test_a_share_of_kept_pixels_beyond_all_is_refused():
    with pytest.raises(ValueError, match=r"kept_share must lie in \[0, 1\], got 2.0"):
        small_head(pixel_classes={"kept_share": 2.0})


@pytest.mark.parametrize("options", [{}, {"pixel_classes": {}}, {"loss": {"num_points": 0}}])
def test_gradients_reach_every_parameter(options):
    head = small_head(**{"loss": {"num_points": 512}, **options}).train()
    torch.nn.init.normal_(head.pixel_decoder.upsamples[0].deform.conv_offset.weight, std=0.1)
    sum(head.loss(head(maps()), [halves(size=(64, 96)), halves((1, 3), size=(64, 96))]).values()).backward()
    assert [name for name, p in head.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_picture_does_not_change_what_is_seen_in_another():
    head, features = small_head().eval(), maps(batch=2)
    both, alone = head(features), head([feature[:1] for feature in features])
    close(both.logits[:1], alone.logits, atol=1e-5, rtol=1e-5)
    close(both.masks[:1], alone.masks, atol=1e-5, rtol=1e-5)


def test_folded_norms_change_nothing():
    head, features = small_head(), maps()
    head(features)                                                       # statistics away from their start
    head.eval()
    with torch.no_grad():
        expected = head(features)
        assert fold_batch_norms(head.pixel_decoder) > 0
        close(head(features).masks, expected.masks, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in head.pixel_decoder.modules())


@pytest.mark.parametrize(("size", "pixels"), [((64, 80), "multiple of 32"), ((40, 64), "multiple of 32")])
def test_maps_that_do_not_halve_are_refused(size, pixels):
    with pytest.raises(ValueError, match=pixels):
        small_head().eval()(maps(size=size))


def test_another_number_of_maps_is_refused():
    with pytest.raises(ValueError, match="features must be 4 maps, got 3"):
        small_head().eval()(maps()[:3])


def test_a_single_picture_cannot_be_learned_from():
    with pytest.raises(ValueError, match="batches of two pictures or more"):
        small_head().train()(maps(batch=1))


def test_things_beyond_the_classes_are_refused():
    with pytest.raises(ValueError, match=r"things must be numbers of the 4 classes, got \(1, 4\)"):
        small_head(things=(1, 4))


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"channels \(10\) must be divisible by heads \(4\)"):
        PrototypeAttention(10, heads=4)


def test_one_map_is_too_few():
    with pytest.raises(ValueError, match=r"at least two maps, got \(8,\)"):
        PEMPixelDecoder((8,))


def test_the_modulation_keeps_a_map_between_one_and_a_half_and_one_and_three_quarters():
    x = torch.rand(3, 8, 4, 5) + 0.1
    factor = SelfModulation(8)(x) / x
    assert factor.min() > 1.5
    assert factor.max() < 1.0 + torch.tensor(1.0).sigmoid()


def test_a_fresh_upsampling_is_bilinear_for_its_first_channel():
    layer, x = DeformUpsample(1, 1), torch.rand(1, 1, 4, 5)
    raised = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    close(layer.up.conv(x)[:, :, 1:-1, 1:-1], raised[:, :, 1:-1, 1:-1])  # the border reads zeros instead


def by_hand(query: torch.Tensor, memory: torch.Tensor, hidden: torch.Tensor, heads: int) -> list[list[list[int]]]:
    """The pixels that a loop over everything chooses."""
    width = query.shape[2] // heads
    chosen = []
    for b in range(len(query)):
        shown = torch.zeros_like(hidden[b]) if hidden[b].all() else hidden[b]
        parts = [slice(h * width, (h + 1) * width) for h in range(heads)]
        chosen.append([
            [best([-torch.inf if out else float(q[part] @ m[part]) for m, out in zip(memory[b], row, strict=True)])
             for q, row in zip(query[b], shown, strict=True)]
            for part in parts
        ])
    return chosen


def best(values: list[float]) -> int:
    return max(range(len(values)), key=lambda place: (values[place], -place))


@given(seed=st.integers(0, 2**31), hidden_share=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
def test_the_chosen_pixels_are_those_of_a_loop_over_everything(seed, hidden_share):
    draw = torch.Generator().manual_seed(seed)
    query, memory = (torch.randint(-3, 4, (2, count, 4), generator=draw).float() for count in (3, 5))     # with ties
    hidden = torch.rand(2, 3, 5, generator=draw) < hidden_share
    assert PrototypeAttention(4, heads=2).choose(query, memory, hidden).tolist() == by_hand(query, memory, hidden, 2)


def test_a_query_without_a_choice_gets_the_first_pixel_and_a_picture_without_any_is_shown_whole():
    attention, query, memory = PrototypeAttention(2, heads=1), torch.ones(2, 2, 2), torch.zeros(2, 3, 2)
    memory[:, 2] = 1.0
    hidden = torch.tensor([[[True, True, True], [True, False, True]], [[True, True, True], [True, True, True]]])
    assert attention.choose(query, memory, hidden).tolist() == [[[0, 1]], [[2, 2]]]


def test_hidden_pixels_change_nothing_but_the_choice():
    attention = PrototypeAttention(8, heads=2).eval()
    query, code, memory = torch.randn(1, 3, 8), torch.randn(3, 8), torch.randn(1, 8, 4, 4)
    tokens, asked = attention.tokens_of_memory(memory), attention.tokens_of_query(query + code)
    hidden = torch.ones(1, 3, 16, dtype=torch.bool)
    chosen = attention.choose(asked, tokens)                                                # (1, heads, 3)
    hidden.scatter_(2, chosen.transpose(1, 2), torch.zeros(1, 3, 2, dtype=torch.bool))
    close(attention(query, code, memory, hidden), attention(query, code, memory))


def test_the_plugin_and_its_parts_are_registered():
    info = load_plugin("pem")
    assert {MODELS.roles[name] for name in ("PEMHead", "PEMPixelDecoder")} == set(info.roles)
