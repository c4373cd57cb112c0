import json
import math

import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from shapely.geometry import Polygon

from perception_ops import native_kernels, rotated_iou_bev, rotated_iou_bev_aligned
from perception_ops.rotated_iou import rotated_iou_bev_aligned_reference, rotated_iou_bev_reference

CAR = torch.tensor([[1.0, 2.0, 4.0, 2.0, 0.3]])
place, size, yaw = (st.floats(*bounds, width=32) for bounds in ((-5, 5), (0.125, 8), (-7, 7)))
box = st.tuples(place, place, size, size, yaw)
snapped = st.tuples(*(st.integers(0, 3).map(float) for _ in range(4)), st.sampled_from([0.0, math.pi / 2, 0.7]))
needs_native = pytest.mark.skipif("rotated_iou_bev" not in native_kernels(), reason="native kernels are not in use")


def boxes(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)


def polygon(row: torch.Tensor) -> Polygon:
    x, y, length, width, yaw = row.double().tolist()
    corners = [(sx * length / 2, sy * width / 2) for sx, sy in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    cos, sin = math.cos(yaw), math.sin(yaw)
    return Polygon([(x + cos * u - sin * v, y + sin * u + cos * v) for u, v in corners])


def from_clockwise(legacy: torch.Tensor) -> torch.Tensor:
    """(K, 7) x y z w l h yaw, where w lies along the box's own x axis and yaw turns clockwise."""
    return torch.stack([legacy[:, 0], legacy[:, 1], legacy[:, 3], legacy[:, 4], -legacy[:, 6]], 1)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((0, 0, 4, 2, 0), 1.0),
        ((0, 0, 4, 2, math.pi), 1.0),
        ((0, 0, 4, 2, math.pi / 2), 4 / 12),
        ((2, 0, 4, 2, 0), 4 / 12),
        ((4, 0, 4, 2, 0), 0.0),
        ((0, 0, 2, 1, 0), 2 / 8),
        ((0, 0, math.sqrt(2), math.sqrt(2), math.pi / 4), 2 / 8),
        ((3, 0, 4, 0, 0), 0.0),
        ((0, 0, 6, 2, 0), 8 / 12),
        ((50, 0, 4, 2, 0), 0.0),
    ],
    ids=["itself", "turned around", "crossed", "half", "touching", "inside", "diamond", "no width", "longer", "far"],
)
def test_iou_worked_by_hand(other, expected):
    iou = rotated_iou_bev(boxes((0, 0, 4, 2, 0)), boxes(other))
    assert iou.item() == pytest.approx(expected, abs=1e-6)


def test_positive_yaw_turns_counter_clockwise():
    long_box, probe = boxes((0, 0, 10, 0.5, math.pi / 4)), boxes((3, 3, 0.5, 0.5, math.pi / 4), (3, -3, 0.5, 0.5, 0))
    iou = rotated_iou_bev(long_box, probe)[0]
    assert iou[0].item() == pytest.approx(0.25 / 5, abs=1e-5)
    assert iou[1] == 0


@pytest.mark.golden_files("flatformer", pattern="rotated_iou_nms*.safetensors")
def test_iou_equals_the_published_one(golden_file):
    with safe_open(golden_file, "pt") as file:
        a, b = from_clockwise(file.get_tensor("in.boxes_a")), from_clockwise(file.get_tensor("in.boxes_b"))
        expected = file.get_tensor("out.iou_bev")
        assert json.loads(file.metadata()["config"])
    torch.testing.assert_close(rotated_iou_bev(a, b), expected, atol=1e-4, rtol=0)         # the sheet's tolerance


@settings(max_examples=100, deadline=None)
@given(a=st.lists(box, min_size=1, max_size=4), b=st.lists(box, min_size=1, max_size=4))
def test_iou_equals_shapely(a, b):
    a, b = boxes(*a), boxes(*b)
    iou = rotated_iou_bev(a, b)
    for i, j in torch.cartesian_prod(torch.arange(len(a)), torch.arange(len(b))).tolist():
        one, other = polygon(a[i]), polygon(b[j])
        overlap = shapely.intersection(one, other, grid_size=1e-9).area   # without a grid, edges on one line can give 0
        expected = overlap / (one.area + other.area - overlap)
        assert iou[i, j].item() == pytest.approx(expected, abs=1e-4)      # float32 corners at 10 m on boxes of 0.125 m


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(box, min_size=1, max_size=6), shift=st.sampled_from([0.0, 1e-7, 1e-6, 1e-5, 1e-4]))
def test_nearly_equal_boxes_have_an_iou_near_one(rows, shift):
    a = boxes(*rows)
    iou = rotated_iou_bev_aligned(a, a + torch.tensor([shift, -shift, 0, 0, shift]))
    assert (iou > 0.97).all()                     # 8 m by 0.125 m, turned by 1e-4 and moved, loses 1 %
    assert (iou <= 1).all()


def test_iou_is_exact_far_from_the_origin():
    far = CAR + torch.tensor([3000.0, -2000.0, 0, 0, 0])
    assert rotated_iou_bev(far, far).item() == pytest.approx(1.0, abs=1e-6)


def test_aligned_is_the_diagonal():
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(33, 5, generator=generator) * 4 + 0.1
    b = torch.rand(33, 5, generator=generator) * 4 + 0.1
    torch.testing.assert_close(rotated_iou_bev_aligned(a, b), rotated_iou_bev(a, b).diagonal())


@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (0, 0)])
def test_no_boxes_give_an_empty_matrix(rows, columns):
    assert rotated_iou_bev(CAR.expand(rows, 5), CAR.expand(columns, 5)).shape == (rows, columns)


@needs_native
@settings(max_examples=60, deadline=None)
@given(a=st.lists(box | snapped, max_size=40), b=st.lists(box | snapped, max_size=80), offset=st.sampled_from([0, 1e6]))
def test_native_equals_the_reference_where_edges_touch_and_sizes_are_zero(a, b, offset):
    a, b = boxes(*a), boxes(*b)
    a[:, :2] += offset
    b[: len(b) // 2, :2] += offset
    assert torch.equal(rotated_iou_bev(a, b), rotated_iou_bev_reference(a, b))             # to the last bit
    few = min(len(a), len(b))
    assert torch.equal(
        rotated_iou_bev_aligned(a[:few], b[:few]), rotated_iou_bev_aligned_reference(a[:few], b[:few])
    )


@needs_native
@pytest.mark.parametrize("scale", [1e-30, 1e-4, 1e4, 1e15])
def test_native_equals_the_reference_at_sizes_no_car_has(scale):
    cars = torch.rand(70, 5, generator=torch.Generator().manual_seed(1))
    cars[:, :4] *= scale
    assert torch.equal(rotated_iou_bev(cars, cars), rotated_iou_bev_reference(cars, cars))


def test_threads_change_nothing(num_threads):
    generator = torch.Generator().manual_seed(0)
    cars = torch.rand(3001, 5, generator=generator) * torch.tensor([90, 90, 4, 2, 6.3])
    with num_threads(1):
        matrix, aligned = rotated_iou_bev(cars[:301], cars), rotated_iou_bev_aligned(cars, cars.flip(0))
    for threads in (2, 3):
        with num_threads(threads):
            assert torch.equal(rotated_iou_bev(cars[:301], cars), matrix)
            assert torch.equal(rotated_iou_bev_aligned(cars, cars.flip(0)), aligned)


def test_yaws_of_many_turns_lose_nothing():
    turns = 2 * math.pi * 1000
    a, b = boxes((0, 0, 4, 2, turns)), boxes((1, 0.5, 4, 2, 0.3))
    expected = rotated_iou_bev(boxes((0, 0, 4, 2, math.remainder(a[0, 4].item(), 2 * math.pi))), b)
    torch.testing.assert_close(rotated_iou_bev(a, b), expected, atol=1e-6, rtol=0)     # a float steps by 5e-4 rad there


def test_many_pairs_equal_their_parts():
    cars = torch.rand(300, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([40, 40, 4, 2, 6.3])
    parts = torch.cat([rotated_iou_bev(one[None], cars) for one in cars])
    torch.testing.assert_close(rotated_iou_bev(cars, cars), parts)


def test_autocast_and_half_inputs_leave_it_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        iou = rotated_iou_bev(CAR, CAR + 0.25)
    assert iou.dtype == torch.float32
    assert torch.equal(iou, rotated_iou_bev(CAR, CAR + 0.25))
    half = rotated_iou_bev(CAR.half(), CAR.half() + 0.25)
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(iou.item(), abs=2e-3)


@pytest.mark.parametrize("name", ["rotated_iou_bev", "rotated_iou_bev_aligned"])
def test_opcheck_passes(name):
    torch.library.opcheck(getattr(torch.ops.perception, name).default, (CAR, CAR + 0.25))


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (CAR[:, :4], CAR, r"a must be floating \(K, 5\), got torch.float32 \(1, 4\)"),
        (CAR, CAR.long(), r"b must be floating \(L, 5\), got torch.int64 \(1, 5\)"),
        (CAR, CAR * float("nan"), r"b must be finite, row 0 is \[nan"),
        (CAR, CAR.double() * 1e300, r"b must be finite, row 0 is \[inf"),
        (CAR * torch.tensor([1, 1, -1, 1, 1]), CAR, r"a must have sizes >= 0, row 0 is \[1.0, 2.0, -4.0"),
    ],
)
def test_bad_boxes_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        rotated_iou_bev(a, b)


def test_aligned_refuses_lists_of_different_lengths():
    with pytest.raises(ValueError, match=r"b must be floating \(1, 5\), got torch.float32 \(2, 5\)"):
        rotated_iou_bev_aligned(CAR, CAR.expand(2, 5))
