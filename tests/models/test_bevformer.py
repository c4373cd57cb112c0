from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from perception.models.attention.deformable import DeformableAttention
from perception.models.lifts.bevformer import BEVFormerLift, SpatialCrossAttention
from perception.models.lifts.bevformer_encoder import BEVFormerEncoder
from perception.models.lifts.can_bus import can_bus_signals
from perception.models.lifts.pillar_views import pillar_points, project_pillars, views_of
from perception.models.map_data_preprocessor import MapDataPreprocessor
from perception.structures import SE3, Frame, PointCloud

close = torch.testing.assert_close
RANGE = (-8.0, -4.0, -2.0, 8.0, 4.0, 2.0)
IMAGE_SIZE = (24, 32)


def looking(yaw: float, focal: float = 16.0) -> Tensor:
    """(4, 4) projection of a level camera at the ego origin that looks along ``yaw``."""
    c, s = math.cos(yaw), math.sin(yaw)
    camera_from_ego = torch.tensor([[s, -c, 0, 0], [0, 0, -1, 0], [c, s, 0, 0], [0, 0, 0, 1]])
    intrinsics = torch.tensor([[focal, 0, 16, 0], [0, focal, 12, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    return intrinsics @ camera_from_ego


def lift_of(cameras: int = 3, **options) -> BEVFormerLift:
    torch.manual_seed(0)
    sizes = {"num_cameras": cameras, "levels": 2, "num_layers": 2, "heads": 4, "use_can_bus": False}
    return BEVFormerLift(16, (5, 7), RANGE, **{**sizes, **options}).eval()


def features(batch_size: int, cameras: int) -> list[Tensor]:
    draw = torch.Generator().manual_seed(2)
    return [torch.randn(batch_size, cameras, 16, *size, generator=draw) for size in ((6, 8), (3, 4))]


def ring(cameras: int, turn: float = 0.0) -> Tensor:
    return torch.stack([looking(turn + 2 * math.pi * n / cameras) for n in range(cameras)])


def test_pillars_stand_on_cell_centres_row_by_row():
    points = pillar_points((2, 4), RANGE, 3)
    assert points.shape == (8, 3, 3)
    close(points[1], torch.tensor([[-2.0, -2.0, -1.5], [-2.0, -2.0, 0.0], [-2.0, -2.0, 1.5]]))
    close(points[4, 0], torch.tensor([-6.0, 2.0, -1.5]))


def test_a_point_ahead_lies_where_a_pinhole_puts_it_and_one_behind_is_not_seen():
    points = torch.tensor([[[4.0, 1.0, -1.0], [-4.0, 1.0, -1.0], [4.0, 9.0, 0.0]]])
    uv, visible = project_pillars(points, looking(0.0)[None, None], IMAGE_SIZE)
    close(uv[0, 0, 0, 0], torch.tensor([(16 - 16 / 4) / 32, (12 + 16 / 4) / 24]))
    assert visible[0, 0, 0].tolist() == [True, False, False]            # the last one lies left of the picture


def test_views_list_the_cells_of_each_camera_and_count_the_cameras_of_each_cell():
    visible = torch.tensor([[[0, 1, 0, 1], [0, 0, 0, 1]]]).bool()[..., None]
    views = views_of(torch.rand(1, 2, 4, 1, 2), visible)
    assert views.cells[0, 0].tolist() == [1, 3]
    assert views.is_seen.tolist() == [[[True, True], [True, False]]]
    assert int(views.cells[0, 1, 0]) == 3
    assert views.cameras.tolist() == [[1, 1, 1, 2]]


def test_the_answers_of_two_cameras_are_averaged():
    attention = SpatialCrossAttention(8, heads=2, levels=1, points=4, anchors=1)
    for linear in (attention.attention.value_proj, attention.output_proj):
        nn.init.eye_(linear.weight)
    nn.init.zeros_(attention.attention.sampling_offsets.bias)
    visible = torch.tensor([[[1, 1, 0], [0, 1, 0]]]).bool()[..., None]
    views = views_of(torch.full((1, 2, 3, 1, 2), 0.5), visible)
    memory = torch.stack([torch.full((9, 8), 2.0), torch.full((9, 8), 6.0)])
    read = attention(torch.randn(1, 3, 8), memory, [(3, 3)], views)
    close(read[0, :, 0], torch.tensor([2.0, 4.0, 0.0]))


def test_a_missing_camera_has_no_influence():
    lift, maps, matrices = lift_of(), features(2, 3), ring(3).expand(2, 3, 4, 4).clone()
    mask = torch.tensor([[True, False, True], [True, True, True]])
    matrices[0, 1] = torch.eye(4)
    expected = lift(maps, matrices, IMAGE_SIZE, camera_mask=mask)
    for level in maps:
        level[0, 1] = 1e3
    matrices[0, 1] = looking(0.4)
    assert torch.equal(lift(maps, matrices, IMAGE_SIZE, camera_mask=mask), expected)
    assert not torch.allclose(lift(maps, matrices, IMAGE_SIZE), expected)


def test_every_sample_of_a_batch_is_as_if_alone():
    lift, maps = lift_of(), features(3, 3)
    matrices = torch.stack([ring(3, turn) for turn in (0.0, 0.5, 1.0)])
    mask = torch.tensor([[True] * 3, [True, False, False], [True] * 3])
    together = lift(maps, matrices, IMAGE_SIZE, camera_mask=mask)
    for sample in range(3):
        row = slice(sample, sample + 1)
        alone = lift([level[row] for level in maps], matrices[row], IMAGE_SIZE, camera_mask=mask[row])
        close(together[row], alone, atol=1e-5, rtol=1e-5)


def test_a_map_that_no_camera_sees_is_finite():
    lift, mask = lift_of(), torch.zeros(1, 3, dtype=torch.bool)
    bev = lift(features(1, 3), ring(3)[None], IMAGE_SIZE, camera_mask=mask)
    assert bev.shape == (1, 16, 5, 7)
    assert bool(torch.isfinite(bev).all())


def test_without_history_the_map_is_its_own_past():
    lift, maps = lift_of(num_layers=1), features(2, 3)
    matrices = ring(3).expand(2, 3, 4, 4)
    past = lift.query.weight.T.unflatten(1, lift.bev_size).expand(2, -1, -1, -1)
    alone = lift(maps, matrices, IMAGE_SIZE)
    close(lift(maps, matrices, IMAGE_SIZE, previous=past, shift=torch.zeros(2, 2)), alone)
    moved = lift(maps, matrices, IMAGE_SIZE, previous=past, shift=torch.tensor([[0.0, 0.0], [0.3, 0.0]]))
    close(moved[0], alone[0])
    assert not torch.allclose(moved[1], alone[1])


def test_averaged_levels_are_the_mean_of_attentions_to_each():
    torch.manual_seed(0)
    both = DeformableAttention(8, heads=2, levels=2, points=3, query_channels=12, average_levels=True)
    nn.init.normal_(both.attention_weights.weight)
    query, memory, reference = torch.randn(1, 4, 12), torch.randn(2, 1, 20, 8), torch.rand(1, 4, 1, 1, 1, 2)
    alone = []
    for level in range(2):
        one = DeformableAttention(8, heads=2, levels=1, points=3, query_channels=12)
        one.value_proj, one.output_proj = both.value_proj, both.output_proj
        for linear, values in ((one.sampling_offsets, 6), (one.attention_weights, 3)):
            whole = getattr(both, "sampling_offsets" if values == 6 else "attention_weights")
            linear.weight = nn.Parameter(whole.weight.view(2, 2, values, 12)[:, level].flatten(0, 1))
            linear.bias = nn.Parameter(whole.bias.view(2, 2, values)[:, level].flatten())
        alone.append(one(query, one.project(memory[level]), [(4, 5)], reference))
    value = torch.cat([both.project(level) for level in memory], dim=1)
    close(both(query, value, [(4, 5)] * 2, reference), (alone[0] + alone[1]) / 2)


class Halving(nn.Module):
    """A backbone and a neck in one: channel means at half size, normalised over whatever pictures it is given."""

    def forward(self, images: Tensor | list[Tensor]) -> list[Tensor]:
        if isinstance(images, list):
            return images
        small = nn.functional.avg_pool2d(images, 2)
        return [(small - small.mean()).mean(dim=1, keepdim=True).expand(-1, 16, -1, -1)]


def test_pictures_of_missing_cameras_never_reach_the_backbone():
    lift = {
        "type": "BEVFormerLift", "channels": 16, "bev_size": (5, 7), "point_range": RANGE, "num_cameras": 2,
        "levels": 1, "num_layers": 1, "heads": 4, "use_can_bus": False,
    }
    encoder = BEVFormerEncoder({"type": Halving}, {"type": Halving}, lift).eval()
    mask = torch.tensor([[True, False]])
    images = torch.randn(1, 2, 3, *IMAGE_SIZE)
    inputs = {"images": images, "image_from_ego": ring(2)[None], "camera_mask": mask}
    expected = encoder(inputs)
    images[0, 1] = 50.0
    assert torch.equal(encoder(inputs), expected)
    (level,) = encoder.features(images, mask)
    assert level.shape == (1, 2, 16, 12, 16)
    assert float(level[0, 1].abs().sum()) == 0.0


def test_can_bus_holds_attitude_and_heading():
    pose = SE3.about_z(-math.pi / 2, (100.0, 50.0, 0.0))
    signals = can_bus_signals(Frame("a", 0, global_from_ego=pose))
    expected = torch.zeros(18)
    expected[3], expected[6], expected[16] = math.cos(math.pi / 4), -math.sin(math.pi / 4), 1.5 * math.pi
    close(signals, expected, atol=1e-6, rtol=0)


def test_the_preprocessor_gives_can_bus_signals_if_asked_to():
    points = PointCloud(torch.zeros(3, 4), ("x", "y", "z", "intensity"))
    frames = [Frame(str(n), n, points=points, global_from_ego=SE3.about_z(n)) for n in range(2)]
    inputs = MapDataPreprocessor(use_can_bus=True)(frames)["inputs"]
    close(inputs["can_bus"][:, 16], torch.tensor([0.0, 1.0]))
    assert "can_bus" not in MapDataPreprocessor()(frames)["inputs"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: lift_of(use_can_bus=True)(features(1, 3), ring(3)[None], IMAGE_SIZE), "needs can_bus"),
        (lambda: lift_of()(features(1, 2), ring(2)[None], IMAGE_SIZE), "must be of 3 cameras, got 2"),
        (lambda: lift_of()(features(1, 3)[:1], ring(3)[None], IMAGE_SIZE), "must be 2 maps, got 1"),
        (lambda: BEVFormerLift(15), "channels must be even"),
        (lambda: lift_of(spatial_points=6), r"points \(6\) must be a multiple of the pillar's anchors \(4\)"),
        (lambda: can_bus_signals(Frame("x", 0)), "frame x has no global_from_ego"),
    ],
)
def test_what_does_not_fit_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()
