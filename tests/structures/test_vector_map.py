"""Maps in frames: names, choices, moves that keep what left, right and ring senses mean, and refusals."""

import math
from dataclasses import replace

import pytest
import torch

from perception.structures import SE3, Frame, LaneGraph, MapPredictions, Polylines, SDMap, VectorMap

ROAD_EDGE = torch.tensor([[0.0, 3.0], [10.0, 3.0]])               # the road is to its right
MIDDLE = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
CROSSING = torch.tensor([[2.0, -3.0], [5.0, -3.0], [5.0, 3.0], [2.0, 3.0], [2.0, -3.0]])    # counter-clockwise
TURN = SE3.about_z(math.pi / 2, [1.0, 0.0, 0.5])


def vector_map() -> VectorMap:
    return VectorMap(Polylines.from_lines([CROSSING, MIDDLE, ROAD_EDGE]), torch.tensor([0, 1, 2]))


def sd_map() -> SDMap:
    return SDMap(Polylines.from_lines([MIDDLE, CROSSING]), torch.tensor([0, 1]), torch.tensor([2, 0]))


def predictions() -> MapPredictions:
    return MapPredictions("a", 7, vector_map().lines, torch.tensor([0.9, 0.5, 0.1]), vector_map().labels)


def lane_graph() -> LaneGraph:
    """Two lanes one behind the other along x; solid to the left, dashed to the right."""
    centers = torch.tensor([[[0.0, 0.0, 0.0], [5.0, 0.0, 0.0]], [[5.0, 0.0, 0.0], [10.0, 0.0, 1.0]]])
    half = torch.tensor([0.0, 1.5, 0.0])
    solid, dashed = torch.tensor([1, 1]), torch.tensor([2, 2])
    areas = Polylines.from_lines([torch.cat([CROSSING, torch.zeros(5, 1)], dim=1)])
    return LaneGraph(
        centers, centers + half, centers - half, solid, dashed, torch.tensor([[0.0, 1.0], [0.0, 0.0]]), areas,
        torch.tensor([0]),
    )


def frame() -> Frame:
    return Frame("a", 0, vector_map=vector_map(), lane_graph=lane_graph(), sd_map=sd_map())


def signed_area(ring: torch.Tensor) -> float:
    """Area of a closed line, positive if it runs counter-clockwise."""
    x, y = ring[:, 0], ring[:, 1]
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def test_elements_are_named_and_chosen_with_their_labels():
    assert vector_map().names() == predictions().names() == ["ped_crossing", "divider", "boundary"]
    for chosen in (vector_map()[torch.tensor([2, 1])], predictions()[torch.tensor([2, 1])]):
        assert chosen.names() == ["boundary", "divider"]
        assert [line.tolist() for line in chosen.lines] == [ROAD_EDGE.tolist(), MIDDLE.tolist()]
    assert predictions()[1:].scores.tolist() == pytest.approx([0.5, 0.1])
    assert sd_map()[1:].lanes.tolist() == [0]


def test_a_moved_frame_moves_all_of_its_maps():
    moved = frame().moved_by(TURN)
    wanted = torch.tensor([[1.0, 0.0], [1.0, 10.0]])
    torch.testing.assert_close(list(moved.vector_map.lines)[1], wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(next(iter(moved.sd_map.lines)), wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(moved.lane_graph.centers[0], torch.tensor([[1.0, 0.0, 0.5], [1.0, 5.0, 0.5]]))
    assert moved.vector_map.labels.tolist() == [0, 1, 2]


def test_a_scaled_frame_scales_all_of_its_maps():
    scaled = frame().scaled_by(2.0)
    assert scaled.vector_map.lines.lengths().tolist() == [36, 20, 20]
    assert scaled.sd_map.lines.lengths().tolist() == [20, 36]
    assert scaled.lane_graph.lefts[1, 1].tolist() == [20, 3, 2]
    assert scaled.lane_graph.areas.lengths().tolist() == [36]


def test_outlines_of_a_mirrored_map_keep_their_sense():
    crossing, middle, edge = frame().mirrored_y().vector_map.lines
    assert signed_area(crossing) == signed_area(CROSSING) == 18
    assert middle.tolist() == MIDDLE.tolist()
    assert edge.tolist() == [[10, -3], [0, -3]]                   # the road, now in the north, is still to its right


def test_a_map_mirrored_twice_is_the_same():
    again = frame().mirrored_y().mirrored_y()
    assert torch.equal(again.vector_map.lines.vertices, vector_map().lines.vertices)
    assert torch.equal(again.sd_map.lines.vertices, sd_map().lines.vertices)
    assert torch.equal(again.lane_graph.lefts, lane_graph().lefts)


def test_outlines_are_told_by_their_class_and_not_by_its_number():
    renamed = replace(vector_map(), classes=("divider", "boundary", "kerb")).mirrored_y()
    assert [line[0].tolist() for line in renamed.lines] == [[2, 3], [10, 0], [0, -3]]


def test_a_mirrored_lane_has_its_left_line_where_its_right_one_was():
    mirrored = lane_graph().mirrored_y()
    assert mirrored.lefts[0].tolist() == [[0, 1.5, 0], [5, 1.5, 0]]
    assert (mirrored.left_types.tolist(), mirrored.right_types.tolist()) == ([2, 2], [1, 1])
    assert mirrored.connections.tolist() == lane_graph().connections.tolist()


def test_an_unknown_map_stays_unknown_and_an_empty_one_empty():
    nothing = VectorMap(Polylines.from_lines([]), torch.zeros(0, dtype=torch.int64))
    for move in (lambda f: f.moved_by(TURN), lambda f: f.scaled_by(2.0), Frame.mirrored_y, lambda f: f.to("cpu")):
        bare, empty = move(Frame("a", 0)), move(Frame("a", 0, vector_map=nothing))
        assert (bare.vector_map, bare.lane_graph, bare.sd_map) == (None, None, None)
        assert len(empty.vector_map) == 0


@pytest.mark.parametrize(("labels", "message"), [
    (torch.tensor([0, 1]), r"labels must be int64 \(3,\), got torch.int64 \(2,\)"),
    (torch.tensor([0.0, 1.0, 2.0]), r"labels must be int64 \(3,\), got torch.float32 \(3,\)"),
    (torch.tensor([0, 1, 3]), r"labels must lie in \[0, 3\), got 0 to 3"),
    (torch.tensor([-1, 1, 2]), r"labels must lie in \[0, 3\), got -1 to 2"),
])
@pytest.mark.parametrize("kind", [vector_map, predictions])
def test_labels_that_do_not_fit_are_refused(kind, labels, message):
    with pytest.raises(ValueError, match=message):
        replace(kind(), labels=labels)


def test_columns_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"scores must be \(3,\), got \(2,\)"):
        replace(predictions(), scores=torch.zeros(2))
    with pytest.raises(ValueError, match=r"categories must lie in \[0, 3\), got 0 to 3"):
        replace(sd_map(), categories=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"lanes must be int64 \(2,\), got torch.float32 \(2,\)"):
        replace(sd_map(), lanes=torch.zeros(2))


@pytest.mark.parametrize(("column", "value", "message"), [
    ("centers", torch.zeros(2, 2, 2), r"centers must be \(N, K, 3\), got \(2, 2, 2\)"),
    ("lefts", torch.zeros(2, 3, 3), r"lefts must be \(2, 2, 3\), got \(2, 3, 3\)"),
    ("right_types", torch.zeros(3), r"right_types must be \(2,\), got \(3,\)"),
    ("connections", torch.zeros(2, 3), r"connections must be \(2, 2\), got \(2, 3\)"),
    ("area_labels", torch.zeros(2), r"area_labels must be \(1,\), got \(2,\)"),
    ("area_scores", torch.zeros(2), r"area_scores must be \(1,\), got \(2,\)"),
])
def test_a_lane_graph_whose_columns_do_not_fit_is_refused(column, value, message):
    with pytest.raises(ValueError, match=message):
        replace(lane_graph(), **{column: value})
