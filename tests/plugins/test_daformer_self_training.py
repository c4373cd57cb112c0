"""Self-training of any segmentor: who learns what, how the teacher follows, and what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from domain_frames import CLASSES, domain_frame, small_student
from mmengine.config import Config

from perception.engine.build import build_runner
from perception.engine.checkpoint import load_weights, save_checkpoint
from perception.errors import ConfigError
from perception.registry import MODELS
from perception_plugins.daformer.class_mix import class_mix
from perception_plugins.daformer.feature_distance import FeatureDistance
from perception_plugins.daformer.mix_augmentation import MixAugmentation, blurred
from perception_plugins.daformer.pairs import SourceTargetPair
from perception_plugins.daformer.self_training import SelfTraining
from perception_plugins.daformer.teacher import PseudoLabels, pseudo_labels

BASE = Path(__file__).resolve().parents[2] / "configs/_base_/default_runtime.py"
SMALL = {"threshold": 0.3, "ignore_top": 2, "ignore_bottom": 4}
FULL = {**SMALL, "feature_distance": {"things": (1,), "min_share": 0.3}, "augmentation": {}}


def model_of(**options) -> SelfTraining:
    torch.manual_seed(0)
    return MODELS.build({"type": "SelfTraining", "student": small_student(), **options}).train()


def batch() -> list[SourceTargetPair]:
    return [
        SourceTargetPair(
            domain_frame(f"day-{number}", number), domain_frame("night", 9, brightness=0.3, labelled=False)
        )
        for number in range(2)
    ]


def run(model: SelfTraining, pairs: list[SourceTargetPair]) -> dict[str, torch.Tensor]:
    return model(**model.data_preprocessor(pairs, True), mode="loss")


def test_an_iteration_gives_the_published_losses_and_reaches_every_parameter_of_the_student():
    model = model_of(**FULL)
    losses = run(model, batch())
    assert set(losses) == {
        "decode.loss_seg", "decode.acc_seg", "src.loss_imnet_feat_dist", "mix.decode.loss_seg", "mix.decode.acc_seg"
    }
    sum(value for name, value in losses.items() if "loss" in name).backward()
    assert all(parameter.grad is not None for parameter in model.student.parameters())
    assert all(not parameter.requires_grad for parameter in model.teacher.parameters())
    assert all(not parameter.requires_grad for parameter in model.reference.parameters())


def test_the_teacher_begins_as_the_student_and_follows_it_with_growing_inertia():
    model = model_of(**SMALL)
    weight = model.student.head.classifier.weight
    followed = model.teacher.head.classifier.weight
    values = [0.0, 1.0, 2.0]
    expected = [0.0, 0.5 * 0 + 0.5 * 1, (1 - 1 / 3) * 0.5 + 2 / 3]
    for value, teacher in zip(values, expected, strict=True):
        torch.nn.init.constant_(weight, value)
        run(model, batch())
        torch.testing.assert_close(followed, torch.full_like(followed, teacher))


def test_a_teacher_without_inertia_is_the_student():
    model = model_of(**SMALL, momentum=0.0)
    for _ in range(2):
        torch.nn.init.normal_(model.student.head.classifier.weight)
        run(model, batch())
        assert torch.equal(model.teacher.head.classifier.weight, model.student.head.classifier.weight)


def test_the_teacher_normalises_by_batches_and_leaves_nothing_to_chance():
    model = model_of(**SMALL)
    target = torch.rand(2, 3, 64, 64)
    before = model.teacher.head.fusion.bottleneck.bn.running_mean.clone()
    first, second = model.label(target), model.label(target)
    assert torch.equal(first.confidence, second.confidence)
    assert not torch.equal(model.teacher.head.fusion.bottleneck.bn.running_mean, before)
    assert model.student.head.dropout.training


def test_the_same_iteration_draws_the_same_numbers():
    first, second = (run(copy.deepcopy(model_of(**FULL)).eval(), batch()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_source_is_learnt_by_the_students_own_loss_whatever_its_head():
    student = small_student(head={"type": "DAFormerHead", "channels": 4, "embed_channels": 4,
                                  "fusion": {"type": "InterlacedAttention", "hidden": 4}})
    assert torch.isfinite(run(model_of(**SMALL, student=student), batch())["mix.decode.loss_seg"])


def test_predictions_are_the_students():
    model = model_of(**SMALL).eval()
    torch.nn.init.constant_(model.teacher.head.classifier.bias, torch.nan)
    frames = [domain_frame("a", 1)]
    (found,) = model(**model.data_preprocessor(frames), mode="predict")
    (expected,) = model.student(**model.student.data_preprocessor(frames), mode="predict")
    assert torch.equal(found.classes, expected.classes)


def test_teacher_and_reference_begin_with_the_students_initial_weights():
    model = model_of(**FULL)
    model.init_weights()
    for name, value in model.student.backbone.state_dict().items():
        assert torch.equal(model.reference.state_dict()[name], value)
        assert torch.equal(model.teacher.backbone.state_dict()[name], value)


def test_a_student_that_knows_the_source_hands_its_weights_to_teacher_and_reference(tmp_path):
    torch.manual_seed(5)
    known = MODELS.build(small_student())
    save_checkpoint({"state_dict": known.state_dict()}, tmp_path / "day.pth")
    model = model_of(**FULL, pretrained=tmp_path / "day.pth")
    model.init_weights()
    for part in (model.student, model.teacher):
        assert all(torch.equal(value, known.state_dict()[key]) for key, value in part.state_dict().items())
    reference = model.reference.state_dict()
    assert all(torch.equal(value, known.backbone.state_dict()[key]) for key, value in reference.items())


def test_confident_pixels_give_the_weight_of_all_but_the_ignored_rows():
    logits = torch.zeros(2, 3, 4, 4)
    logits[0, 1] = 9.0                               # all sure in one picture, none in the other
    pseudo = pseudo_labels(logits, (8, 8), threshold=0.9, ignore_top=1, ignore_bottom=2)
    assert (pseudo.classes[0] == 1).all()
    assert pseudo.weights[:, 1:6].unique().tolist() == [0.5]
    assert pseudo.weights[:, [0, 6, 7]].sum() == 0


def test_no_rows_can_be_ignored_and_all_rows():
    logits = torch.rand(1, 3, 4, 4)
    assert (pseudo_labels(logits, (4, 4), threshold=0, ignore_top=0, ignore_bottom=0).weights == 1).all()
    assert pseudo_labels(logits, (4, 4), threshold=0).weights.sum() == 0


def test_half_of_the_classes_of_the_batch_are_pasted():
    labels = torch.tensor([[[0, 1, 255]], [[0, 0, 2]]])
    pseudo = PseudoLabels(torch.full((2, 1, 3), 5), torch.ones(2, 1, 3), torch.full((2, 1, 3), 0.25))
    source, target = torch.ones(2, 3, 1, 3), torch.zeros(2, 3, 1, 3)
    mix = class_mix(source, labels, target, pseudo, np.random.default_rng(0))
    for number in range(2):
        pasted = labels[number][mix.mask[number]].unique()
        kept = labels[number][~mix.mask[number]].unique()
        assert not set(pasted.tolist()) & set(kept.tolist())         # whole classes go
    assert torch.equal(mix.images, mix.mask[:, None].float().expand_as(source))
    assert (mix.labels[~mix.mask] == 5).all()
    assert torch.equal(mix.labels[mix.mask], labels[mix.mask])
    assert torch.equal(mix.weights, torch.where(mix.mask, 1.0, 0.25))


def test_pictures_of_two_sizes_are_not_mixed():
    model = model_of(**SMALL)
    large = domain_frame("night", 9, size=96)
    with pytest.raises(ValueError, match=r"target must be \(2, 3, 64, 64\) as the source, got \(2, 3, 96, 96\)"):
        run(model, [SourceTargetPair(pair.source, large) for pair in batch()])


def test_the_distance_over_no_thing_is_zero_and_moves_nothing():
    features = torch.rand(1, 4, 2, 2, requires_grad=True)
    labels = torch.full((1, 64, 64), 255)
    loss = FeatureDistance(3, things=(1,))(features, torch.zeros(1, 4, 2, 2), labels)
    loss.backward()
    assert loss == 0
    assert features.grad.abs().sum() == 0


def test_a_cell_of_several_classes_counts_by_its_most_frequent_one():
    labels = torch.zeros(1, 4, 8, dtype=torch.int64)
    labels[..., 3:] = 1                              # a quarter of the left cell, all of the right one
    assert FeatureDistance(2, things=(1,)).cell_labels(labels, 2).tolist() == [[[0, 1]]]
    assert FeatureDistance(2, things=(1,), min_share=0.8).cell_labels(labels, 2).tolist() == [[[255, 1]]]


def test_pictures_that_do_not_divide_into_cells_are_refused():
    distance = FeatureDistance(3, things=(1,))
    with pytest.raises(ValueError, match="do not divide into the"):
        distance(torch.rand(1, 4, 3, 3), torch.rand(1, 4, 3, 3), torch.zeros(1, 70, 96, dtype=torch.int64))


def test_augmented_pictures_stay_pictures_and_are_drawn_for_each():
    images = torch.rand(1, 3, 24, 32).repeat(3, 1, 1, 1)
    changed = MixAugmentation(jitter_prob=1.0, blur_prob=1.0)(images, np.random.default_rng(0))
    assert changed.shape == images.shape
    assert 0 <= changed.min() <= changed.max() <= 1
    assert not torch.equal(changed[0], changed[1])


def test_without_luck_nothing_is_augmented():
    images = torch.rand(2, 3, 24, 32)
    assert torch.equal(MixAugmentation(jitter_prob=0.0, blur_prob=0.0)(images, np.random.default_rng(0)), images)


@pytest.mark.parametrize("bgr", [False, True])
def test_colours_change_alike_whatever_order_of_channels_the_student_takes(bgr):
    """The hue of a red picture turns; a jitter in the wrong order would turn that of a blue one."""
    student = small_student(data_preprocessor={"type": "ImageDataPreprocessor", "bgr": bgr, "mean": (0, 0, 0),
                                               "std": (255, 255, 255)})
    model = model_of(student=student, augmentation={"jitter_prob": 1.0, "blur_prob": 0.0})
    red = torch.tensor([0.8, 0.1, 0.3]).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    given = red.flip(1) if bgr else red
    changed = model.augmented(given, np.random.default_rng(3))
    expected = model.augmentation(red, np.random.default_rng(3))
    torch.testing.assert_close(changed.flip(1) if bgr else changed, expected)


def test_a_black_that_normalisation_moved_below_zero_is_still_black():
    model = model_of(augmentation={"jitter_prob": 1.0, "blur_prob": 1.0})
    pictures = model.student.data_preprocessor
    black = torch.tensor([-1e-5, 0.0, 0.0]).view(1, 3, 1, 1).expand(1, 3, 24, 32)
    for seed in range(24):                           # every order of the steps, about
        assert model.augmented((black - pictures.mean) / pictures.std, np.random.default_rng(seed)).isfinite().all()


def test_a_blur_keeps_the_mean_of_a_flat_picture():
    flat = torch.full((1, 3, 40, 60), 0.25)
    torch.testing.assert_close(blurred(flat, 1.0), flat)


@pytest.mark.parametrize(("options", "message"), [
    ({"student": small_student(things=(1,))}, "semantic head"),
    ({"feature_distance": {"things": (3,)}}, "things must be numbers of the 3 classes"),
    ({"augmentation": {"strength": 0.7}}, r"strength must lie in \[0, 0.5\], got 0.7"),
    ({"augmentation": {"sigma": (1.0, 0.5)}}, "sigma must be"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        model_of(**options)


def test_frames_instead_of_pairs_are_refused():
    model = model_of(**SMALL)
    with pytest.raises(ConfigError, match="train on SourceTargetPairs"):
        run(model, [domain_frame("a", 1)])


def training_config(root: Path) -> Config:
    frames = {"type": "DomainFrames", "root": str(root)}
    cfg = Config.fromfile(BASE)
    cfg.merge_from_dict({
        "num_threads": 1,
        "model": {"type": "SelfTraining", "student": small_student(), **FULL},
        "train_cfg": {"type": "IterationLoop", "max_iters": 4, "val_interval": 100},
        "train_dataloader": {
            "batch_size": 2, "num_workers": 0, "sampler": {"type": "EpochSampler"},
            "dataset": {
                "type": "SourceTargetPairs", "source": frames, "rare_classes": {"min_pixels": 100},
                "target": {**frames, "first": 8, "brightness": 0.3, "labelled": False},
            },
        },
        "optim_wrapper": {"type": "AutocastOptimWrapper", "optimizer": {"type": "AdamW", "lr": 1e-3},
                          "paramwise_cfg": {"custom_keys": {"head": {"lr_mult": 10.0}}}},
        "param_scheduler": [{"type": "WarmupPolyLR", "warmup": 2, "by_epoch": False}],
        "custom_hooks": [{"type": "StudentHook"}],
        "default_hooks": {"checkpoint": {"type": "AtomicCheckpointHook", "interval": 2, "max_keep": -1}},
    })
    return cfg


def test_a_training_that_is_resumed_ends_as_one_in_one_go_and_leaves_the_student(tmp_path):
    cfg = training_config(tmp_path)
    whole = build_runner(cfg, tmp_path / "whole").train()
    (resumed_from,) = (tmp_path / "whole").glob("*2.pth")
    resumed = build_runner(cfg, tmp_path / "resumed", resume=resumed_from).train()
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert int(whole.iteration) == 4
    alone = MODELS.build(small_student())
    load_weights(alone, tmp_path / "whole" / "student.pth")
    assert torch.equal(alone.head.classifier.weight, whole.student.head.classifier.weight)
    assert alone.classes == CLASSES
