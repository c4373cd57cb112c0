"""The segmentation model: what it learns from, what it gives, and what it refuses."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from labelled_pictures import CLASSES, labelled_frame, small_segmentor
from torch.nn import functional as F

from perception.engine.checkpoint import save_checkpoint
from perception.errors import CheckpointError, ConfigError
from perception.registry import MODELS
from perception.structures import PixelLabels


def model_of(head: str = "PointwiseHead", **options):
    torch.manual_seed(0)
    return MODELS.build(small_segmentor(head, **options))


def run(model, frames, mode: str):
    return model(**model.data_preprocessor(frames, model.training), mode=mode)


@pytest.mark.parametrize("head_options", [{}, {"with_record": True}])
def test_the_loss_reaches_every_parameter_of_the_finest_stage_and_the_head(head_options):
    model = model_of(head_options=head_options).train()
    sum(run(model, [labelled_frame(), labelled_frame(seed=1)], "loss").values()).backward()
    for part in (model.backbone.stages[0], model.head):
        assert all(parameter.grad is not None for parameter in part.parameters())


def test_predictions_have_the_size_of_each_frames_own_picture():
    model = model_of(data_preprocessor={"type": "ImageDataPreprocessor", "pad_divisor": 32}).eval()
    frames = [labelled_frame("a", 40, 57), labelled_frame("b", 45, 50, seed=1)]
    first, second = run(model, frames, "predict")
    assert (first.token, second.token, second.timestamp_ns) == ("a", "b", 1)
    assert (first.classes.shape, second.classes.shape) == ((40, 57), (45, 50))
    assert first.class_names == CLASSES
    assert first.things == ()


def test_a_picture_is_segmented_alike_in_a_batch_of_larger_ones_where_nothing_is_padded():
    model = model_of().eval()
    alone = run(model, [labelled_frame("a")], "predict")[0]
    together = run(model, [labelled_frame("b", seed=1), labelled_frame("a")], "predict")[1]
    assert torch.equal(alone.classes, together.classes)


def test_a_head_is_told_the_widths_and_the_number_of_classes():
    model = model_of()
    assert model.head.classifier.weight.shape[:2] == (len(CLASSES), model.backbone.channels[0])


def test_a_neck_stands_between_backbone_and_head():
    model = model_of(neck={"type": "FPN", "channels": 12}).eval()
    assert model.head.classifier.in_channels == 12
    assert [maps.shape[1] for maps in model.features(torch.rand(1, 3, 64, 64))] == [12] * 4


def test_a_mask_head_learns_from_segments_and_decodes_by_itself():
    model = model_of("OneMaskAClassHead", things=(1,))
    frames = [labelled_frame()]
    assert set(run(model.train(), frames, "loss")) == {"loss_mask"}
    (found,) = run(model.eval(), frames, "predict")
    assert found.classes.shape == (40, 56)
    assert found.things == (1,)


def test_an_auxiliary_head_adds_its_losses():
    model = model_of(auxiliary_head={"type": "PointwiseHead"}).train()
    losses = run(model, [labelled_frame()], "loss")
    assert set(losses) == {"loss_seg", "aux.loss_seg"}
    losses["aux.loss_seg"].backward()
    assert model.auxiliary_head.classifier.weight.grad is not None
    assert model.head.classifier.weight.grad is None


@pytest.mark.parametrize("augmentation", [None, {"scales": (1.0, 1.5), "flip": True}])
@pytest.mark.parametrize("window", [None, {"size": (32, 32), "stride": (16, 16), "taper": True}])
def test_windows_and_augmentation_give_a_score_a_class_and_pixel(window, augmentation):
    model = model_of(window=window, augmentation=augmentation).eval()
    raw = run(model, [labelled_frame()], "tensor")
    assert raw.shape == ((1, 3, 40, 56) if window or augmentation else (1, 3, 10, 14))
    assert run(model, [labelled_frame()], "predict")[0].classes.shape == (40, 56)


@pytest.mark.parametrize("align_corners", [False, True])
def test_logits_are_resized_as_the_head_says(align_corners):
    model = model_of().eval()
    model.head.align_corners = align_corners
    images = model.data_preprocessor([labelled_frame()])["inputs"]["images"]
    expected = F.interpolate(model.evaluate(images), (40, 56), mode="bilinear", align_corners=align_corners)
    torch.testing.assert_close(model.logits(images), expected)
    assert torch.equal(run(model, [labelled_frame()], "predict")[0].classes, expected[0].argmax(dim=0))


def test_channels_last_changes_no_class():
    frames = [labelled_frame(), labelled_frame("b", seed=1)]
    plain, model = model_of().eval(), model_of(channels_last=True).eval()
    images = model.data_preprocessor(frames)["inputs"]["images"]
    assert all(maps.is_contiguous(memory_format=torch.channels_last) for maps in model.features(images))
    torch.testing.assert_close(model.logits(images), plain.logits(images))
    for got, expected in zip(run(model, frames, "predict"), run(plain, frames, "predict"), strict=True):
        assert torch.equal(got.classes, expected.classes)


def test_channels_last_is_learnt_with_too():
    losses = [run(model_of(channels_last=last).train(), [labelled_frame()], "loss")["loss_seg"] for last in (0, 1)]
    torch.testing.assert_close(losses[0], losses[1])


@pytest.mark.parametrize("window", [None, {"size": (32, 32), "stride": (16, 16)}])
def test_only_evaluation_runs_the_compiled_network(window):
    model = model_of(compile={"backend": "eager"}, window=window)
    run(model.train(), [labelled_frame()], "loss")
    assert not model.compiled.cold_starts
    compiled = run(model.eval(), [labelled_frame()], "predict")[0]
    assert list(model.compiled.cold_starts) == [(40, 56, 1) if window is None else (32, 32, 1)]
    assert torch.equal(compiled.classes, run(model_of(window=window).eval(), [labelled_frame()], "predict")[0].classes)


def test_a_copied_model_compiles_its_own_weights():
    model = model_of(compile={"backend": "eager"}).eval()
    images = model.data_preprocessor([labelled_frame()])["inputs"]["images"]
    before = model.evaluate(images)
    twin = copy.deepcopy(model)
    torch.nn.init.zeros_(twin.head.classifier.weight)
    torch.nn.init.zeros_(twin.head.classifier.bias)
    assert twin.evaluate(images).count_nonzero() == 0
    assert torch.equal(model.evaluate(images), before)


def test_a_window_as_large_as_the_picture_changes_no_class():
    frames = [labelled_frame()]
    whole = run(model_of().eval(), frames, "predict")[0]
    window = run(model_of(window={"size": (64, 64), "stride": (64, 64)}).eval(), frames, "predict")[0]
    assert torch.equal(whole.classes, window.classes)


def test_an_all_ignored_picture_has_a_loss_of_zero():
    ignored = PixelLabels(torch.full((40, 56), 255))
    losses = run(model_of().train(), [labelled_frame(labels=ignored)], "loss")
    assert losses["loss_seg"] == 0


def test_training_can_begin_with_a_backbone_of_another_model(tmp_path):
    trained = model_of()
    for parameter in trained.parameters():
        torch.nn.init.constant_(parameter, 0.25)
    save_checkpoint({"state_dict": trained.state_dict()}, tmp_path / "trained.pth")
    model = model_of(pretrained=tmp_path / "trained.pth")
    model.init_weights()
    assert all((parameter == 0.25).all() for parameter in model.backbone.parameters())
    assert not (model.head.classifier.weight == 0.25).all()


def test_a_backbone_of_another_shape_is_refused(tmp_path):
    save_checkpoint({"state_dict": {"backbone.stem": torch.zeros(1)}}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth"):
        model_of(pretrained=tmp_path / "other.pth").init_weights()


def test_the_steps_of_a_prediction_give_the_prediction():
    model = model_of().eval()
    batch = model.data_preprocessor([labelled_frame()])
    value = batch["inputs"]
    for stage in model.stages(batch):
        value = stage.run(value)
    assert torch.equal(value[0].classes, model(**batch, mode="predict")[0].classes)


def test_frames_without_labels_are_refused_in_training():
    frame = labelled_frame()
    bare = replace(frame, cameras={"front": replace(frame.cameras["front"], labels=None)})
    model = model_of()
    assert not model.can_learn_from(bare)
    with pytest.raises(ConfigError, match="frame frame-0 has no pixel labels to learn from"):
        run(model.train(), [bare], "loss")


def test_labels_beyond_the_classes_are_refused():
    wrong = PixelLabels(torch.full((40, 56), 3))
    with pytest.raises(ConfigError, match="class 3 is none of the 3 classes"):
        run(model_of().train(), [labelled_frame(labels=wrong)], "loss")


@pytest.mark.parametrize(("options", "message"), [
    ({"things": (3,)}, "things must be numbers of the 3 classes"),
    ({"things": (1,), "augmentation": {}}, "need a semantic head"),
    ({"window": {"size": (8, 8), "stride": (9, 8)}}, "leaves gaps"),
])
def test_impossible_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        model_of(**options)


def test_a_mode_that_is_none_is_refused():
    with pytest.raises(ValueError, match="mode must be"):
        run(model_of(), [labelled_frame()], "train")


def test_a_picture_smaller_than_the_network_can_take_is_refused():
    with pytest.raises(ValueError, match="at least 29 x 29 pixels, got 16 x 16"):
        run(model_of().eval(), [labelled_frame(height=16, width=16)], "predict")
