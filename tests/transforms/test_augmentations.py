"""Rotation, scaling, translation and mirroring of the whole scene, with their ranges and refusals."""

import math

import numpy as np
import pytest
import torch
from scene_frames import cloud, inside, pixels, scene, sweep

from perception.structures import SE3
from perception.transforms.global_rotation import GlobalRotation
from perception.transforms.global_scaling import GlobalScaling
from perception.transforms.global_translation import GlobalTranslation
from perception.transforms.random_flip import RandomFlip

BOTH = [RandomFlip(1.0, 0.0), RandomFlip(0.0, 1.0), RandomFlip(1.0, 1.0)]
RNG = np.random.default_rng


def test_the_drawn_angle_turns_the_scene():
    angle = RNG(5).uniform(-0.5, 0.5)
    turned = GlobalRotation(0.5)(scene(), RNG(5))
    torch.testing.assert_close(turned.points.xyz, SE3.about_z(angle).apply(scene().points.xyz))
    assert abs(angle) > 0.01


def test_the_drawn_factor_scales_points_boxes_and_velocities():
    factor = RNG(5).uniform(0.9, 1.1)
    scaled = GlobalScaling(0.9, 1.1)(scene(), RNG(5))
    torch.testing.assert_close(scaled.points.xyz, scene().points.xyz * factor)
    torch.testing.assert_close(scaled.annotations.boxes.velocities, scene().annotations.boxes.velocities * factor)
    assert torch.equal(scaled.annotations.boxes.yaws, scene().annotations.boxes.yaws)


def test_the_drawn_shift_moves_points_but_turns_nothing():
    shift = torch.from_numpy(RNG(5).normal(scale=(0.5, 0.5, 0.2))).float()
    moved = GlobalTranslation((0.5, 0.5, 0.2))(scene(), RNG(5))
    torch.testing.assert_close(moved.points.xyz, scene().points.xyz + shift)
    assert torch.equal(moved.annotations.boxes.velocities, scene().annotations.boxes.velocities)


@pytest.mark.parametrize(
    ("flip", "signs"),
    [(BOTH[0], (1, -1)), (BOTH[1], (-1, 1)), (BOTH[2], (-1, -1))],
    ids=["left-right", "front-back", "both"],
)
def test_a_mirror_changes_the_sign_of_its_axis(flip, signs):
    before, after = scene(), flip(scene(), RNG(0))
    torch.testing.assert_close(after.points.xyz[:, :2], before.points.xyz[:, :2] * torch.tensor(signs))
    velocities = before.annotations.boxes.velocities * torch.tensor(signs)
    torch.testing.assert_close(after.annotations.boxes.velocities, velocities)
    assert torch.equal(after.points.xyz[:, 2], before.points.xyz[:, 2])


@pytest.mark.parametrize("transform", [GlobalRotation(), GlobalScaling(0.5, 2.0), GlobalTranslation(), *BOTH], ids=repr)
@pytest.mark.parametrize("seed", range(3))
def test_points_stay_in_their_boxes(transform, seed):
    assert inside(transform(scene(), RNG(seed))) == inside(scene())


@pytest.mark.parametrize("flip", BOTH, ids=repr)
def test_a_mirrored_point_lands_on_the_mirrored_pixel(flip):
    before, after = scene(), flip(scene(), RNG(0))
    times = int(flip.prob_y) + int(flip.prob_x)
    u = pixels(before)[:, 0] if times == 2 else 63 - pixels(before)[:, 0]
    torch.testing.assert_close(pixels(after)[:, 0], u, atol=1e-4, rtol=0)
    image = before.cameras["front"].image
    assert torch.equal(after.cameras["front"].image, image if times == 2 else image.flip(-1))


def test_probability_zero_never_mirrors():
    never = RandomFlip(0.0, 0.0)
    assert all(torch.equal(never(scene(), RNG(seed)).points.data, scene().points.data) for seed in range(20))


def test_both_axes_are_drawn_apart():
    flip = RandomFlip(0.5, 0.5)
    signs = {tuple(flip(scene(), RNG(seed)).points.xyz[0, :2].sign().tolist()) for seed in range(40)}
    assert signs == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


@pytest.mark.parametrize("transform", [GlobalScaling(), *BOTH], ids=repr)
def test_sweeps_must_be_aggregated_first(transform):
    with pytest.raises(ValueError, match="put AggregateSweeps before it"):
        transform(scene((sweep(0.1, cloud((1.0, 2.0, 3.0, 0.0))),)), RNG(0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GlobalRotation(4.0), r"max_angle must lie in \[0, pi\] rad, got 4.0"),
        (lambda: GlobalRotation(math.nan), "got nan"),
        (lambda: GlobalScaling(0.0, 1.0), "0 < min_factor"),
        (lambda: GlobalScaling(1.1, 0.9), "got 1.1 and 0.9"),
        (lambda: GlobalTranslation((1.0, 1.0)), "three finite numbers"),
        (lambda: GlobalTranslation((1.0, 1.0, -1.0)), ">= 0"),
        (lambda: RandomFlip(prob_y=1.5), r"prob_y must lie in \[0, 1\], got 1.5"),
        (lambda: RandomFlip(prob_x=-0.1), "prob_x must lie"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
