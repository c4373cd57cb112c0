"""DAFormer's head: published sizes, its ways of fusion, odd maps, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from perception.registry import MODELS
from perception.structures import PixelLabels
from perception_plugins.daformer.fusion import ContextASPP, InterlacedAttention
from perception_plugins.daformer.head import DAFormerHead

B5 = (64, 128, 320, 512)
UNUSED_CLASSIFIER = 19 * 128 + 19                    # SegFormer's released head has it, and never calls it
DECODERS = {
    "daformer": ({}, 3_712_275),
    "full convolutions": ({"fusion": {"type": "ContextASPP", "separable": False}}, 9_969_939),
    "1x1 convolution": ({"fusion": {"type": "ConvFusion"}}, 530_707),
    "interlaced attention": ({"fusion": {"type": "InterlacedAttention", "hidden": 256}}, 1_058_579),
    "context at the coarsest level": ({"fusion": {"type": "ConvFusion"}, "last_embed": "context"}, 3_163_155),
    "segformer": (
        {"fusion": {"type": "ConvFusion"}, "channels": 768, "embed_channels": 768}, 3_167_398 - UNUSED_CLASSIFIER,
    ),
}
FUSIONS = [
    {"type": "ContextASPP"}, {"type": "ContextASPP", "separable": False, "dilations": (1, 2)},
    {"type": "ContextASPP", "pool": True}, {"type": "ConvFusion"}, {"type": "InterlacedAttention", "hidden": 4},
    {"type": "ConvFusion", "kernel": 3}, {"type": "InterlacedAttention", "hidden": 4, "projections": 2},
]


def small_head(**options) -> DAFormerHead:
    torch.manual_seed(0)
    return DAFormerHead((4, 6, 8, 8), 3, channels=8, embed_channels=4, **options)


def maps(height: int = 13, width: int = 18) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, channels, -(-height // scale), -(-width // scale), generator=draw)
        for channels, scale in zip((4, 6, 8, 8), (1, 2, 4, 8), strict=True)
    ]


@pytest.mark.parametrize("name", list(DECODERS))
def test_a_decoder_has_as_many_parameters_as_published(name):
    options, expected = DECODERS[name]
    with torch.device("meta"):
        head = MODELS.build({"type": "DAFormerHead", "in_channels": B5, "num_classes": 19, **options})
    assert sum(parameter.numel() for parameter in head.parameters()) == expected


@pytest.mark.parametrize("last_embed", ["linear", "context"])
@pytest.mark.parametrize("fusion", FUSIONS, ids=str)
def test_every_way_of_fusion_learns_in_all_its_parameters(fusion, last_embed):
    head = small_head(fusion=fusion, last_embed=last_embed, dropout=0.0).train()
    logits = head(maps())
    assert logits.shape == (2, 3, 13, 18)
    labels = [PixelLabels(torch.randint(0, 3, (40, 70))) for _ in range(2)]
    head.loss(logits, labels)["decode.loss_seg"].backward()
    assert all(parameter.grad is not None for parameter in head.parameters())


@pytest.mark.parametrize(("height", "width"), [(8, 16), (7, 9), (1, 1), (17, 8)])
def test_interlaced_attention_gives_back_the_size_it_got(height, width):
    fusion = InterlacedAttention(4, 6, hidden=4).eval()
    assert fusion(torch.rand(2, 4, height, width)).shape == (2, 6, height, width)


def test_interlaced_attention_lets_every_place_see_every_other():
    fusion = InterlacedAttention(2, 4, hidden=4, cell=(4, 4)).eval()
    for parameter in fusion.parameters():
        parameter.data.abs_()                        # no ReLU shuts a place off
    x = torch.rand(1, 2, 16, 16, requires_grad=True)
    fusion(x)[0, :, 3, 5].sum().backward()
    assert (x.grad.abs().sum(dim=1) > 0).all()


def test_a_pooled_branch_sees_the_mean_of_the_picture():
    context = ContextASPP(3, 4, dilations=(1,), pool=True).eval()
    context.bottleneck.conv.weight.data[:, 4:] = 0   # of the branches only the first, the pooled one, is looked at
    x = torch.rand(1, 3, 6, 5)
    torch.testing.assert_close(context(x), context(x.flip(2, 3)))


def test_accuracy_counts_pixels_to_ignore_as_wrong():
    logits = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 2, 2)
    found = small_head().loss(logits, [PixelLabels(torch.tensor([[0, 0], [1, 255]]))])
    assert found["decode.acc_seg"] == 50


def test_unknown_embeddings_and_missing_maps_are_refused():
    with pytest.raises(ValueError, match='last_embed "linear" or "context", got'):
        small_head(last_embed="pooled")
    with pytest.raises(ValueError, match="maps must be 4, got 2"):
        small_head()(maps()[:2])
