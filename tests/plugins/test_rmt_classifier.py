"""RMT as it classifies pictures and learns from token labels: published sizes, mixed boxes, losses by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rmt_models import TINY, randomize_norms

from perception.compression.batch_norm import fold_batch_norms
from perception.registry import MODELS
from perception_plugins.rmt import TokenLabelLogits, TokenLabelLoss
from perception_plugins.rmt.token_label import NO_BOX, exchange_box, random_box

RELEASED_S = 27_992_240                              # of the log of RMT-S*, whose second head is wider
KINDS = ("RMTClassifier", "RMTTokenLabelClassifier")
UNIFORM = math.log(3)                                # cross entropy of equal logits of three classes


def tiny_classifier(kind: str, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    backbone = {"type": "RMT", **TINY}
    model = MODELS.build({"type": kind, "backbone": backbone, "num_classes": 3, "hidden": 12, **options})
    randomize_norms(model)
    return model.eval()


def test_the_released_small_model_reads_projected_tokens():
    backbone = {"type": "RMT", "variant": "s"}
    with torch.device("meta"):
        model = MODELS.build({"type": "RMTTokenLabelClassifier", "backbone": backbone, "projected_tokens": True})
    assert sum(parameter.numel() for parameter in model.parameters()) == RELEASED_S


@pytest.mark.parametrize(("kind", "options"), [
    ("RMTClassifier", {}), ("RMTTokenLabelClassifier", {}), ("RMTTokenLabelClassifier", {"projected_tokens": True}),
])
def test_a_picture_of_any_size_gets_a_logit_for_each_class(kind, options):
    model = tiny_classifier(kind, **options)
    assert model.num_classes == 3
    with torch.no_grad():
        assert model(torch.rand(2, 3, 45, 70)).shape == (2, 3)


def test_the_best_token_of_a_class_counts_half():
    model = tiny_classifier("RMTTokenLabelClassifier")
    torch.nn.init.zeros_(model.head.weight)
    torch.nn.init.zeros_(model.token_head.weight)
    torch.nn.init.constant_(model.token_head.bias, 3.0)
    torch.testing.assert_close(model(torch.rand(1, 3, 40, 40)), torch.full((1, 3), 1.5))


def test_an_exported_classifier_gives_the_same_logits():
    model, images = tiny_classifier("RMTTokenLabelClassifier"), torch.rand(1, 3, 45, 61)
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images), atol=1e-5, rtol=1e-5)    # float32 in another order


@pytest.mark.parametrize("kind", KINDS)
def test_folded_batch_norms_change_no_logit(kind):
    model, images = tiny_classifier(kind), torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        wanted = model(images)
        assert fold_batch_norms(model) == 4 + 3 + 1  # stem, reductions, projection
        torch.testing.assert_close(model(images), wanted, atol=1e-5, rtol=1e-5)          # float32 in another order


def test_training_gives_what_the_loss_needs_and_the_gradient_reaches_every_parameter():
    model = tiny_classifier("RMTTokenLabelClassifier").train()
    raw = model(torch.rand(2, 3, 64, 96))
    assert (raw.classes.shape, raw.tokens.shape) == ((2, 3), (2, 6, 3))
    losses = model.loss(raw, torch.tensor([0, 2]))
    assert set(losses) == {"loss_class", "loss_token"}
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_nothing_is_mixed_unless_wanted():
    model = tiny_classifier("RMTTokenLabelClassifier", mix_tokens=False).train()
    assert model(torch.rand(2, 3, 64, 64)).box == NO_BOX


def test_the_logits_of_exchanged_tokens_come_from_the_picture_that_shows_them():
    """Two pictures of one colour each, exchanged as a whole: each gets the logits of its own tokens back."""
    model = tiny_classifier("RMTTokenLabelClassifier")
    images = torch.stack([torch.zeros(3, 64, 64), torch.ones(3, 64, 64)])
    x = model.backbone.embed(images)
    box = (0, 0, 2, 2)
    with torch.no_grad():
        _, plain = model.classify(model.backbone.encode(x)[-1])
        _, mixed = model.classify(model.backbone.encode(exchange_box(x, box, 8))[-1])
    torch.testing.assert_close(exchange_box(mixed, box), plain)
    assert not torch.allclose(mixed, plain)


def test_a_box_is_taken_from_the_batch_in_reverse_order():
    x = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 4, 6, 1)
    mixed = exchange_box(x, (0, 1, 1, 3), 2)         # cells of 2 x 2: rows 0 and 1, columns 2 to 5
    wanted = torch.zeros(4, 6)
    wanted[:2, 2:] = 2
    assert torch.equal(mixed[0, :, :, 0], wanted)
    assert torch.equal(mixed[1, :, :, 0], torch.ones(4, 6))
    assert torch.equal(x[0], torch.zeros(4, 6, 1))   # the original is left alone


@given(rows=st.integers(0, 9), columns=st.integers(0, 9), seed=st.integers(0, 2**31))
def test_a_random_box_lies_in_its_grid(rows, columns, seed):
    top, left, bottom, right = random_box(rows, columns, torch.Generator().manual_seed(seed))
    assert 0 <= top <= bottom <= rows
    assert 0 <= left <= right <= columns


def test_equal_logits_cost_the_logarithm_of_the_classes():
    raw = TokenLabelLogits(torch.zeros(2, 3), torch.zeros(2, 4, 3), NO_BOX)
    losses = TokenLabelLoss()(raw, torch.tensor([0, 1]))
    assert losses["loss_class"].item() == pytest.approx(UNIFORM)
    assert losses["loss_token"].item() == pytest.approx(0.5 * UNIFORM)


def test_classes_are_mixed_by_the_share_of_the_box():
    """A quarter of each picture is the other's: certain logits of the other class cost a quarter of their margin."""
    logits = torch.tensor([[20.0, 0.0], [0.0, 20.0]])
    raw = TokenLabelLogits(logits, torch.zeros(2, 4, 2), (1, 1, 2, 2))
    losses = TokenLabelLoss()(raw, torch.tensor([0, 1]))
    assert losses["loss_class"].item() == pytest.approx(0.25 * 20, abs=1e-4)


@pytest.mark.parametrize(("guessed", "share"), [(0, 1.0), (1, 0.1)])
def test_the_true_class_counts_more_where_the_label_map_agrees(guessed, share):
    """Of a certain and right answer the part that the label map puts elsewhere is an error."""
    targets = torch.zeros(1, 2, 3)
    targets[0, 0, 0] = targets[0, guessed, 1] = targets[0, 0, 2] = 1
    raw = TokenLabelLogits(torch.tensor([[20.0, 0.0]]), torch.zeros(1, 1, 2), NO_BOX)
    loss = TokenLabelLoss(ground_truth=True)(raw, targets)["loss_class"]
    assert loss.item() == pytest.approx(20 * (1 - share), abs=1e-4)


def test_one_soft_target_serves_the_picture_and_all_its_tokens():
    torch.manual_seed(0)
    raw = TokenLabelLogits(torch.rand(2, 3), torch.rand(2, 4, 3), NO_BOX)
    soft = torch.rand(2, 3).softmax(dim=1)
    short, long = (TokenLabelLoss()(raw, targets) for targets in (soft, soft[:, :, None].expand(2, 3, 6)))
    torch.testing.assert_close(short, long)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 4), (3,)])
def test_targets_of_another_shape_are_refused(shape):
    raw = TokenLabelLogits(torch.zeros(2, 3), torch.zeros(2, 4, 3), NO_BOX)
    with pytest.raises(ValueError, match=r"targets must be \(2,\) int64, \(2, 3\) or \(2, 3, 6\), got"):
        TokenLabelLoss()(raw, torch.zeros(shape))
