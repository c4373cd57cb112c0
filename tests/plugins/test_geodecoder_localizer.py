"""The geo-localization model: learning, predicting, and refusing what doesn't fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from located_frames import located_frame, partition, small_localizer
from shapely.geometry import Point, shape

from perception.engine.checkpoint import load_weights, save_checkpoint
from perception.errors import CheckpointError, ConfigError
from perception.geo import adaptive_partition
from perception.geo.partition_file import save_partition
from perception.models.geo_inference import GeoLogits
from perception.models.geo_localizer import GeoLocalizer
from perception.registry import MODELS, load_plugin
from perception.structures import Frame, GeoLabel

load_plugin("geodecoder")
CELLS = partition()
NAMES = ("rural", "urban")


def built(cells=CELLS, **options) -> GeoLocalizer:
    torch.manual_seed(0)
    return MODELS.build(small_localizer(cells, **options))


def labelled(count: int = 6) -> list[Frame]:
    return [located_frame(number, cells=CELLS) for number in range(count)]


def run(model: GeoLocalizer, frames: list[Frame], mode: str):
    return model(**model.data_preprocessor(frames, mode == "loss"), mode=mode)


def test_losses_reach_every_parameter():
    model, frames = built(scene_names=NAMES), labelled()
    frames = [replace(frame, geo_label=replace(frame.geo_label, scene=n % 2)) for n, frame in enumerate(frames)]
    losses = run(model.train(), frames, "loss")
    assert set(losses) == {"loss_hierarchy0", "loss_hierarchy1", "loss_scene"}
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_towns_are_learned_and_told_with_cells_that_hold_them():
    model, frames = built(scene_names=()), labelled(30)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    model.train()
    for _ in range(25):
        optimizer.zero_grad()
        sum(run(model, frames, "loss").values()).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        found = run(model, frames, "predict")
    town = [CELLS.hierarchies[0].ids.tolist().index(one.cells[0].id) for one in found]
    truth = CELLS.labels_of([frame.wgs84[:2] for frame in frames])[:, 0].tolist()
    assert town == truth
    for frame, one in zip(frames, found, strict=True):
        assert (one.token, one.timestamp_ns) == (frame.token, frame.timestamp_ns)
        assert len(one.cells) == 2
        assert 0 < one.probability <= one.cells[0].probability <= 1
        assert 0 <= one.entropy <= np.log(len(CELLS.hierarchies[1]))
        outline = shape(one.to_geojson()["features"][0]["geometry"])
        assert outline.covers(Point(one.longitude, one.latitude))
        assert one.scene == -1


def test_places_outside_all_cells_are_left_out_of_the_loss():
    model, frames = built(scene_names=()), labelled(2)
    nowhere = replace(frames[1], geo_label=GeoLabel((0, 0)))
    alone = run(model.eval(), frames[:1], "loss")
    both = run(model, [frames[0], nowhere], "loss")
    for name, value in alone.items():
        torch.testing.assert_close(both[name], value)
    none = run(model, [nowhere], "loss")
    assert all(value == 0 for value in none.values())


def test_ten_crops_are_averaged_as_logits():
    preprocessor = {"type": "GeoDataPreprocessor", "crop_size": (24, 24), "crops": "ten"}
    model, frames = built(data_preprocessor=preprocessor).eval(), labelled(3)
    batch = model.data_preprocessor(frames, False)
    images = batch["inputs"]["images"]
    with torch.no_grad():
        raw = model(**batch, mode="tensor")
        by_crop = model(inputs={"images": images[1]})
    assert isinstance(raw, GeoLogits)
    for mean, crops in zip(raw.hierarchies, by_crop.hierarchies, strict=True):
        torch.testing.assert_close(mean[1], crops.mean(dim=0), atol=1e-5, rtol=0)          # other sizes of batch


def test_the_stages_make_what_predict_makes():
    model, frames = built().eval(), labelled(2)
    batch = model.data_preprocessor(frames, False)
    with torch.no_grad():
        value = batch["inputs"]
        for stage in model.stages(batch):
            value = stage.run(value)
        assert value == run(model, frames, "predict")


def test_channels_last_changes_the_layout_alone():
    model, laid_out = built().eval(), built(channels_last=True).eval()
    assert laid_out.encode(torch.rand(2, 3, 32, 32))[-1].is_contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        batch = model.data_preprocessor(labelled(2), False)
        for ours, theirs in zip(laid_out(**batch).hierarchies, model(**batch).hierarchies, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)                 # sums in another order


def test_a_partition_may_come_from_its_file_and_weights_carry_its_cells(tmp_path: Path):
    model = built(str(save_partition(CELLS, tmp_path / "cells.parquet")))
    state = model.state_dict()
    for number, cells in enumerate(CELLS.hierarchies):
        assert state[f"cells{number}"].numpy().view(np.uint64).tolist() == cells.ids.tolist()
    save_checkpoint({"state_dict": state}, tmp_path / "model.pth")
    load_weights(built(), tmp_path / "model.pth")


def other_partition():
    return adaptive_partition(np.array([(52.5, 13.4)] * 9 + [(48.1, 11.6)] * 9), (9, 8), tau_min=0, level_max=8)


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        (adaptive_partition(np.array([(48.1, 11.6)] * 9), (10,), tau_min=0), "it has 2 hierarchies, the model has 1"),
        (other_partition(), r"hierarchy 0 has 3 cells, the model's has 2; 3 of its cells are unknown here, such as"),
    ],
    ids=["other_depth", "other_cells"],
)
def test_weights_of_another_partition_are_refused(cells, told):
    state = built().state_dict()
    with pytest.raises(CheckpointError, match=f"theirs: made for another partition: {told}"):
        load_weights(built(cells), {"state_dict": state}, "theirs")


def test_weights_that_tell_no_cells_are_refused():
    state = {key: value for key, value in built().state_dict().items() if not key.startswith("cells")}
    with pytest.raises(CheckpointError, match="theirs: tells no cells"):
        load_weights(built(), {"state_dict": state}, "theirs")


def test_a_model_without_partition_gives_logits_alone():
    head = {"num_classes": CELLS.num_classes}
    model, frames = built(None, head=head).eval(), labelled(1)
    assert [logits.shape[1] for logits in run(model, frames, "tensor").hierarchies] == list(CELLS.num_classes)
    for mode in ("loss", "predict"):
        with pytest.raises(ConfigError, match="the model has no partition: name its file"):
            run(model, frames, mode)


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (None, "frame f0 has no cells to learn from: put LabelGeoCells last"),
        (GeoLabel(), "frame f0 has no cells to learn from"),
        (GeoLabel((1,)), "frame f0 has cells of 1 hierarchies, the model has 2"),
        (GeoLabel((0, 1)), "frame f0: the model has no cell 0000000000000001 in hierarchy 1: label frames by the"),
        (GeoLabel((0, 0), 2), "frame f0: the kind of scene 2 is none of the 2 of the model"),
    ],
)
def test_frames_that_cannot_be_learned_from_are_told(label, told):
    model, frame = built(scene_names=NAMES), replace(labelled(1)[0], geo_label=label)
    assert model.can_learn_from(frame) == (label is not None and bool(label.cells))
    with pytest.raises(ConfigError, match=told):
        run(model, [frame], "loss")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"head": {"num_classes": (1, 2)}}, r"the head has num_classes \(1, 2\), the model has"),
        ({"head": {"num_scenes": 3}, "scene_names": NAMES}, "the head has num_scenes 3, the model has 2"),
    ],
)
def test_heads_that_do_not_fit_are_refused(options, told):
    with pytest.raises(ConfigError, match=told):
        built(**options)


def test_an_unknown_mode_and_missing_frames_are_refused():
    with pytest.raises(ValueError, match="mode must be"):
        built()(inputs={"images": torch.zeros(1, 3, 32, 32)}, mode="train")
    with pytest.raises(ValueError, match="needs the frames"):
        built()(inputs={"images": torch.zeros(1, 3, 32, 32)}, mode="predict")


def test_backbones_are_loaded_from_other_models(tmp_path: Path):
    theirs = built()
    with torch.no_grad():
        for parameter in theirs.backbone.parameters():
            parameter.add_(1.0)
    save_checkpoint({"state_dict": theirs.state_dict()}, tmp_path / "theirs.pth")
    ours = built(pretrained=tmp_path / "theirs.pth")
    ours.init_weights()
    for mine, other in zip(ours.backbone.parameters(), theirs.backbone.parameters(), strict=True):
        assert torch.equal(mine, other)
