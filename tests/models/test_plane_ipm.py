from __future__ import annotations

import pytest
import torch
from map_inputs import camera_ring
from torch import Tensor
from torch.nn import functional as F

from perception.models.lifts.plane_ipm import PlaneIPM
from perception.registry import MODELS

SIZE = (32, 48)                                      # of the pictures [pixels]
LIFT = PlaneIPM((-12.0, -6.0, 12.0, 6.0), (13, 7), (-0.5, 0.0, 0.8))


def ring(cameras: int = 4) -> Tensor:
    """(1, N, 4, 4)."""
    return camera_ring(cameras, *SIZE, focal=24.0)[None]


def random_features(cameras: int, channels: int = 5, seed: int = 0) -> Tensor:
    return torch.rand(1, cameras, channels, 8, 12, generator=torch.Generator().manual_seed(seed))


def lift_by_grid_sample(features: Tensor, image_from_ego: Tensor) -> Tensor:
    """(B, L, H, W, C): every point read in every camera, then the mean over those that see it."""
    B, N, C = features.shape[:3]
    locations, visible = LIFT.project(image_from_ego, SIZE)
    read = F.grid_sample(features.flatten(0, 1), locations.flatten(0, 1)[:, None], align_corners=False)
    read = read.view(B, N, C, -1) * visible[:, :, None]
    mean = read.sum(dim=1) / visible.sum(dim=1).clamp(min=1)[:, None]              # (B, C, P)
    return mean.transpose(1, 2).view(B, *LIFT.bev_planes.shape[:3], C)


def test_the_outermost_points_lie_on_the_borders():
    assert LIFT.bev_planes.shape == (3, 7, 13, 3)
    assert LIFT.bev_planes[0, 0, 0].tolist() == [-12.0, -6.0, -0.5]
    assert LIFT.bev_planes[2, 6, 12].tolist() == pytest.approx([12.0, 6.0, 0.8])
    assert LIFT.bev_planes[1, 3, 4].tolist() == pytest.approx([-4.0, 0.0, 0.0])     # rows along y, columns along x


def test_a_point_ahead_reads_the_pixel_it_falls_on():
    """The front camera is 1.6 m up, so the point 8 m ahead on the plane z = 0 is at row 16 + 24 * 1.6 / 8 = 20.8."""
    locations, visible = LIFT.project(ring()[:, :1], SIZE)
    point = 1 * 7 * 13 + 3 * 13 + 10
    assert LIFT.bev_planes.view(-1, 3)[point].tolist() == pytest.approx([8.0, 0.0, 0.0])
    assert visible[0, 0, point]
    assert locations[0, 0, point].tolist() == pytest.approx([0.0, 2 * 20.8 / 32 - 1], abs=1e-6)


def test_lifting_equals_reading_every_point_in_every_camera():
    features, projection = random_features(5), ring(5)                              # five: some fields of view overlap
    lifted = LIFT.lift(features, projection, SIZE)
    torch.testing.assert_close(lifted[..., :5], lift_by_grid_sample(features, projection), atol=1e-5, rtol=1e-5)
    assert torch.equal(lifted[0, ..., 5:], LIFT.bev_planes)


def test_some_points_are_seen_by_two_cameras_and_some_by_none():
    """Else the test above would say nothing of the mean."""
    seen_by = LIFT.project(ring(5), SIZE)[1].sum(dim=1)
    assert seen_by.min() == 0
    assert seen_by.max() >= 2


def test_the_gradient_equals_that_of_reading_every_point():
    features = random_features(5).requires_grad_()
    weights = torch.rand(1, 3, 7, 13, 5, generator=torch.Generator().manual_seed(3))
    (expected,) = torch.autograd.grad((lift_by_grid_sample(features, ring(5)) * weights).sum(), features)
    (ours,) = torch.autograd.grad((LIFT.lift(features, ring(5), SIZE)[..., :5] * weights).sum(), features)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_channels_of_the_map_run_plane_by_plane_within_a_channel():
    features = random_features(4)
    lifted, flat = LIFT.lift(features, ring(), SIZE), LIFT(features, ring(), SIZE)
    assert flat.shape == (1, 8 * 3, 7, 13)
    for channel, plane in ((0, 0), (0, 2), (3, 1), (7, 2)):
        assert torch.equal(flat[0, channel * 3 + plane], lifted[0, plane, :, :, channel])


def test_points_behind_a_camera_are_not_seen():
    lift = PlaneIPM((-12.0, -1.0, -2.0, 1.0), (11, 3), (0.0,))
    assert not lift.project(ring()[:, :1], SIZE)[1].any()                           # the front camera
    assert lift.project(ring()[:, 2:3], SIZE)[1].any()                              # the one that looks back


def test_a_point_in_the_plane_of_a_camera_gives_no_nan():
    lift = PlaneIPM((-4.0, -4.0, 4.0, 4.0), (9, 9), (0.0, 1.6))                     # depth is exactly 0 at x = 0
    features = random_features(4).requires_grad_()
    lifted = lift.lift(features, ring(), SIZE)
    lifted.sum().backward()
    assert torch.isfinite(lifted).all()
    assert torch.isfinite(features.grad).all()


@pytest.mark.parametrize("content", [0.0, 1e3, float("nan")])
def test_a_missing_camera_has_no_influence(content):
    features, projection = random_features(4), ring()
    mask = torch.tensor([[True, True, False, True]])
    expected = LIFT(features[:, mask[0]], projection[:, mask[0]], SIZE)
    features[:, 2], projection[:, 2] = content, torch.eye(4)
    assert torch.equal(LIFT(features, projection, SIZE, mask), expected)


def test_no_camera_at_all_gives_zeros_and_the_points():
    features = random_features(4).requires_grad_()
    lifted = LIFT.lift(features, ring(), SIZE, torch.zeros(1, 4, dtype=torch.bool))
    lifted.sum().backward()
    assert not lifted[..., :5].any()
    assert torch.equal(lifted[0, ..., 5:], LIFT.bev_planes)
    assert not features.grad.any()


def test_samples_of_a_batch_do_not_mix():
    features = torch.cat([random_features(4, seed=seed) for seed in (1, 2)])
    projection = torch.cat([ring(), ring().roll(1, dims=1)])
    mask = torch.tensor([[True, False, True, True], [True, True, True, False]])
    both = LIFT(features, projection, SIZE, mask)
    for b in range(2):
        one = LIFT(features[b : b + 1], projection[b : b + 1], SIZE, mask[b : b + 1])
        torch.testing.assert_close(both[b], one[0])


def test_the_points_are_saved_with_the_model():
    assert list(MODELS.build({"type": "PlaneIPM"}).state_dict()) == ["bev_planes"]
    assert PlaneIPM().bev_planes.shape == (4, 100, 200, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((1.0, 0.0, 1.0, 2.0), (4, 4)), "region must be x0, y0, x1, y1"),
        (((0.0, 0.0, 1.0, 2.0), (4, 0)), r"grid must have two sizes >= 1 and heights a plane, got \(4, 0\)"),
        (((0.0, 0.0, 1.0, 2.0), (4, 4), ()), "heights a plane"),
    ],
)
def test_planes_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlaneIPM(*arguments)


def test_projections_that_do_not_fit_the_features_are_refused():
    with pytest.raises(ValueError, match=r"image_from_ego must be \(1, 3, 4, 4\), got \(1, 4, 4, 4\)"):
        LIFT(random_features(3), ring(), SIZE)
