"""What every transform promises: a Frame, the given one untouched, the same draw for the same generator."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from scene_frames import pixels, scene

from perception.datasets.object_database import build_object_database
from perception.geo import adaptive_partition
from perception.registry import TRANSFORMS, list_registered
from perception.structures import SE3, Frame, PointLabels
from perception.structures.segmentation import IGNORE_LABEL

HERE = (48.1, 11.6, 0.0)
ARGUMENTS = {
    "Compose": {"transforms": [{"type": "GlobalRotation"}, {"type": "PointShuffle"}]},
    "CropImages": {"rows": (0, 36)},                                       # keeps pixels where they are
    "CropVectorMap": {"region": (-15, -10, 25, 10)},
    "Mosaic": {"dataset": {}, "size": (8, 8), "prob": 0.0},                # what it draws has a test of its own
    "RandomCropImages": {"size": (30, 50)},
    "RangeFilter": {"point_range": (0, -20, -2, 25, 20, 4)},
    "FilterClasses": {"classes": ("pedestrian", "car")},
    "FilterInstances": {"min_pixels": 2},
    "LabelGeoCells": {"partition": adaptive_partition([HERE[:2]], [2], tau_min=0)},
    "PasteObjects": {"groups": {"car": 3}},
    "ResizeImages": {"size": (40, 64)},
    "ResolutionPairs": {"scale": 2},
    "SuperResolve": {"model": {"type": "SuperResolver", "network": {"type": "BicubicUpscaler"}}, "size": (8, 12)},
}
NAMES = [name for name in list_registered(TRANSFORMS) if TRANSFORMS.get(name).__module__.startswith("perception.")]
CHANGE_PICTURES = (
    "DropCameras", "PasteObjects", "RandomCropImages", "RandomFlip", "RandomQuarterTurns", "RandomResizeImages",
    "ResolutionPairs",
)
KEEP_PICTURES = [name for name in NAMES if name not in CHANGE_PICTURES]


def build(name: str, tmp_path):
    arguments = dict(ARGUMENTS.get(name, {}))
    if name == "PasteObjects":
        build_object_database([scene()], tmp_path / "objects", min_points=1, channels=("x", "y", "z", "intensity"))
        arguments["database"] = tmp_path / "objects"
    if name == "MapTilePrior":
        (tmp_path / "here.json").write_text(json.dumps({"type": "FeatureCollection", "features": []}))
        square = [[HERE[1] + x, HERE[0] + y] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1))]
        tile = {"type": "Feature", "properties": {"file": "here.json"},
                "geometry": {"type": "Polygon", "coordinates": [square]}}
        arguments["tiles"] = tmp_path / "tiles.geojson"
        arguments["tiles"].write_text(json.dumps({"type": "FeatureCollection", "features": [tile]}))
    if name == "PanopticCopyPaste":                                        # what it draws has a test of its own
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        folder = {"type": "PictureFolder", "root": tmp_path, "pictures": ".", "masks": None}
        arguments = {"dataset": folder, "prob": 0.0}
    return TRANSFORMS.build({"type": name, **arguments})


def given_to(name: str) -> Frame:
    return replace(scene(cameras=name != "PasteObjects"), wgs84=HERE)


def numbers(frame: Frame) -> list[torch.Tensor]:
    annotations = frame.annotations
    parts = [frame.points.data, annotations.boxes.tensor, annotations.labels, frame.global_from_ego.matrix()]
    for camera in frame.cameras.values():
        parts += [camera.image, camera.calibration.intrinsics, camera.calibration.ego_from_camera.matrix()]
    return parts


@pytest.mark.parametrize("name", NAMES)
def test_the_given_frame_is_left_alone(name, tmp_path):
    transform, frame = build(name, tmp_path), given_to(name)
    before = [part.clone() for part in numbers(frame)]
    for seed in range(4):
        assert isinstance(transform(frame, np.random.default_rng(seed)), Frame)
    assert all(torch.equal(first, second) for first, second in zip(numbers(frame), before, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_generator_gives_the_same_frame(name, tmp_path):
    transform, frame = build(name, tmp_path), given_to(name)
    first, second = (numbers(transform(frame, np.random.default_rng(7))) for _ in range(2))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_with_nothing_in_it_passes(name, tmp_path):
    bare = build(name, tmp_path)(Frame("a", 0, global_from_ego=SE3.identity(), wgs84=HERE), np.random.default_rng(0))
    assert bare.points is None
    assert bare.annotations is None


@pytest.mark.parametrize("name", NAMES)
def test_no_points_and_no_objects_pass(name, tmp_path):
    frame = given_to(name)
    empty = replace(frame, points=frame.points[:0], annotations=frame.annotations[:0], cameras={})
    result = build(name, tmp_path)(empty, np.random.default_rng(0))
    assert result.annotations is not None
    assert len(result.points) == (2 if name == "PasteObjects" else 0)


@pytest.mark.parametrize("name", KEEP_PICTURES)
def test_points_stay_on_their_pixels(name, tmp_path):
    before, after = scene(), build(name, tmp_path)(given_to(name), np.random.default_rng(3))
    value = before.points.channel("intensity")                             # tells the points apart
    source = (after.points.channel("intensity")[:, None] - value[None]).abs().argmin(dim=1)
    torch.testing.assert_close(pixels(after)[:, :2], pixels(before)[source, :2], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_labels_stay_with_their_points(name, tmp_path):
    frame = given_to(name)
    numbers = torch.arange(len(frame.points))
    labelled = replace(frame, point_labels=PointLabels(numbers, numbers + 1, ("a", "b", "c", "d")))
    after = build(name, tmp_path)(labelled, np.random.default_rng(3))
    value, labels = frame.points.channel("intensity"), after.point_labels  # intensity tells the points apart
    old = labels.classes != IGNORE_LABEL
    assert torch.equal(after.points.channel("intensity")[old], value[labels.classes[old]])
    assert torch.equal(labels.instances[old], labels.classes[old] + 1)


@pytest.mark.parametrize("name", NAMES)
def test_its_repr_names_it_and_its_arguments(name, tmp_path):
    assert repr(build(name, tmp_path)).startswith(f"{name}(")
