"""The point segmentor learns classes and instances, gives a row for every point, and refuses what does not fit."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from labelled_points import CHANNELS, CLASSES, REGION, labelled_frame, tiny_point_segmentor
from torch import nn

from perception.engine.config import load_config
from perception.errors import ConfigError
from perception.models.heads.point_head import PointHead, PointMaps
from perception.models.point_segmentor import PointSegmentor
from perception.registry import MODELS
from perception.structures import Frame, PointCloud, PointLabels
from perception.structures.segmentation import IGNORE_LABEL

CONFIG = Path(__file__).resolve().parents[2] / "configs/pointseg/flatformer_pointseg_synthetic.py"


def losses_of(model: PointSegmentor, frames: list[Frame]) -> dict[str, torch.Tensor]:
    return model(**model.data_preprocessor(frames, True), mode="loss")


def predictions_of(model: PointSegmentor, frames: list[Frame]):
    with torch.no_grad():
        return model(**model.data_preprocessor(frames, False), mode="predict")


def test_a_segmentor_learns_classes_and_instances_of_two_frames():
    model, frames = tiny_point_segmentor(), [labelled_frame(0), labelled_frame(1, cars=6)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(80):
        loss = sum(losses_of(model, frames).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    for frame, found in zip(frames, predictions_of(model, frames), strict=True):
        labels = frame.point_labels
        known = labels.classes != IGNORE_LABEL
        assert (found.classes == labels.classes)[known].float().mean() > 0.95
        assert not found.instances[found.classes != 0].any()
        for number in labels.instances.unique()[1:]:           # a car's points are one instance, which is its alone
            (main, _) = found.instances[labels.instances == number].mode()
            assert main > 0
            assert (found.instances[labels.instances == number] == main).float().mean() > 0.8
            assert (labels.instances[found.instances == main] == number).float().mean() > 0.8


@pytest.mark.parametrize("things", [("car",), ()])
def test_gradients_reach_every_parameter(things):
    model = tiny_point_segmentor(things=things)
    losses = losses_of(model, [labelled_frame()])
    assert set(losses) == {"loss_class", "loss_lovasz"} | ({"loss_offset", "loss_center"} if things else set())
    sum(losses.values()).backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


@pytest.mark.parametrize("label", [IGNORE_LABEL, 1], ids=["ignored", "stuff"])
def test_frames_without_a_labelled_thing_give_finite_losses_and_a_gradient_for_every_parameter(label):
    model, frame = tiny_point_segmentor(), labelled_frame()
    frame = replace(frame, point_labels=frame.point_labels.filled(len(frame.points), label))
    losses = losses_of(model, [frame])
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses["loss_offset"] == 0
    assert label != IGNORE_LABEL or sum(losses.values()) == 0
    sum(losses.values()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_predictions_have_a_row_for_every_point_of_every_frame():
    model = tiny_point_segmentor().eval()
    frames = [labelled_frame(0), labelled_frame(1, cars=0), labelled_frame(2, scale=2)]
    found = predictions_of(model, frames)
    assert [len(one) for one in found] == [len(frame.points) for frame in frames]
    assert [one.token for one in found] == [frame.token for frame in frames]
    assert all(one.names == CLASSES and one.classes.min() >= 0 and one.classes.max() < 3 for one in found)


def test_a_frame_gets_the_same_predictions_alone_and_in_a_batch():
    model = tiny_point_segmentor(center_threshold=0.0).eval()
    frames = [labelled_frame(0), labelled_frame(1)]
    together = predictions_of(model, frames)
    for frame, found in zip(frames, together, strict=True):
        (alone,) = predictions_of(model, [frame])
        assert torch.equal(alone.classes, found.classes)
        assert torch.equal(alone.instances, found.instances)


@pytest.mark.parametrize("count", [0, 1])
def test_clouds_of_no_or_one_point_pass(count):
    model, frame = tiny_point_segmentor(), labelled_frame().with_point_rows(slice(600, 600 + count))
    assert all(torch.isfinite(loss) for loss in losses_of(model, [frame]).values())
    (found,) = predictions_of(model.eval(), [frame])
    assert len(found) == count


def test_points_outside_the_region_are_classified_and_broken_ones_are_not():
    frame = labelled_frame()
    data = frame.points.data.clone()
    data[10, :2], data[11, 2], data[12, 3] = 500.0, math.nan, math.inf
    broken = replace(frame, points=PointCloud(data, CHANNELS))
    model = tiny_point_segmentor()
    assert all(torch.isfinite(loss) for loss in losses_of(model, [broken]).values())
    (found,) = predictions_of(model.eval(), [broken])
    assert (found.classes == IGNORE_LABEL).nonzero().flatten().tolist() == [11, 12]
    assert found.instances[[11, 12]].tolist() == [0, 0]


class OneMap(nn.Module):
    """A BEV encoder that sees nothing."""

    def forward(self, inputs: dict[str, list[torch.Tensor]]) -> torch.Tensor:
        return torch.zeros(len(inputs["points"]), 16, 16, 16)


def test_an_encoder_with_one_map_serves_as_well():
    model = tiny_point_segmentor(in_channels=(16,), sampling=("bilinear",))
    model.bev_encoder = OneMap()
    assert len(predictions_of(model.eval(), [labelled_frame()])[0]) == len(labelled_frame().points)


def test_true_offsets_and_middles_give_the_true_instances():
    head, frame = tiny_point_segmentor().head, labelled_frame()
    xy, labels = frame.points.xyz[:, :2], frame.point_labels
    offsets, heatmap = torch.zeros_like(xy), torch.full((1, 16, 16), -9.0)
    for number in labels.instances.unique()[1:]:
        rows = labels.instances == number
        middle = xy[rows].mean(dim=0)
        offsets[rows] = middle - xy[rows]
        column, row = ((middle + 12.8) / 1.6).long().tolist()
        heatmap[0, row, column] = 9.0
    logits = torch.nn.functional.one_hot(labels.classes.clamp(max=2), 3).float()
    ((classes, instances),) = head.decode(PointMaps(logits, xy, (len(xy),), offsets, heatmap))
    assert torch.equal(classes[5:], labels.classes[5:])
    true, found = torch.stack([labels.instances, instances], dim=1).unique(dim=0).unbind(1)
    assert true.tolist() == [0, 100, 101, 102, 103]
    assert found[0] == 0
    assert sorted(found.tolist()) == [0, 1, 2, 3, 4]
    losses = head.loss(PointMaps(logits * 40, xy, (len(xy),), offsets, heatmap), [labels])
    assert losses["loss_class"] < 1e-6
    assert losses["loss_offset"] < 1e-6


def test_class_weights_weigh_points_not_frames():
    torch.manual_seed(0)
    logits = torch.randn(40, 3)
    labels = PointLabels(torch.arange(40) % 3)
    head = tiny_point_segmentor(things=(), class_weights=(1.0, 2.0, 5.0), loss_lovasz=None).head
    expected = torch.nn.functional.cross_entropy(logits, labels.classes, torch.tensor([1.0, 2.0, 5.0]))
    losses = head.loss(PointMaps(logits, torch.zeros(40, 2), (15, 25)), [labels[:15], labels[15:]])
    torch.testing.assert_close(losses["loss_class"], expected)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "has no labels of points; give the data set a `point_labels`"),
        (PointLabels(torch.zeros(3, dtype=torch.int64), None, CLASSES), 'no instances; point_labels="panoptic" reads'),
        (PointLabels(*torch.zeros(2, 3, dtype=torch.int64), ("a", "b")), r"labelled as \('a', 'b'\), not \('car'"),
    ],
)
def test_frames_that_cannot_teach_are_refused(labels, message):
    model, cloud = tiny_point_segmentor(), PointCloud(torch.zeros(3, 4), CHANNELS)
    frame = Frame("a", 0, points=cloud, point_labels=labels)
    assert not model.can_learn_from(frame)
    assert model.can_learn_from(labelled_frame())
    with pytest.raises(ConfigError, match=message):
        losses_of(model, [frame])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": ("nearest",)}, r"each of the maps \(8, 16\) needs a sampling"),
        ({"sampling": ("nearest", "cubic")}, "needs a sampling of"),
        ({"region": (1.0, 0.0, 0.0, 1.0)}, "region must be x0, y0, x1, y1"),
        ({"things": ("bus",)}, "things must be among the classes"),
        ({"class_weights": (1.0,)}, "class_weights must be 3, got 1"),
        ({"heights": (0.0,)}, "heights must be positive"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    arguments = {"in_channels": (8, 16), "sampling": ("nearest", "bilinear"), "region": REGION, **options}
    with pytest.raises(ValueError, match=message):
        PointHead(point_channels=4, classes=CLASSES, **arguments)


def test_a_class_out_of_range_other_counts_and_a_wrong_mode_are_refused():
    model, frame = tiny_point_segmentor(), labelled_frame()
    wrong = replace(frame, point_labels=replace(frame.point_labels, classes=frame.point_labels.classes + 2))
    with pytest.raises(ValueError, match=r"classes must lie in \[0, 3\) or be 255, got"):
        losses_of(model, [wrong])
    inputs = model.data_preprocessor([frame], True)["inputs"]
    with pytest.raises(ValueError, match="mode must be"):
        model(inputs, [frame], mode="train")
    with pytest.raises(ValueError, match='mode "predict" needs one frame for each of the 1 point clouds'):
        model(inputs, [], mode="predict")
    with pytest.raises(ValueError, match="there are 3 labels for"):
        model.head.loss(model(inputs), [frame.point_labels[:3]])
    with pytest.raises(ValueError, match="maps must be 2, got 1"):
        model.head(model.maps(inputs)[:1], inputs["points"])
    with pytest.raises(ValueError, match="points must have 4 channels, got 5"):
        model.head(model.maps(inputs), [torch.zeros(2, 5)])


def test_stages_one_after_the_other_give_the_predictions():
    model, frames = tiny_point_segmentor().eval(), [labelled_frame()]
    batch = model.data_preprocessor(frames, False)
    value = batch["inputs"]
    for stage in model.stages(batch):
        value = stage.run(value)
    assert torch.equal(value[0].classes, predictions_of(model, frames)[0].classes)


def test_the_synthetic_config_builds_a_model_that_fits_its_data():
    cfg = load_config(CONFIG)
    with torch.device("meta"):
        model = MODELS.build(cfg.model)
    assert model.classes == tuple(cfg.class_names)
    assert model.bev_encoder.voxel_encoder.grid.shape[:2] == tuple(cfg.grid)
    assert model.head.region == tuple(cfg.point_range[axis] for axis in (0, 1, 3, 4))
    assert len(model.data_preprocessor.channels) == model.head.point_channels
    assert 400_000 < sum(parameter.numel() for parameter in model.parameters()) < 600_000
    assert cfg.val_dataloader.dataset.transforms == []         # every point of the scan is scored
