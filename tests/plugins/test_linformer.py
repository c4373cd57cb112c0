"""Linformer: full attention where it projects onto the tokens themselves, and what else it learns."""

from __future__ import annotations

import pytest
import torch
from zoo_mixers import CHANNELS, HEADS, build, dense_attention, tokens

from perception_plugins.linear_attention_zoo import LinformerMixer

close = torch.testing.assert_close


@pytest.mark.parametrize("share", ["none", "kv"])
@pytest.mark.parametrize("per_head", [False, True])
def test_projected_onto_the_tokens_themselves_it_is_full_attention(share, per_head):
    mixer = LinformerMixer(CHANNELS, heads=HEADS, tokens=23, rank=23, share=share, per_head=per_head).double()
    with torch.no_grad():
        mixer.qkv.weight.normal_(std=0.4)
        for projection in mixer.parameters(recurse=False):
            projection.copy_(torch.eye(23))
    x = tokens(23)
    close(mixer(x), dense_attention(mixer, x, torch.ones(23, 23, dtype=torch.bool)))


def test_fewer_tokens_are_as_many_of_which_the_last_are_masked():
    mixer, x = build("linformer"), tokens(200)
    mask = (torch.arange(200) < 23).expand(2, -1)
    close(mixer(x[:, :23]), mixer(x, mask=mask)[:, :23])


def test_projections_begin_with_the_published_spread():
    torch.manual_seed(0)
    mixer = LinformerMixer(CHANNELS, heads=HEADS, tokens=400, rank=25)
    for projection in (mixer.proj_k, mixer.proj_v):
        assert projection.std().item() == pytest.approx(0.2, rel=0.05)


def test_a_shared_projection_is_the_only_one():
    mixer = LinformerMixer(CHANNELS, heads=HEADS, tokens=9, share="kv")
    assert {key for key in mixer.state_dict() if key.startswith("proj_")} == {"proj_k"}
