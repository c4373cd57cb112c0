"""VectorMapNet's head: losses, augmentation, joint training, and predictions in metres."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.errors import ConfigError
from perception.structures import SE3, Frame, Polylines, VectorMap
from perception.structures.vector_map import MAP_CLASSES
from perception_plugins.vectormapnet import VectorMapHead
from perception_plugins.vectormapnet.augmentation import InputNoise
from perception_plugins.vectormapnet.generator import Condition
from perception_plugins.vectormapnet.losses import weighted_log_loss
from perception_plugins.vectormapnet.map_head import WrittenMap
from perception_plugins.vectormapnet.targets import MapTargets, map_targets

QUIET = {"probability": 0.0}
SMALL = {"channels": 16, "heads": 2, "layers": 2, "hidden": 24, "dropout": 0.0}
close = torch.testing.assert_close


def small_head(**options: object) -> VectorMapHead:
    torch.manual_seed(0)
    arguments = {
        "canvas": (40, 20), "detector": {**SMALL, "num_queries": 8}, "generator": {**SMALL, "max_positions": 12},
        "noise": QUIET, "top_k": 5, "max_vertices": 6, "nucleus": 0.0,
    }
    head = VectorMapHead(6, **{**arguments, **options})
    for layer in head.generator.decoder.layers:
        for gate in (layer.gate1, layer.gate2, layer.gate3):
            torch.nn.init.ones_(gate)
    return head


def bev(batch: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(batch, 6, 5, 10, generator=torch.Generator().manual_seed(seed))


def frame(elements: int = 4, seed: int = 0) -> Frame:
    """Random lines of two to six vertices, of all classes."""
    draw = torch.Generator().manual_seed(seed)
    half = torch.tensor([28.0, 14.0])
    lines = [(torch.rand(2 + i % 5, 2, generator=draw) * 2 - 1) * half for i in range(elements)]
    labels = torch.arange(elements) % len(MAP_CLASSES)
    return Frame(f"frame-{seed}", seed, vector_map=VectorMap(Polylines.from_lines(lines), labels))


def targets_of(head: VectorMapHead, *frames: Frame) -> MapTargets:
    return map_targets(frames, head.canvas, classes=head.classes, kind=head.keypoints, max_vertices=12)


def total(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def test_losses_have_the_names_of_the_sheet_with_a_prefix_that_the_runner_adds_up():
    losses = small_head().loss(bev(), [frame(), frame(seed=1)], {})
    assert set(losses) == {"loss_det_cls", "loss_det_reg", "loss_det_d0_cls", "loss_det_d0_reg", "loss_gen_seq"}
    assert torch.isfinite(total(losses))


@pytest.mark.parametrize("kind", ["box", "start_middle_end", "extreme"])
@pytest.mark.parametrize("elements", [(4, 3), (1, 0), (0, 0)], ids=["some", "a_single_line", "none"])
def test_every_parameter_gets_a_finite_gradient_however_many_elements_there_are(elements, kind):
    head = small_head(keypoints=kind)
    losses = head.loss(bev(), [frame(count, seed) for seed, count in enumerate(elements)], {})
    total(losses).backward()
    for name, weight in head.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


@pytest.mark.parametrize("elements", [(4, 3), (0, 0)], ids=["some", "none"])
def test_proposals_are_learned_with_everything_else(elements):
    head = small_head(detector={**SMALL, "num_queries": 8, "proposals": {"channels": 8}})
    losses = head.loss(bev(), [frame(count, seed) for seed, count in enumerate(elements)], {})
    assert set(losses) >= {"loss_det_heat", "loss_det_points"}
    total(losses).backward()
    for name, weight in head.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(weight.grad).all(), name


def test_without_elements_everything_is_background():
    losses = small_head().loss(bev(), [frame(0), frame(0)], {})
    assert losses["loss_gen_seq"] == losses["loss_det_reg"] == 0
    assert losses["loss_det_cls"] > 0


def test_more_elements_than_queries_are_no_error():
    assert torch.isfinite(total(small_head(joint=True).loss(bev(1), [frame(12)], {})))


def test_the_generators_loss_in_two_parts_is_that_of_one_pass():
    head, frames = small_head(), [frame(6), frame(5, seed=1)]
    targets, maps = targets_of(head, *frames), bev()
    condition = Condition(torch.cat(targets.labels), targets.conditions, targets.images)
    logits = head.generator(head.generator.read(maps), condition, targets.tokens)
    loss = weighted_log_loss(logits, targets.tokens, targets.mask, targets.weights) / targets.weights.sum()
    close(head.loss(maps, frames, {})["loss_gen_seq"], loss)


def test_the_order_of_the_elements_changes_no_loss():
    head, first = small_head(), frame(6)
    turned = Frame("turned", 0, vector_map=first.vector_map[torch.arange(6).flip(0)])
    close(head.loss(bev(1), [first], {}), head.loss(bev(1), [turned], {}))


def test_losses_are_weighted_sums():
    plain = small_head().loss(bev(), [frame(), frame()], {})
    heavy = small_head(generator_weight=3.0, detector_loss={"classes": 4.0, "keypoints": 0.3}).loss(
        bev(), [frame(), frame()], {}
    )
    close(heavy, {name: (2.0 if name.endswith("cls") else 3.0) * value for name, value in plain.items()})


def test_losses_under_autocast_are_float32():
    with torch.autocast("cpu", torch.bfloat16):
        losses = small_head().loss(bev(), [frame(), frame(seed=1)], {})
    assert {value.dtype for value in losses.values()} == {torch.float32}
    assert torch.isfinite(total(losses))


def test_a_head_learns_one_frame_by_heart():
    head, truth, maps = small_head(normalisation="true", top_k=3, joint=True), frame(3), bev(1)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    for _ in range(120):
        optimizer.zero_grad()
        total(head.loss(maps, [truth], {})).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
    (found,) = head.eval().decode(head(maps), [truth])
    assert sorted(found.labels.tolist()) == [0, 1, 2]
    for label, line in zip(found.labels.tolist(), found.lines, strict=True):
        (expected,) = truth.vector_map[truth.vector_map.labels == label].lines
        close(line, expected, atol=1.6, rtol=0)                             # a bin is 60 m / 39 wide


def test_joint_training_tells_the_generator_what_the_detector_found():
    head = small_head(joint=True, repeated=1.0)
    targets = targets_of(head, frame(3), frame(2, seed=1))
    found = head.detector(bev())
    pairs = head.detector_loss(found, targets.labels, targets.keypoints)[1]
    rows, condition = head.conditions(targets, found, pairs)
    assert rows.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert condition.images.tolist() == [0, 0, 0, 1, 1] * 2
    assert torch.equal(condition.keypoints[5:], targets.conditions)         # and once more with the true ones
    queries, truths = pairs[1]
    assert torch.equal(condition.keypoints[3 + truths], found.keypoints[-1, 1, queries].round().long())


def test_noise_moves_some_coordinates_a_little_and_leaves_stops_alone():
    tokens = torch.tensor([[100, 50] * 500 + [0, 0, 0]])
    noisy = InputNoise(probability=0.3, sigma=0.01).on_tokens(tokens, (200, 100), torch.Generator().manual_seed(0))
    shift = (noisy - tokens)[0, :1000].float()
    assert (noisy[0, 1000:] == 0).all()
    assert 0.15 < (shift != 0).float().mean() < 0.3                         # some of the moved round back
    for axis, sigma in ((0, 2.0), (1, 1.0)):
        moved = shift[axis::2][shift[axis::2] != 0]
        assert moved.abs().max() <= 5 * sigma


def test_noise_keeps_the_canvas():
    tokens = torch.tensor([[200, 100] * 200, [1, 1] * 200])
    noisy = InputNoise(probability=1.0, sigma=0.1).on_tokens(tokens, (200, 100), torch.Generator().manual_seed(0))
    assert (noisy >= 0).all()
    assert (noisy[:, 0::2] <= 200).all()
    assert (noisy[:, 1::2] <= 100).all()


def test_the_slip_of_the_release_takes_y_from_x():
    cells = torch.tensor([[150, 20, 60, 20]]).repeat(50, 1)
    slip, clean = (
        InputNoise(probability=1.0, y_from_x=is_slip).on_keypoints(cells, (200, 100), torch.Generator().manual_seed(0))
        for is_slip in (True, False)
    )
    assert torch.equal(slip[:, 1], slip[:, 0].clamp(max=100))
    assert torch.equal(slip[:, 3], slip[:, 2])
    assert (clean[:, 1::2] < 30).all()
    assert torch.equal(slip[:, 0::2], clean[:, 0::2])


def test_noise_is_for_training_only():
    head, frames = small_head(noise={"probability": 1.0, "sigma": 0.2}), [frame(), frame(seed=1)]
    clean = small_head().eval().loss(bev(), frames, {})["loss_gen_seq"]
    close(head.eval().loss(bev(), frames, {})["loss_gen_seq"], clean)
    assert head.train().loss(bev(), frames, {})["loss_gen_seq"] != clean


@pytest.mark.parametrize("change", [{"probability": 1.5}, {"probability": -0.1}, {"sigma": -1.0}])
def test_noise_refuses(change):
    with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\] and sigma be >= 0"):
        InputNoise(**change)


def written(tokens: list[list[int]], images: list[int]) -> WrittenMap:
    count = len(images)
    condition = Condition(torch.arange(count) % 3, torch.zeros(count, 4, dtype=torch.int64), torch.tensor(images))
    return WrittenMap(torch.linspace(0.9, 0.1, count), condition, torch.tensor(tokens).view(count, 5))


@pytest.mark.parametrize(
    ("options", "corner"),
    [
        ({}, [32.0, 17.0]),
        ({"output_frame": "published"}, [30.0, 15.0]),
        ({"normalisation": "true"}, [30.0, 15.0]),
        ({"normalisation": "true", "output_frame": "published"}, [30.0, 15.0]),
    ],
    ids=["published", "shrunken", "true", "true_shrunken"],
)
def test_the_last_cell_in_metres(options, corner):
    (found,) = small_head(**options).decode(written([[1, 1, 40, 20, 0]], [0]), [frame()])
    close(found.lines.vertices, torch.tensor([[-30.0, -15.0], corner]))


def test_elements_without_a_line_are_left_out_and_frames_without_elements_are_empty():
    pose = SE3.about_z(0.3)
    frames = [Frame("a", 1, global_from_ego=pose), Frame("b", 2), Frame("c", 3)]
    tokens = [[1, 1, 0, 0, 0], [3, 3, 4, 4, 0], [0, 0, 0, 0, 0]]
    first, second, third = small_head().decode(written(tokens, [0, 0, 2]), frames)
    assert (first.token, first.timestamp_ns, first.global_from_ego) == ("a", 1, pose)
    assert first.labels.tolist() == [1]
    assert len(second) == len(third) == 0
    assert second.lines.vertices.shape == (0, 2)


def test_predictions_are_best_first_and_within_the_top():
    head = small_head().eval()
    for found in head.decode(head(bev()), [frame(), frame(seed=1)]):
        assert len(found) <= 5
        assert (found.scores.diff() <= 0).all()
        assert found.classes == MAP_CLASSES


def test_nothing_is_written_below_the_least_score():
    head = small_head(min_score=1.0).eval()
    raw = head(bev())
    assert len(raw.tokens) == 0
    assert [len(found) for found in head.decode(raw, [frame(), frame()])] == [0, 0]


def test_drawn_lines_repeat_and_do_not_depend_on_the_batch():
    head = small_head(nucleus=0.9).eval()
    together, alone = head(bev()), head(bev()[1:])
    assert torch.equal(together.tokens, head(bev()).tokens)
    assert torch.equal(together.tokens[5:], alone.tokens)
    head.seed = 1
    assert not torch.equal(together.tokens, head(bev()).tokens)


def test_drawing_leaves_the_random_state_alone():
    head, state = small_head(nucleus=0.9).eval(), torch.get_rng_state()
    head(bev())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keypoints": "hull"}, "keypoints must be one of box, start_middle_end, extreme, got 'hull'"),
        ({"normalisation": "none"}, "normalisation must be one of published, true, got 'none'"),
        ({"output_frame": "global"}, "output_frame must be one of true, published, got 'global'"),
        ({"classes": ("road", "road")}, "classes must name at least one class and none twice"),
        ({"top_k": 0}, "top_k must be >= 1"),
        ({"region": (0, 1)}, "region must have four numbers"),
    ],
)
def test_a_head_refuses(options, message):
    with pytest.raises(ConfigError, match=message):
        small_head(**options)


def test_a_frame_without_a_map_cannot_be_learnt_from():
    with pytest.raises(ConfigError, match="frame bare has no vector map"):
        small_head().loss(bev(1), [Frame("bare", 0)], {})
