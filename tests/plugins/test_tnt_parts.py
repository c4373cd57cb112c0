"""The parts of TNT and PyramidTNT: cells, tables of positions, merges, and attention with masks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perception.models.token_layout import tokens_of
from perception.registry import MODELS
from perception_plugins.tnt import PyramidTNTAttention, TNTAttention
from perception_plugins.tnt.cells import join_words, split_cells
from perception_plugins.tnt.layers import SentenceProjection, SqueezeExcitation, TNTBlock, TransformerLayer
from perception_plugins.tnt.positions import resized_pairs, resized_positions
from perception_plugins.tnt.pyramid_stem import WordMerge
from perception_plugins.tnt.tnt import WordEmbed

close = torch.testing.assert_close
MIXERS = {"plain": TNTAttention(8, heads=2), "averaged": PyramidTNTAttention(8, heads=2, reduction=2),
          "unreduced": PyramidTNTAttention(8, heads=2)}


def test_cells_are_cut_row_by_row():
    plane = torch.arange(24.0).view(1, 1, 4, 6)
    cells = split_cells(plane, 2)
    assert cells.shape == (6, 1, 2, 2)
    assert cells[1, 0].tolist() == [[2, 3], [8, 9]]
    assert cells[3, 0].tolist() == [[12, 13], [18, 19]]


def test_joined_words_are_the_map_that_they_were_cut_from():
    plane = torch.rand(2, 3, 8, 12)
    assert torch.equal(join_words(tokens_of(split_cells(plane, 4)), (2, 3), 4), plane)


def test_a_table_of_its_own_grid_is_left_as_it_is():
    table = torch.rand(1, 6, 4)
    assert resized_positions(table, (2, 3), (2, 3)) is table


def test_positions_are_resized_along_their_own_axis():
    rows = torch.tensor([0.0, 1.0]).repeat_interleave(3).view(1, 6, 1)                     # tells the row of 2 x 3
    resized = resized_positions(rows, (2, 3), (4, 5)).view(4, 5)
    close(resized, resized[:, :1].expand(4, 5))
    assert (resized[1:, 0] > resized[:-1, 0]).all()


def test_a_table_of_pairs_is_resized_over_queries_and_over_keys():
    queries, keys = torch.rand(1, 6, 1), torch.rand(1, 4, 1)
    table = (queries @ keys.transpose(1, 2))[None]                                         # (1, 1, 6, 4)
    resized = resized_pairs(table, ((2, 3), (2, 2)), ((4, 5), (3, 1)))
    expected = resized_positions(queries, (2, 3), (4, 5)) @ resized_positions(keys, (2, 2), (3, 1)).transpose(1, 2)
    close(resized, expected[None])


@pytest.mark.parametrize(("whole", "changed"), [(False, [0]), (True, [0, 1])], ids=["patchwise", "legacy"])
def test_words_see_over_the_border_of_their_patch_only_in_the_legacy_model(whole, changed):
    embed = WordEmbed(3, 4, 16, 4, whole=whole)
    images = torch.rand(1, 3, 16, 32)
    other = images.clone()
    other[:, :, 8, 15] += 1                                                                # last column of patch 0
    difference = (embed(images) - embed(other)).abs().amax(dim=(1, 2))
    assert difference.nonzero().flatten().tolist() == changed


@pytest.mark.parametrize(("size", "merged"), [((2, 4), (1, 2)), ((3, 3), (2, 2))], ids=["even", "odd"])
def test_merged_words_keep_their_places_in_the_picture(size, merged):
    merge = WordMerge(1, 1)
    merge.norm = nn.Identity()
    nn.init.zeros_(merge.conv.bias)
    nn.init.zeros_(merge.conv.weight)
    merge.conv.weight.data[0, 0, 1, 1] = 1.0                                               # every second word
    plane = torch.rand(1, 1, 4 * size[0], 4 * size[1])
    expected = torch.zeros(1, 1, 4 * merged[0], 4 * merged[1])
    expected[:, :, : 2 * size[0], : 2 * size[1]] = plane[:, :, ::2, ::2]
    words = merge(tokens_of(split_cells(plane, 4)), size)
    close(join_words(words, merged, 4), expected)


class Unchanged(nn.Module):
    """Stands in for the layer of the sentences."""

    def forward(self, sentences: Tensor, size: object, bias: object) -> Tensor:
        return sentences


def test_a_word_is_added_to_its_own_sentence_and_not_to_the_class_token():
    layer = TransformerLayer(4, TNTAttention(4, heads=1), lambda: nn.LayerNorm(4))
    block = TNTBlock(Unchanged(), layer, SentenceProjection(16, 4, 8)).eval()
    words, other, sentences = torch.rand(6, 16, 4), torch.rand(6, 16, 4), torch.rand(2, 4, 8)
    other[[0, 1, 2, 3, 5]] = words[[0, 1, 2, 3, 5]]                                        # the second of sample 1
    difference = (block(words, sentences)[1] - block(other, sentences)[1]).abs().amax(dim=2)
    assert difference.nonzero().tolist() == [[1, 2]]
    assert torch.equal(block(words, sentences)[1][:, 0], sentences[:, 0])


def test_the_gate_is_signed_and_the_same_for_all_tokens():
    torch.manual_seed(0)
    gate, tokens = SqueezeExcitation(8), torch.rand(2, 5, 8) + 0.1
    ratio = gate(tokens) / tokens
    close(ratio, ratio[:, :1].expand_as(ratio))
    assert -1 < ratio.min() < 0 < ratio.max() < 1


@pytest.mark.parametrize("name", ["TNTAttention", "PyramidTNTAttention"])
def test_both_attentions_are_token_mixers(name):
    assert MODELS.roles[name] == "token_mixer"
    assert MODELS.build({"type": name, "channels": 8})(torch.rand(2, 6, 8)).shape == (2, 6, 8)


@pytest.mark.parametrize("mixer", MIXERS.values(), ids=MIXERS)
def test_masked_tokens_change_nothing_and_come_out_as_zeros(mixer):
    mask = torch.rand(3, 16) > 0.4
    mask[:, 0] = True
    mask[:, [2, 3, 6, 7]] = False                                                          # one window without any
    mask[1] = True
    tokens = torch.randn(3, 16, 8)
    changed = torch.where(mask[:, :, None], tokens, torch.randn(3, 16, 8) * 100)
    ours = mixer(tokens, (4, 4), mask)
    close(ours, mixer(changed, (4, 4), mask))
    assert not ours[~mask].any()
    close(ours[1], mixer(tokens[1:2], (4, 4))[0], atol=1e-6, rtol=1e-5)                     # a mask of all is none


@pytest.mark.parametrize("mixer", MIXERS.values(), ids=MIXERS)
def test_a_sample_without_real_tokens_has_finite_gradients(mixer):
    tokens = torch.randn(2, 16, 8, requires_grad=True)
    mask = torch.tensor([[True], [False]]).expand(2, 16)
    mixer(tokens, (4, 4), mask).square().sum().backward()
    assert tokens.grad.isfinite().all()
    assert tokens.grad[0].any()
    assert not tokens.grad[1].any()


def test_attention_is_the_softmax_of_scaled_products_and_a_bias():
    mixer, tokens, bias = TNTAttention(6, heads=2, qkv_bias=True), torch.randn(2, 5, 6), torch.randn(1, 2, 5, 5)
    parts = [*mixer.qk(tokens).chunk(2, dim=2), mixer.v(tokens)]
    heads = []
    for head in range(2):
        q, k, v = (part[:, :, 3 * head : 3 * head + 3] for part in parts)
        heads.append((q @ k.transpose(1, 2) / 3**0.5 + bias[:, head]).softmax(dim=2) @ v)
    close(mixer(tokens, bias=bias), mixer.proj(torch.cat(heads, dim=2)), atol=1e-6, rtol=1e-5)


def test_keys_are_means_of_the_real_tokens_of_a_window():
    mixer = PyramidTNTAttention(8, heads=2, reduction=2)
    tokens = torch.randn(1, 4, 8).repeat_interleave(4, dim=1)                              # four rows of equal tokens
    cells = tokens.view(1, 2, 2, 2, 2, 8).transpose(2, 3).reshape(1, 16, 8)                # four windows of them
    mask = torch.tensor([[True, False] * 8])
    close(mixer(cells, (4, 4), mask)[:, ::2], mixer(cells, (4, 4))[:, ::2], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("size", "message"), [
    (None, "size of the map must be given where keys are reduced by 2, got None"),
    ((1, 16), "size must be at least 2 x 2, got 1 x 16"),
])
def test_a_reduction_needs_a_map_that_it_fits_into(size, message):
    with pytest.raises(ValueError, match=message):
        PyramidTNTAttention(8, reduction=2)(torch.rand(1, 16, 8), size)
