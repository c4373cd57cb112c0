from __future__ import annotations

import pytest
import torch
from lane_frames import RANGE, sd_map
from torch import Tensor

from perception.models.inverse_sigmoid import inverse_sigmoid
from perception_plugins.mqbank import LaneSegDecoder, MQBankDecoder
from perception_plugins.mqbank.bank import QueryBank
from perception_plugins.mqbank.lane_decoder import LaneAttention, LaneDecoder, boundary_points
from perception_plugins.mqbank.point_range import PointRange

close = torch.testing.assert_close
ROADS = [[[-15, 0], [15, 0]], [[0, -9], [1, 9]], [[-15, 6], [15, 6]]]


def bank_decoder(**options) -> MQBankDecoder:
    torch.manual_seed(0)
    sizes = {"num_queries": 8, "num_layers": 2, "heads": 4, "bank_size": (5, 10)}
    return MQBankDecoder(16, RANGE, **{**sizes, **options}).eval()


def bev(batch_size: int = 1) -> Tensor:
    return torch.randn(batch_size, 16, 6, 11, generator=torch.Generator().manual_seed(1))


def lines_of(decoder: LaneDecoder, *arguments) -> Tensor:
    return torch.stack([torch.cat(decoder.lines(output.reference, output.offset), 2) for output in decoder(*arguments)])


def test_without_a_navigation_map_the_start_is_the_baseline_plus_the_terms_of_the_bank():
    decoder = bank_decoder()
    baseline = LaneSegDecoder(16, RANGE, num_queries=8, num_layers=1, heads=8)
    for name in ("query_embedding", "reference_points"):
        getattr(baseline, name).load_state_dict(getattr(decoder, name).state_dict())
    ours, theirs = decoder.first_queries(2, [None, None]), baseline.first_queries(2)
    close(ours.reference, theirs.reference)
    close(ours.points, theirs.points)
    held = decoder.bank(theirs.points).mean(dim=2)
    close(ours.position, theirs.position + decoder.pos_proj(held))
    slots = decoder.slot_embedding.weight.mean(dim=0)
    close(ours.content, theirs.content + decoder.content_proj(held + slots) + decoder.type_embedding.weight[0])


def test_the_first_queries_take_the_anchors_nearest_first():
    decoder = bank_decoder()
    queries = decoder.first_queries(1, [sd_map(ROADS[0], lanes=1)])
    centers = decoder.point_range.to_metres(queries.reference)[0]
    close(centers[0, [0, -1]], torch.tensor([[-15.0, 0.0, 0.0], [0.0, 0.0, 0.0]]), atol=1e-4, rtol=0)
    close(centers[1, [0, -1]], torch.tensor([[0.0, 0.0, 0.0], [15.0, 0.0, 0.0]]), atol=1e-4, rtol=0)
    ends = decoder.point_range.to_metres(queries.points)[0, 0]
    close(ends[:, 1], torch.tensor([1.75] * 4 + [-1.75] * 4), atol=1e-4, rtol=0)
    learned = decoder.first_queries(1)
    close(queries.reference[:, 2:], learned.reference[:, 2:])
    assert not torch.allclose(queries.content[0, 0], learned.content[0, 0])


def test_more_anchors_than_queries_fill_all_queries():
    decoder = bank_decoder(num_queries=3)
    queries = decoder.first_queries(1, [sd_map(*ROADS, lanes=4)])
    assert len(decoder.anchors(sd_map(*ROADS, lanes=4))) == 3
    assert not bool(torch.isclose(queries.reference, decoder.first_queries(1).reference).all(dim=3).all(dim=2).any())


@pytest.mark.parametrize(
    "known", [None, sd_map(), sd_map([[300, 400], [340, 400]]), sd_map([[5, 5], [5, 5]])],
    ids=["none", "no_road", "another_place", "no_length"],
)
def test_a_map_that_knows_nothing_of_the_place_is_as_none(known):
    decoder = bank_decoder()
    assert torch.equal(lines_of(decoder, bev(), [known]), lines_of(decoder, bev()))


def test_no_anchor_is_taken_if_none_may_be():
    decoder = bank_decoder(max_anchors=0)
    assert torch.equal(lines_of(decoder, bev(), [sd_map(*ROADS)]), lines_of(decoder, bev()))


def test_every_sample_of_a_batch_is_as_if_alone():
    decoder, maps = bank_decoder(), [sd_map(*ROADS), None, sd_map(ROADS[1], lanes=1)]
    plane = bev(3)
    together = lines_of(decoder, plane, maps)
    for sample, known in enumerate(maps):
        alone = lines_of(decoder, plane[sample : sample + 1], [known])
        close(together[:, sample], alone[:, 0], atol=2e-5, rtol=0)     # metres; products of other sizes round otherwise


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"use_bank": "never"}, ("bank.", "bank_proj")),
        ({"use_bank": "start"}, ("bank_proj",)),
        ({"cross_attention": "lane", "heads": 8, "sampling_points": 8}, ("bank_proj", "pool_score")),
    ],
)
def test_switches_leave_parts_out(options, absent):
    decoder = bank_decoder(**options)
    assert not [key for key in decoder.state_dict() if any(part in key for part in absent)]
    lines = lines_of(decoder.train(), bev(2), [sd_map(*ROADS), None])
    lines.square().sum().backward()
    assert lines.shape == (2, 2, 8, 30, 3)
    unused = [name for name, parameter in decoder.named_parameters() if parameter.grad is None]
    assert unused == []


def test_gradients_reach_the_bank_and_the_first_points_of_learned_queries():
    decoder = bank_decoder()
    torch.nn.init.normal_(decoder.layers[0].center[-1].weight)
    decoder(bev())[-1].query[..., 0].sum().backward()
    for parameter in (decoder.bank.weight, decoder.reference_points.weight, decoder.query_embedding.weight):
        assert float(parameter.grad.abs().sum()) > 0


def test_the_bank_holds_a_cell_at_its_centre_and_its_edge_beyond():
    bank = QueryBank(1, (2, 4))
    with torch.no_grad():
        bank.weight.copy_(torch.arange(8.0).view(1, 2, 4))
    points = torch.tensor([[0.375, 0.75], [-3.0, 0.25], [9.0, 9.0]]).view(1, 1, 3, 2)
    close(bank(points).flatten(), torch.tensor([5.0, 0.0, 7.0]))


def test_four_of_ten_points_stand_for_a_line():
    assert boundary_points(4) == [0, 3, 6, 9]


def test_lane_attention_begins_in_eight_directions_for_every_head():
    bias = LaneAttention(16, heads=2, points=16).attention.sampling_offsets.bias.view(2, 16, 2)
    close(bias[0], bias[1])
    close(bias[0, [0, 2, 8, 9]], torch.tensor([[1.0, 0], [0, 1], [2, 0], [2, 2]]), atol=1e-6, rtol=0)


def test_references_stay_within_the_range_and_boundaries_need_not():
    decoder = bank_decoder()
    for layer in decoder.layers:
        torch.nn.init.constant_(layer.center[-1].bias, 40.0)
        torch.nn.init.constant_(layer.offset[-1].bias, 100.0)
    center, left, _ = decoder.lines(*(lambda out: (out.reference, out.offset))(decoder(bev())[-1]))
    assert bool((center <= torch.tensor(RANGE[3:]) + 1e-4).all())
    assert float(left.detach().max()) > 100.0


def test_inverse_sigmoid_is_the_inverse_and_finite_at_the_ends():
    unit = torch.tensor([0.0, 0.3, 1.0])
    close(inverse_sigmoid(unit).sigmoid(), torch.tensor([1e-5, 0.3, 1 - 1e-5]), atol=1e-6, rtol=0)


def test_a_range_maps_its_corners_to_those_of_the_unit_cube():
    limits = PointRange.of(RANGE)
    corners = torch.tensor(RANGE).view(2, 3)
    close(limits.to_unit(corners), torch.tensor([[0.0] * 3, [1.0] * 3]))
    close(limits.to_metres(limits.to_unit(corners)), corners)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bank_decoder(use_bank="sometimes"), 'use_bank must be "everywhere"'),
        (lambda: bank_decoder(cross_attention="all"), 'cross_attention must be "point"'),
        (lambda: bank_decoder(max_anchors=-1), "max_anchors must be >= 0, got -1"),
        (lambda: bank_decoder(boundary_size=7), "even in number, got 7"),
        (lambda: bank_decoder(num_layers=0), "a decoder needs a layer"),
        (lambda: LaneSegDecoder(16, RANGE, sampling_points=12), "multiple of 8, got 12"),
        (lambda: PointRange.of((0, 0, 0, 1, 1)), "must be six numbers, got 5"),
        (lambda: PointRange.of((0, 0, 0, 1, 0, 1)), "low < high"),
        (lambda: bank_decoder()(bev(2), [None]), "sd_maps must be 2, one a sample, got 1"),
    ],
)
def test_what_does_not_fit_is_told(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_shape_code_tells_roads_apart_that_the_bank_does_not_and_follows_the_lanes():
    plain, decoder = bank_decoder(), bank_decoder(shape_code=True)
    torch.nn.init.zeros_(decoder.bank.weight)
    east, west = ([[-15, 0], [15, 0]], [[15, 0], [-15, 0]])
    first, second = (decoder.first_queries(1, [sd_map(road, lanes=1)]) for road in (east, west))
    assert not torch.allclose(first.position[0, 0], second.position[0, 0])
    assert not [name for name, _ in plain.named_parameters() if "shape_code" in name]
    torch.nn.init.constant_(decoder.layers[0].center[-1].bias, 0.3)
    output = decoder.layers[0](first, bev().flatten(2).transpose(1, 2), (6, 11))
    moved = decoder.next_queries(first, output)
    close(moved.position - first.position, decoder.shape_code(moved.points) - decoder.shape_code(first.points))


def test_a_shape_code_knows_the_middle_and_the_points_about_it():
    code = bank_decoder(shape_code=True).shape_code
    points = torch.rand(1, 2, 8, 3, generator=torch.Generator().manual_seed(0))
    higher = points + torch.tensor([0.0, 0.0, 0.5])
    close(code(points), code(higher))
    assert not torch.allclose(code(points), code(points + torch.tensor([0.1, 0.0, 0.0])))
    assert not torch.allclose(code(points), code(points.flip(2)))
