import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from perception_ops import circle_nms, native_kernels, rotated_iou_bev, rotated_nms
from perception_ops.circle_nms import circle_nms_reference
from perception_ops.rotated_nms import rotated_nms_reference

SQUARES = torch.tensor([[0.0, 0, 2, 2, 0], [1, 0, 2, 2, 0], [2, 0, 2, 2, 0], [9, 9, 2, 2, 0]])   # neighbours: IoU 1/3

needs_native = pytest.mark.skipif("rotated_nms" not in native_kernels(), reason="native kernels are not in use")


def crowd(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.tensor([12.0, 12.0, 4.0, 2.0, 6.3])
    return torch.rand(count, 5, generator=generator) * scale, torch.rand(count, generator=generator)


def greedy(order: list[int], suppresses) -> list[int]:
    kept: list[int] = []
    for j in order:
        if not any(suppresses(i, j) for i in kept):
            kept.append(j)
    return kept


@pytest.mark.parametrize(
    ("scores", "threshold", "kept"),
    [
        ([0.9, 0.8, 0.7, 0.1], 0.3, [0, 2, 3]),       # 1 falls to 0, so it cannot suppress 2
        ([0.8, 0.9, 0.7, 0.95], 0.3, [3, 1]),
        ([0.9, 0.8, 0.7, 0.1], 0.34, [0, 1, 2, 3]),
        ([0.5, 0.5, 0.5, 0.5], 0.3, [0, 2, 3]),
    ],
    ids=["the fallen do not suppress", "best first", "threshold above", "ties: lower row"],
)
def test_rotated_nms_worked_by_hand(scores, threshold, kept):
    assert rotated_nms(SQUARES, torch.tensor(scores), threshold).tolist() == kept


@pytest.mark.parametrize(
    ("squared_radius", "kept"), [(1.0, [0, 2, 3]), (0.99, [0, 1, 2, 3]), (4.0, [0, 3]), (0.0, [0, 1, 2, 3])]
)
def test_circle_nms_suppresses_on_the_circle_and_within(squared_radius, kept):
    assert circle_nms(SQUARES[:, :2], torch.tensor([0.9, 0.8, 0.7, 0.1]), squared_radius).tolist() == kept


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(0, 60), threshold=st.sampled_from([0.0, 0.1, 0.3, 0.7, 1.0]))
def test_rotated_nms_equals_a_greedy_loop(seed, count, threshold):
    boxes, scores = crowd(seed, count)
    iou = rotated_iou_bev(boxes, boxes)
    order = scores.argsort(descending=True, stable=True).tolist()
    kept = greedy(order, lambda i, j: (iou[i, j] > threshold).item())
    assert rotated_nms(boxes, scores, threshold).tolist() == kept


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 9999), count=st.integers(0, 60), squared_radius=st.sampled_from([0.0, 0.2, 4.0, 50.0]))
def test_circle_nms_equals_a_greedy_loop(seed, count, squared_radius):
    boxes, scores = crowd(seed, count)
    centers = boxes[:, :2].mul(2).round().div(2)                                           # exact distances, ties too
    gap = (centers[:, None] - centers).square().sum(2)
    order = scores.argsort(descending=True, stable=True).tolist()
    kept = greedy(order, lambda i, j: (gap[i, j] <= squared_radius).item())
    assert circle_nms(centers, scores, squared_radius).tolist() == kept


@pytest.mark.golden_files("flatformer", pattern="rotated_iou_nms*.safetensors")
def test_kept_boxes_equal_the_published_ones(golden_file):
    with safe_open(golden_file, "pt") as file:
        config, scores = json.loads(file.metadata()["config"]), file.get_tensor("in.scores_a")
        boxes = file.get_tensor("in.boxes_a")[:, [0, 1, 3, 4, 6]] * torch.tensor([1, 1, 1, 1, -1])   # was clockwise
        rotated, circle = file.get_tensor("out.nms_keep"), file.get_tensor("out.circle_keep")
    assert torch.equal(rotated_nms(boxes, scores, config["nms_thr"]), rotated)
    kept = circle_nms(boxes[:, :2], scores, config["circle_thr"])
    assert torch.equal(kept[: config["circle_post_max"]], circle)


def test_a_long_chain_is_settled_from_its_best_end():
    chain = torch.arange(200.0)[:, None] * torch.tensor([1.0, 0, 0, 0, 0]) + torch.tensor([0, 0, 2.0, 2.0, 0])
    kept = rotated_nms(chain, torch.arange(200.0).flip(0), 0.3)
    assert kept.tolist() == list(range(0, 200, 2))


def test_more_boxes_than_a_chunk_holds_equal_a_greedy_loop():
    boxes, scores = crowd(5, 1500)
    boxes[:, :2] *= 8
    centers, order = boxes[:, :2], scores.argsort(descending=True, stable=True).tolist()
    near = ((centers[:, None] - centers).square().sum(2) <= 9.0).tolist()
    assert circle_nms(centers, scores, 9.0).tolist() == greedy(order, lambda i, j: near[i][j])
    over = (rotated_iou_bev(boxes, boxes) > 0.2).tolist()
    assert rotated_nms(boxes, scores, 0.2).tolist() == greedy(order, lambda i, j: over[i][j])


@needs_native
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 9999), count=st.sampled_from([0, 1, 2, 63, 64, 65, 129, 700]),
    spread=st.sampled_from([1, 4, 50]), levels=st.sampled_from([1, 3, 10**6]), offset=st.sampled_from([0.0, 1e6]),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
)
def test_native_equals_the_reference_at_odd_sizes(seed, count, spread, levels, offset, dtype):
    boxes, scores = crowd(seed, count)
    boxes[:, :2] = boxes[:, :2] * spread + (offset if dtype != torch.float16 else 0.0)
    boxes[::7, 2] = 0.0                                                                    # no area
    boxes[1::5] = boxes[::5][: len(boxes[1::5])]                                           # coincident
    boxes, scores = boxes.to(dtype), (scores * levels).floor().div(levels).to(dtype)       # ties
    for threshold in (0.0, 0.25, 1.0):
        assert torch.equal(rotated_nms(boxes, scores, threshold), rotated_nms_reference(boxes, scores, threshold))
    centers = boxes[:, :2]                                                                 # not contiguous
    for squared_radius in (0.0, 2.25, 1e300):
        kept = circle_nms(centers, scores, squared_radius)
        assert torch.equal(kept, circle_nms_reference(centers, scores, squared_radius))


@needs_native
@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 9999), spread=st.sampled_from([0.3, 3.0, 30.0]), scale=st.sampled_from([1e-5, 1.0, 1e15]),
    slenderness=st.sampled_from([1.0, 30.0]), dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_native_equals_the_reference_at_a_threshold_that_is_one_of_the_ious(seed, spread, scale, slenderness, dtype):
    boxes, scores = crowd(seed, 150)
    boxes[:, :2] *= spread / 12
    boxes[:, 3] /= slenderness
    boxes[75:, 2:] = boxes[:75, 2:]                                                        # moved along their length
    boxes[75:, 0] = boxes[:75, 0] + boxes[:75, 2] * boxes[:75, 4].cos() * 0.6
    boxes[75:, 1] = boxes[:75, 1] + boxes[:75, 2] * boxes[:75, 4].sin() * 0.6
    boxes[:, :4] *= scale
    iou = rotated_iou_bev(boxes, boxes)
    for threshold in iou[(iou > 0) & (iou < 1)][:: len(boxes)].tolist()[:8]:
        kept = rotated_nms_reference(boxes, scores.to(dtype), threshold)
        assert torch.equal(rotated_nms(boxes, scores.to(dtype), threshold), kept)


@needs_native
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_of_any_sign_are_taken_best_first_and_equals_in_the_order_of_rows(dtype):
    tiny = torch.finfo(dtype).tiny
    scores = torch.tensor([0.0, -0.0, 3.5, -2.0, 0.0, tiny, -tiny, -1e30, 1e30, 3.5, tiny / 8, -2.0], dtype=dtype)
    apart = torch.arange(12.0)[:, None] * torch.tensor([10.0, 0, 0, 0, 0]) + 1
    expected = scores.argsort(descending=True, stable=True)
    assert torch.equal(rotated_nms(apart, scores, 0.5), expected)
    assert torch.equal(circle_nms(apart[:, :2], scores, 1.0), expected)


@pytest.mark.parametrize("spread", [0.5, 12.0])
def test_threads_change_nothing(num_threads, spread):
    boxes, scores = crowd(3, 2003)
    boxes[:, :2] *= spread
    with num_threads(1):
        rotated, circle = rotated_nms(boxes, scores, 0.4), circle_nms(boxes[:, :2], scores, 0.04)
    for threads in (2, 3):
        with num_threads(threads):
            assert torch.equal(rotated_nms(boxes, scores, 0.4), rotated)
            assert torch.equal(circle_nms(boxes[:, :2], scores, 0.04), circle)


def test_every_instruction_set_of_this_processor_gives_the_same(instruction_set):
    boxes, scores = crowd(7, 1000)
    boxes[:, :2] *= 4
    assert torch.equal(rotated_nms(boxes, scores, 0.2), rotated_nms_reference(boxes, scores, 0.2))
    centers = boxes[:, :2]
    assert torch.equal(circle_nms(centers, scores, 1.0), circle_nms_reference(centers, scores, 1.0))


def test_scores_that_differ_beyond_float32_are_told_apart():
    scores = torch.tensor([0.5, 0.5 + 1e-12, 0.5, 0.1], dtype=torch.float64)
    assert rotated_nms(SQUARES, scores, 0.3).tolist() == [1, 3]
    assert circle_nms(SQUARES[:, :2], scores, 1.0).tolist() == [1, 3]


def test_no_boxes_keep_nothing():
    assert rotated_nms(SQUARES[:0], torch.zeros(0), 0.5).shape == (0,)
    assert circle_nms(SQUARES[:0, :2], torch.zeros(0), 1.0).shape == (0,)


def test_opcheck_passes():
    boxes, scores = crowd(1, 9)
    torch.library.opcheck(torch.ops.perception.rotated_nms.default, (boxes, scores, 0.3))
    torch.library.opcheck(torch.ops.perception.circle_nms.default, (boxes[:, :2], scores, 4.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rotated_nms(SQUARES, torch.zeros(3), 0.5), r"scores must be floating \(4,\), got .* \(3,\)"),
        (lambda: rotated_nms(SQUARES, torch.full((4,), torch.nan), 0.5), "scores must be finite, row 0 is nan"),
        (lambda: rotated_nms(SQUARES / 0, torch.zeros(4), 0.5), "boxes must be finite, row 0"),
        (lambda: rotated_nms(-SQUARES, torch.zeros(4), 0.5), "boxes must have sizes >= 0, row 0"),
        (lambda: rotated_nms(SQUARES, torch.zeros(4).to("meta"), 0.5), "scores must lie on cpu as boxes does"),
        (lambda: rotated_nms(SQUARES.to("meta"), torch.zeros(4).to("meta"), 0.5), "boxes must have values"),
        (lambda: rotated_nms(SQUARES, torch.zeros(4), 1.5), r"threshold must lie in \[0, 1\], got 1.5"),
        (lambda: circle_nms(SQUARES, torch.zeros(4), 1.0), r"centers must be floating \(K, 2\), got .* \(4, 5\)"),
        (lambda: circle_nms(SQUARES[:, :2], torch.zeros(4), -1.0), r"squared_radius must be >= 0 m\^2, got -1.0"),
        (lambda: circle_nms(SQUARES[:, :2], torch.zeros(4), torch.nan), r"squared_radius must be >= 0 m\^2, got nan"),
        (lambda: circle_nms(SQUARES[:, :2] / 0, torch.zeros(4), 1.0), "centers must be finite, row 0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
