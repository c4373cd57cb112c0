"""A trained softmax attention goes on as a Performer or a Longformer."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from perception.models.metaformer.block import MetaFormerBlock
from perception.models.mixers.attention import AttentionMixer
from perception_plugins.linear_attention_zoo import (
    LinearAttentionMixer,
    LongformerMixer,
    PerformerMixer,
    replace_attention,
    take_attention,
)

close = torch.testing.assert_close
WIDE = {"type": "LongformerMixer", "window": 64, "global_tokens": 2}


def attention(**options: bool) -> AttentionMixer:
    torch.manual_seed(0)
    return AttentionMixer(16, heads=2, **options).eval()


@pytest.mark.parametrize("options", [{}, {"qkv_bias": True}, {"qkv_bias": True, "causal": True}], ids=str)
def test_a_longformer_that_sees_all_goes_on_as_it_was(options):
    network, x = nn.Sequential(attention(**options)).eval(), torch.randn(2, 24, 16)
    expected = network(x)
    assert replace_attention(network, WIDE) == 1
    assert isinstance(network[0], LongformerMixer)
    assert not network[0].training
    close(network(x), expected)


@torch.no_grad()
def test_a_performer_of_many_features_comes_near():
    source, x = attention(), 0.5 * torch.randn(2, 24, 16)
    mixer, expected = PerformerMixer(16, heads=2, features=8192), source(x)
    before = (mixer(x) - expected).abs().mean()
    take_attention(mixer, source)
    assert (mixer(x) - expected).abs().mean() < 0.05 * before


def test_all_attention_of_a_network_is_replaced_in_its_dtype_and_nothing_else():
    mixers = [{"type": "IdentityMixer"}, *[{"type": "AttentionMixer", "heads": 4}] * 2]
    blocks = [MetaFormerBlock(16, mixer, {"type": "FeedForward"}) for mixer in mixers]
    network = nn.Sequential(*blocks).double()
    assert replace_attention(network, {"type": "PerformerMixer", "features": 5}) == 2
    kinds = [type(block.token_mixer).__name__ for block in network]
    assert kinds == ["IdentityMixer", "PerformerMixer", "PerformerMixer"]
    assert [block.token_mixer.heads for block in network[1:]] == [4, 4]
    assert network(torch.randn(1, 7, 16, dtype=torch.float64)).dtype == torch.float64
    assert replace_attention(network, WIDE) == 0


def test_what_would_have_to_be_trained_anew_is_refused():
    network = nn.Sequential(attention())
    with pytest.raises(ValueError, match=r"only PerformerMixer and LongformerMixer can begin .*, got LinearAttention"):
        replace_attention(network, {"type": "LinearAttentionMixer"})
    assert isinstance(network[0], AttentionMixer)
    with pytest.raises(ValueError, match="got LinearAttentionMixer"):
        take_attention(LinearAttentionMixer(16, heads=2), attention())
    with pytest.raises(ValueError, match="the attention has 16 channels and 2 heads, got 16 and 4"):
        take_attention(PerformerMixer(16, heads=4), attention())
