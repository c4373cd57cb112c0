"""The skeletons: sizes, norms, masks, memory, position maps, and what they refuse."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from perception.models.metaformer.block import MetaFormerBlock
from perception.models.metaformer.columnar import ColumnarFormer
from perception.models.metaformer.norm import SampleNorm, TokenBatchNorm, token_norm
from perception.models.metaformer.patch_embedding import PatchEmbedding, PositionMap
from perception.models.metaformer.staged import MetaFormer, MetaFormerStage
from perception.models.mixers.identity import IdentityMixer
from perception.models.token_layout import map_of, tokens_of
from perception.registry import MODELS

ATTENTION = {"type": "AttentionMixer", "head_channels": 8}
IDENTITY = {"type": "IdentityMixer"}
close = torch.testing.assert_close


def staged(**options) -> MetaFormer:
    torch.manual_seed(0)
    return MetaFormer(**{
        "depths": (1, 2, 1), "widths": (8, 16, 24), "token_mixer": ATTENTION, "norm": "layer",
        "out_indices": (0, 1, 2), "layer_scale": 0.5, **options,
    })


def columnar(**options) -> ColumnarFormer:
    torch.manual_seed(0)
    return ColumnarFormer(**{"depth": 3, "width": 16, "token_mixer": ATTENTION, "position": (4, 6), **options})


def test_tokens_in_the_order_of_memory_are_the_map_channels_last():
    tokens = torch.rand(2, 12, 5)
    x = map_of(tokens, (3, 4))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert x.data_ptr() == tokens.data_ptr() == tokens_of(x).data_ptr()
    assert torch.equal(x[1, :, 2, 3], tokens[1, 11])


class Probe(IdentityMixer):
    """Notes how the tokens that it gets lie in memory."""

    def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
        self.contiguous = x.is_contiguous()
        return super().forward(x, size, mask)


@pytest.mark.parametrize("norm", ["group", "layer", "batch"])
def test_a_mixer_gets_tokens_in_the_order_of_memory(norm):
    MODELS.register_module("ProbeOfThisTest", force=True, module=Probe)
    model = staged(token_mixer={"type": "ProbeOfThisTest"}, norm=norm)
    model(torch.rand(2, 3, 64, 96))
    assert [block.token_mixer.contiguous for stage in model.stages for block in stage.blocks] == [True] * 4


@pytest.mark.parametrize(("height", "width"), [(64, 96), (75, 101), (33, 49)])
def test_maps_of_stages_have_the_widths_and_strides_told(height, width):
    model = staged(out_norms=True)
    maps = model(torch.rand(1, 3, height, width))
    assert (model.channels, model.strides) == ((8, 16, 24), (4, 8, 16))
    for x, channels, stride in zip(maps, model.channels, model.strides, strict=True):
        assert x.shape[1] == channels
        assert abs(x.shape[2] - height / stride) <= 1
        assert abs(x.shape[3] - width / stride) <= 1


def test_a_network_ends_at_the_last_stage_that_is_asked_for():
    model = staged(out_indices=(1,))
    assert (model.channels, model.strides, len(model.stages)) == ((16,), (8,), 2)
    assert [x.shape for x in model(torch.rand(1, 3, 32, 32))] == [(1, 16, 4, 4)]


def test_the_next_stage_reads_a_map_without_its_norm():
    plain, normed = staged().eval(), staged(out_norms=True).eval()
    normed.load_state_dict(plain.state_dict(), strict=False)
    images = torch.rand(1, 3, 32, 32)
    for got, x in zip(normed(images), plain(images), strict=True):
        close(got, nn.functional.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2]).permute(0, 3, 1, 2))


def test_each_stage_may_have_mixers_of_its_own():
    channel_mixers = [{"type": "FeedForward", "ratio": ratio} for ratio in (1, 2.5, 4)]
    model = staged(token_mixer=[IDENTITY, IDENTITY, ATTENTION], channel_mixer=channel_mixers)
    kinds = [type(stage.blocks[0].token_mixer).__name__ for stage in model.stages]
    assert kinds == ["IdentityMixer", "IdentityMixer", "AttentionMixer"]
    assert [stage.blocks[0].channel_mixer.fc1.out_features for stage in model.stages] == [8, 40, 96]


def test_embeddings_come_from_configs():
    embedding = {"type": "PatchEmbedding", "kernel": 2, "stride": 2, "padding": 0, "norm": "layer"}
    model = staged(stem=embedding, downsample=embedding)
    assert model.strides == (2, 4, 8)
    close(model.stages[0].embed(torch.rand(1, 3, 8, 8)).mean(dim=1), torch.zeros(1, 4, 4), atol=1e-6, rtol=0)


@pytest.mark.parametrize("build", [staged, columnar])
def test_drop_path_rises_from_none_to_the_last_block(build):
    model = build(drop_path=0.3)
    blocks = [module for module in model.modules() if isinstance(module, MetaFormerBlock)]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.3 * number / (len(blocks) - 1) for number in range(len(blocks))])


@pytest.mark.parametrize("build", [staged, columnar])
def test_a_single_block_is_never_left_out(build):
    options = {"depths": (1,), "widths": (8,), "out_indices": (0,)} if build is staged else {"depth": 1}
    (block,) = [module for module in build(drop_path=0.3, **options).modules() if isinstance(module, MetaFormerBlock)]
    assert isinstance(block.drop_path, nn.Identity)


@pytest.mark.parametrize("build", [staged, columnar])
def test_checkpointing_changes_no_gradient(build):
    grads = []
    for checkpointing in (False, True):
        model = build(checkpointing=checkpointing).train()
        images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        sum(x.square().sum() for x in model(images)).backward()
        grads.append([parameter.grad for parameter in model.parameters()])
    for plain, again in zip(*grads, strict=True):
        close(plain, again)


@pytest.mark.parametrize("build", [staged, columnar])
def test_the_gradient_reaches_every_parameter(build):
    options = {"positions": (None, (8, 8), None), "out_norms": True} if build is staged else {"out_indices": (0, 2)}
    model = build(**options)
    sum(x.square().sum() for x in model(torch.rand(2, 3, 75, 101))).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_under_a_mask_a_padded_picture_is_as_if_it_ended_there():
    """Both sides are multiples of 16, so that no window of a convolution differs."""
    model = staged(out_norms=True).eval()
    images = torch.randn(1, 3, 48, 32)
    padded, mask = torch.randn(1, 3, 64, 64), torch.zeros(1, 64, 64, dtype=torch.bool)
    padded[:, :, :48, :32], mask[:, :48, :32] = images, True
    for got, expected in zip(model(padded, mask), model(images), strict=True):
        close(got[:, :, : expected.shape[2], : expected.shape[3]], expected, atol=1e-5, rtol=1e-4)


def test_a_stage_gives_zero_where_nothing_is_real():
    stage = MetaFormerStage(nn.Identity(), [MetaFormerBlock(8, ATTENTION, {"type": "FeedForward"})])
    mask = torch.rand(2, 5, 7) > 0.5
    assert torch.equal(stage(torch.randn(2, 8, 5, 7), mask).abs().sum(dim=1) > 0, mask)


def test_a_norm_over_a_sample_takes_all_tokens_and_channels_together():
    tokens = torch.randn(3, 10, 4) * 5 + 2
    normed = SampleNorm(4)(tokens)
    close(normed.mean(dim=(1, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    close(normed.var(dim=(1, 2), correction=0), torch.ones(3), atol=1e-4, rtol=0)
    close(normed, nn.functional.layer_norm(tokens, (10, 4)), atol=1e-5, rtol=1e-5)


def test_a_norm_over_a_batch_takes_each_channel_alone():
    normed = TokenBatchNorm(4).train()(torch.randn(3, 10, 4) * 5 + 2)
    close(normed.mean(dim=(0, 1)), torch.zeros(4), atol=1e-5, rtol=0)


def test_a_norm_may_come_from_a_config():
    MODELS.register_module("NormOfThisTest", force=True, module=SampleNorm)
    assert isinstance(token_norm({"type": "NormOfThisTest", "eps": 0.1}, 8), SampleNorm)
    assert isinstance(token_norm(None, 8), nn.Identity)


def test_a_position_map_is_resized_for_maps_of_another_size():
    position = PositionMap(2, (4, 6))
    with torch.no_grad():
        position.table.copy_(torch.arange(6.0).expand(1, 2, 4, 6))             # rises along a row
    close(position(torch.zeros(1, 24, 2), (4, 6)), tokens_of(position.table))
    wide = map_of(position(torch.zeros(1, 48, 2), (4, 12)), (4, 12))
    assert (wide.diff(dim=3) >= -0.1).all()
    assert wide[0, 0, 0, 0] < 0.5
    assert wide[0, 0, 0, -1] > 4.5


def test_a_column_gives_maps_of_one_stride_at_several_depths():
    model = columnar(out_indices=(0, 2))
    maps = model(torch.rand(2, 3, 75, 101))
    assert (model.channels, model.strides) == ((16, 16), (16, 16))
    assert [x.shape for x in maps] == [(2, 16, 4, 6)] * 2


def test_a_class_token_comes_first_and_is_not_part_of_the_maps():
    model = columnar(class_token=True).eval()
    images = torch.rand(1, 3, 64, 96)
    (tokens,), size = model.tokens(images)
    assert (tokens.shape, size) == ((1, 25, 16), (4, 6))
    close(model(images)[0], map_of(tokens[:, 1:], size))


def test_without_a_class_token_mixers_learn_the_size_of_the_map():
    class Sizes(IdentityMixer):
        def forward(self, x: Tensor, size: tuple[int, int] | None = None, mask: Tensor | None = None) -> Tensor:
            self.size = size
            return x

    MODELS.register_module("SizesOfThisTest", force=True, module=Sizes)
    for class_token, expected in ((False, (4, 6)), (True, None)):
        model = columnar(token_mixer={"type": "SizesOfThisTest"}, class_token=class_token)
        model(torch.rand(1, 3, 64, 96))
        assert model.blocks[0].token_mixer.size == expected


def test_a_mixer_that_draws_its_own_weights_has_the_last_word():
    class Ones(IdentityMixer):
        def __init__(self, channels: int) -> None:
            super().__init__(channels)
            self.fc = nn.Linear(channels, channels)

        def init_weights(self) -> None:
            nn.init.ones_(self.fc.weight)

    MODELS.register_module("OnesOfThisTest", force=True, module=Ones)
    block = staged(token_mixer={"type": "OnesOfThisTest"}).stages[0].blocks[0]
    assert (block.token_mixer.fc.weight == 1).all()
    assert block.channel_mixer.fc1.weight.abs().max() < 0.2


@pytest.mark.parametrize(("build", "message"), [
    (lambda: staged(widths=(8, 16)), r"widths must be one for each of the 3 depths, got \(8, 16\)"),
    (lambda: staged(positions=[(4, 4)]), "positions must be one for each of the 3 depths"),
    (lambda: staged(token_mixer=[IDENTITY]), "token_mixer must be one config, or one for each of the 3 stages, got 1"),
    (lambda: staged(out_indices=(2, 1)), r"out_indices must be ascending stages 0 to 2, got \(2, 1\)"),
    (lambda: staged(out_indices=(3,)), "out_indices must be ascending stages 0 to 2"),
    (lambda: staged(out_indices=()), "out_indices must be ascending stages 0 to 2"),
    (lambda: staged(norm="instance"), "norm must be one of group, layer, batch, a config or None, got 'instance'"),
    (lambda: staged()(torch.rand(1, 3, 15, 40)), "images must be at least 16 x 16 pixels, got 15 x 40"),
    (lambda: staged()(torch.rand(3, 40, 40)), r"images must be \(B, 3, H, W\), got \(3, 40, 40\)"),
    (lambda: columnar(out_indices=(3,)), "out_indices must be ascending blocks 0 to 2"),
    (lambda: columnar()(torch.rand(1, 1, 40, 40)), r"images must be \(B, 3, H, W\), got \(1, 1, 40, 40\)"),
    (lambda: columnar()(torch.rand(1, 3, 40, 8)), "images must be at least 16 x 16 pixels, got 40 x 8"),
])
def test_what_cannot_be_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_patch_embedding_halves_a_map():
    assert PatchEmbedding(4, 6)(torch.rand(1, 4, 9, 13)).shape == (1, 6, 5, 7)
