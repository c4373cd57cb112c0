from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.batch_norm import fold_batch_norms
from perception.errors import CheckpointError
from perception.models.map_data_preprocessor import MapDataPreprocessor
from perception.registry import MODELS, load_plugin
from perception.structures import SE3, Calibration, Camera, Frame, PointCloud
from perception_plugins.vectormapnet.camera_encoder import CameraEncoder, UpsampleSum
from perception_plugins.vectormapnet.encoder import VectorMapNetEncoder
from perception_plugins.vectormapnet.official_encoder import load_official_encoder
from perception_plugins.vectormapnet.pillar_encoder import PillarEncoder

CAMERAS = ("front", "left", "back", "right")
CHANNELS = ("x", "y", "z", "intensity", "time")
FORWARD = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
PLANE = {"region": (-12.0, -8.0, 12.0, 8.0), "grid": (24, 16)}
CAMERA = {
    "image_backbone": {"type": "ResNet", "depth": 50, "style": "caffe", "deformable_stages": (2, 3), "stem_channels": 4,
                       "base_channels": 4},
    "image_channels": 8, "groups": 4, "heights": (-0.5, 0.5),
}
LIDAR = {"base": 4, "hidden_channels": 6, "z_range": (-3.0, 3.0)}
PREPROCESSOR = MapDataPreprocessor(CAMERAS, bgr=True, channels=CHANNELS)


def frame(seed: int = 0, points: int = 200, cameras: tuple[str, ...] = CAMERAS) -> Frame:
    """Random points within 12 m and random pictures of 30 x 50 pixels all around."""
    draw = torch.Generator().manual_seed(seed)
    xyz = (torch.rand(points, 3, generator=draw) - 0.5) * torch.tensor([24.0, 16.0, 4.0])
    cloud = PointCloud(torch.cat([xyz, torch.rand(points, 2, generator=draw)], dim=1), CHANNELS)
    pictures = torch.randint(0, 256, (len(CAMERAS), 3, 30, 50), generator=draw, dtype=torch.uint8)
    intrinsics = torch.tensor([[25.0, 0.0, 24.5], [0.0, 25.0, 14.5], [0.0, 0.0, 1.0]], dtype=torch.float64)
    looks = SE3(FORWARD, torch.tensor([0.0, 0.0, 1.6]))
    seen = {
        name: Camera(Calibration(intrinsics, SE3.about_z(turn * math.pi / 2) @ looks, 50, 30), 0, image=pictures[turn])
        for turn, name in enumerate(CAMERAS)
    }
    return Frame(f"frame-{seed}", seed, points=cloud, cameras={name: seen[name] for name in cameras})


def inputs_of(*frames: Frame) -> dict:
    return PREPROCESSOR(list(frames))["inputs"]


def small_encoder(camera: bool = True, lidar: bool = True, **options: object) -> VectorMapNetEncoder:
    """Its norms have met two batches, so that statistics are not those of a fresh network."""
    torch.manual_seed(0)
    branches = {"camera": CAMERA if camera else None, "lidar": LIDAR if lidar else None}
    encoder = VectorMapNetEncoder(**{**branches, "channels": 12, **PLANE, **options})
    for seed in range(2):
        encoder.train()(inputs_of(frame(seed), frame(seed + 10)))
    return encoder.eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("camera", "lidar"), [(True, False), (False, True), (True, True)])
def test_every_modality_gives_the_same_map_size(camera, lidar):
    encoder = small_encoder(camera, lidar)
    bev = encoder(inputs_of(frame(), frame(1)))
    assert bev.shape == (2, encoder.channels, 16, 24)
    assert torch.isfinite(bev).all()


def test_each_branch_fills_its_half_of_the_channels():
    encoder, inputs = small_encoder(), inputs_of(frame())
    before = encoder(inputs)
    inputs["points"] = [inputs["points"][0][:100]]
    after = encoder(inputs)
    assert torch.equal(after[:, :6], before[:, :6])
    assert not torch.equal(after[:, 6:], before[:, 6:])


def test_a_batch_equals_its_frames_one_by_one():
    encoder, frames = small_encoder(), [frame(1), frame(2, cameras=("front", "right")), frame(3, points=0)]
    together = encoder(inputs_of(*frames))
    for bev, one in zip(together, frames, strict=True):
        torch.testing.assert_close(bev, encoder(inputs_of(one))[0], atol=1e-5, rtol=1e-4)


def test_the_order_of_the_cameras_does_not_matter():
    encoder, inputs = small_encoder(lidar=False), inputs_of(frame())
    turned = {**inputs, **{name: inputs[name].roll(1, dims=1) for name in ("images", "image_from_ego", "camera_mask")}}
    torch.testing.assert_close(encoder(turned), encoder(inputs), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
def test_a_missing_camera_has_no_influence(training):
    """Not even on the batch statistics: the picture that stands in for it is never looked at."""
    inputs = inputs_of(frame(cameras=("front", "left", "right")), frame(1))
    assert inputs["camera_mask"].tolist() == [[True, True, False, True], [True] * 4]
    encoder = small_encoder(lidar=False).train(training)
    twin = copy.deepcopy(encoder)
    expected = encoder(inputs)
    inputs["images"][0, 2] = 100.0
    assert torch.equal(twin(inputs), expected)
    assert all(torch.equal(one, other) for one, other in zip(twin.buffers(), encoder.buffers(), strict=True))


def test_every_parameter_is_trained():
    encoder = small_encoder().train()
    encoder(inputs_of(frame(), frame(1))).square().mean().backward()
    untouched = [name for name, p in encoder.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert untouched == []


def test_pictures_are_lifted_beside_their_features():
    torch.manual_seed(0)
    camera = CameraEncoder(12, **PLANE, **CAMERA, pictures=True).eval()
    with torch.no_grad():
        camera.output.weight[:, : (8 + 3) * 2] = 0.0                           # features of two planes, and places
    inputs = inputs_of(frame())
    maps = [camera(inputs["images"] + shift, inputs["image_from_ego"]) for shift in (0.0, 1.0)]
    assert (maps[0] - maps[1]).abs().max() > 0.01


def test_folded_norms_change_nothing():
    encoder = small_encoder()
    neck = MODELS.build({"type": "VectorMapNetNeck", "in_channels": 12, "channels": 8, "hidden_channels": 4}).eval()
    model, inputs = nn.Sequential(encoder, neck).eval(), inputs_of(frame())
    expected = model(inputs)
    fold_batch_norms(model)
    torch.testing.assert_close(model(inputs), expected, atol=1e-4, rtol=1e-3)     # sums in another order, many layers
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_it_runs_in_bfloat16():
    encoder, inputs = small_encoder(), inputs_of(frame())
    with torch.autocast("cpu", torch.bfloat16):
        bev = encoder(inputs)
    torch.testing.assert_close(bev.float(), encoder(inputs), atol=0.1, rtol=0.1)  # 8 bits, some sixty layers deep


@pytest.mark.parametrize(
    ("part", "count"),
    [("image_backbone", 24_254_771), ("image_neck", 1_083_392), ("upsample", 887_040), ("output", 603_776)],
)
def test_the_published_camera_branch_has_its_number_of_parameters(part, count):
    with torch.device("meta"):
        assert parameters(getattr(CameraEncoder(), part)) == count


def test_the_published_lidar_branch_and_neck_have_their_number_of_parameters():
    with torch.device("meta"):
        encoder, neck = PillarEncoder(64), MODELS.build({"type": "VectorMapNetNeck"})
    assert parameters(encoder.output) == 73_792
    assert parameters(encoder) - parameters(encoder.output) == 4_040_000
    assert parameters(neck) == 557_696


def test_levels_are_summed_as_if_each_were_brought_to_full_size():
    torch.manual_seed(0)
    upsample = UpsampleSum(8, 4, groups=2)
    levels = [torch.rand(2, 8, 16 // 2**k, 24 // 2**k) for k in range(4)]
    expected = levels[0]
    for units, level in zip(upsample.levels, levels[1:], strict=True):
        for unit in units:
            level = F.interpolate(unit(level), scale_factor=2, mode="bilinear", align_corners=True)
        expected = expected + level
    torch.testing.assert_close(upsample(levels), expected)


def test_a_single_level_is_left_as_it_is():
    x = torch.rand(1, 8, 3, 5)
    assert UpsampleSum(8, 1)([x]) is x


def pillars(**options: object) -> PillarEncoder:
    torch.manual_seed(0)
    return PillarEncoder(6, **{**PLANE, **LIDAR, **options}).eval()


def described(encoder: PillarEncoder, *rows: tuple[float, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Features, pillars and whether they count, of points (x, y, z) in one sample."""
    cloud = torch.tensor([(*row, 0.5, 0.0) for row in rows])
    return encoder.describe(cloud, torch.zeros(len(rows), dtype=torch.int64), 1)


def test_what_a_pillar_says_of_its_points():
    """Two points in the pillar whose corner is at (2, 1) and whose sides are 1 m, one in the next."""
    features, numbers, inside = described(pillars(), (2.2, 1.5, 0.0), (2.4, 1.7, 1.0), (3.5, 1.5, 0.0))
    assert inside.all()
    assert numbers.tolist() == [14 * 16 + 9, 14 * 16 + 9, 15 * 16 + 9]
    expected = [2.2, 1.5, 0.0, 0.5, 0.0, 2.0, -0.1, -0.1, -0.5, 2.3, 1.6, 0.5, -0.3, 0.0, 0.0]
    assert features[0].tolist() == pytest.approx(expected, abs=1e-5)
    assert features[2, 5:9].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_points_out_of_range_are_left_out():
    encoder, inside = pillars(), frame().points.data
    outside = torch.tensor([[13.0, 0.0, 0.0], [0.0, -8.01, 0.0], [0.0, 0.0, 3.1], [-12.5, 0.0, 0.0]])
    outside = torch.cat([outside, torch.ones(4, 2)], dim=1)
    torch.testing.assert_close(encoder([torch.cat([outside, inside])]), encoder([inside]))


def test_the_release_puts_what_is_just_below_the_range_into_the_first_pillar_and_the_rest_into_pillar_0():
    rows = (-12.9, 0.5, 0.0), (-13.1, 0.5, 0.0), (0.5, -8.9, 0.0)
    _, numbers, inside = described(pillars(as_released=True), *rows)
    assert numbers.tolist() == [8, 0, 12 * 16]
    assert inside.tolist() == [True, False, True]
    assert len(described(pillars(), *rows)[1]) == 0


def test_in_the_release_points_out_of_range_dilute_pillar_0_and_no_other():
    encoder = pillars(as_released=True)
    first = torch.tensor([[-11.5, -7.5, 0.0, 0.5, 0.0], [0.5, 0.5, 0.0, 0.5, 0.0]])
    far = torch.tensor([[50.0, 0.0, 0.0, 0.5, 0.0]])
    maps = [
        encoder.pillar_map(encoder.describe(cloud, torch.zeros(len(cloud), dtype=torch.int64), 1), 1)
        for cloud in (first, torch.cat([first, far]))
    ]
    changed = (maps[0] != maps[1]).any(dim=1)[0].nonzero().tolist()
    assert changed == [[0, 0]]


@pytest.mark.parametrize("as_released", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_clouds_without_points_have_a_map(as_released, training):
    encoder = pillars(as_released=as_released).train(training)
    empty = torch.empty(0, 5)
    assert torch.isfinite(encoder([empty, empty])).all()
    some = encoder.eval()([frame().points.data, empty])
    torch.testing.assert_close(some[1], encoder([empty])[0], atol=1e-5, rtol=1e-4)


def test_the_map_has_rows_along_y_and_columns_along_x():
    encoder = pillars()
    where = []
    for x, y in ((-9.5, -5.5), (9.5, -5.5)):
        bev = encoder([torch.tensor([[x, y, 0.0, 0.5, 0.0]])]) - encoder([torch.empty(0, 5)])
        where.append(bev.abs().sum(dim=(0, 1)))
    rows, columns = ([plane.sum(dim=axis).argmax().item() for plane in where] for axis in (1, 0))
    assert max(rows) < 8                             # both at low y
    assert columns[0] < 12 < columns[1]


def test_standardised_inputs_have_a_norm_without_parameters():
    encoder = pillars(standardize=True).train()
    encoder([frame().points.data])
    assert parameters(encoder) == parameters(pillars())
    assert encoder.standardize.running_mean.abs().max() > 0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: VectorMapNetEncoder(), "an encoder needs camera, lidar or both"),
        (lambda: VectorMapNetEncoder({}, {}, channels=7), "channels must be even for two branches, got 7"),
        (lambda: PillarEncoder(grid=(200, 98)), r"grid must be divisible by 4, got \(200, 98\)"),
        (lambda: PillarEncoder(in_channels=2), "in_channels must be >= 3, got 2"),
    ],
)
def test_encoders_that_cannot_be_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize(("name", "remedy"), [("images", "name its cameras"), ("points", "set use_points")])
def test_inputs_that_lack_a_modality_are_refused(name, remedy):
    inputs = inputs_of(frame())
    del inputs[name]
    with pytest.raises(ValueError, match=f"inputs have no {name}, .*must {remedy}"):
        small_encoder()(inputs)


def test_pictures_that_the_strides_do_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"images must have sides divisible by 32, got \(32, 48\)"):
        CameraEncoder(6, **PLANE, **CAMERA)(torch.zeros(1, 4, 3, 32, 48), torch.eye(4).expand(1, 4, 4, 4))


def test_points_of_another_width_are_refused():
    with pytest.raises(ValueError, match="points must have 5 channels, got 4"):
        pillars()([torch.zeros(3, 4)])


def test_keys_that_have_no_counterpart_are_dropped_and_strange_ones_are_listed():
    stray = ("backbone.masked_embeds.weight", "backbone.img_backbone.conv1.bias", "conv1x1.weight")
    assert load_official_encoder({name: torch.zeros(1) for name in stray}) == {}
    for strange in ("backbone.pp.block1.layers.2.weight", "backbone.pp.up1.2.weight", "backbone.camera.weight"):
        with pytest.raises(CheckpointError, match=strange):
            load_official_encoder({strange: torch.zeros(1)})


def test_the_plugin_registers_its_parts():
    info = load_plugin("vectormapnet")
    assert {"bev_encoder", "neck"} <= set(info.roles)
    assert MODELS.roles["VectorMapNetEncoder"] == "bev_encoder"
    assert MODELS.roles["VectorMapNetNeck"] == "neck"
