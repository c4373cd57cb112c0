from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from lane_frames import lane_graph, no_lanes

from perception_plugins.mqbank.lane_loss import (
    LaneMaps,
    LaneWeights,
    Match,
    lane_losses,
    match,
    topology_loss,
)
from perception_plugins.mqbank.lane_targets import LaneTargets, lane_targets

close = torch.testing.assert_close
SURE = 20.0


def perfect(targets: LaneTargets, queries: int = 6, size: tuple[int, int] | None = None) -> LaneMaps:
    """What a perfect head says, the true elements in reverse from query 1 on, far lines of no class elsewhere."""
    rows = torch.arange(len(targets), 0, -1)
    lines = torch.full((3, 1, queries, 10, 3), 90.0)
    for line, truth in zip(lines, (targets.centers, targets.lefts, targets.rights), strict=True):
        line[0, rows] = truth
    labels, lefts, rights = (torch.full((1, queries, classes), -SURE) for classes in (2, 3, 3))
    for logits, truth in ((labels, targets.labels), (lefts, targets.left_types), (rights, targets.right_types)):
        logits[0, rows, truth] = SURE
    masks = None if size is None else torch.full((1, queries, *size), -SURE)
    if masks is not None:
        masks[0, rows] = SURE * (2 * targets.masks - 1)
    return LaneMaps(torch.zeros(1, queries, 4), *lines, labels, lefts, rights, masks)


def test_a_perfect_head_is_matched_in_its_own_order_and_loses_nothing():
    targets, weights = lane_targets(lane_graph(), mask_size=(20, 40), mask_region=(-20, -10, 20, 10)), LaneWeights()
    maps = perfect(targets, size=(20, 40))
    pairs = match(maps, [targets], replace(weights, raw_dice_cost=False))
    assert pairs[0].query.tolist() == [1, 2, 3]
    assert pairs[0].truth.tolist() == [2, 1, 0]
    for name, value in lane_losses(maps, [targets], pairs, weights).items():
        close(value, torch.tensor(0.0), atol=1e-6, rtol=0, msg=name)


def test_a_metre_of_every_coordinate_costs_ninety_times_its_weight():
    targets, weights = lane_targets(lane_graph()), LaneWeights(mask=0.0, dice=0.0)
    maps = perfect(targets)
    off = replace(maps, centers=maps.centers + 1, lefts=maps.lefts + 1, rights=maps.rights - 1)
    losses = lane_losses(off, [targets], match(off, [targets], weights), weights)
    close(losses["loss_line"], torch.tensor(0.025 * 90))


def test_unmatched_queries_have_no_line_type():
    targets, weights = lane_targets(lane_graph()), LaneWeights(mask=0.0, dice=0.0)
    maps = perfect(targets)
    wrong = maps.left_types.clone()
    wrong[0, 5] = SURE                                                   # query 5 stands for nothing
    losses = lane_losses(replace(maps, left_types=wrong), [targets], match(maps, [targets], weights), weights)
    close(losses["loss_left_type"], torch.tensor(0.1 * 3 * SURE / 3))    # three classes too many, of three matched


@pytest.mark.parametrize("size", [None, (4, 8)])
def test_a_batch_without_truth_teaches_the_classes_alone(size):
    targets = [lane_targets(no_lanes(), mask_size=size)] * 2
    maps = LaneMaps(*(torch.randn(2, 6, *shape, requires_grad=True) for shape in (
        (4,), (10, 3), (10, 3), (10, 3), (2,), (3,), (3,), size or (1, 1)
    )))
    weights = LaneWeights() if size else LaneWeights(mask=0.0, dice=0.0)
    pairs = match(maps, targets, weights)
    losses = lane_losses(maps, targets, pairs, weights)
    losses["loss_topology"] = topology_loss(torch.randn(2, 6, 6, requires_grad=True), targets, pairs)
    sum(losses.values()).backward()
    losses = {name: value.detach() for name, value in losses.items()}
    assert float(losses["loss_label"]) > 0
    zero = {"loss_line", "loss_topology", *({"loss_mask", "loss_dice"} if size else ())}
    assert {name for name, value in losses.items() if float(value) == 0.0} == zero


@pytest.mark.parametrize("graph", [lane_graph(), no_lanes()], ids=["another_full_one", "an_empty_one"])
def test_a_second_sample_leaves_the_mean_over_the_matched_alone(graph):
    full, second, weights = lane_targets(lane_graph()), lane_targets(graph), LaneWeights(mask=0.0, dice=0.0)
    maps = perfect(full)
    maps = replace(maps, centers=maps.centers + 1)
    both = LaneMaps(*(None if value is None else torch.cat([value, value]) for value in vars(maps).values()))
    alone = lane_losses(maps, [full], match(maps, [full], weights), weights)
    losses = lane_losses(both, [full, second], match(both, [full, second], weights), weights)
    close(losses["loss_line"], alone["loss_line"])


def test_topology_is_judged_among_matched_lanes_and_divided_by_the_pairs_without_connection():
    targets = lane_targets(lane_graph())                                 # lanes 0 -> 1, and a crossing
    pair = Match(torch.tensor([0, 2, 3]), torch.tensor([1, 2, 0]))       # query 3 is lane 0, query 0 lane 1
    logits = torch.full((1, 4, 4), -SURE)
    logits[0, 3, 0] = SURE
    logits[0, 2] = SURE                                                  # the crossing's row does not count
    close(topology_loss(logits, [targets], [pair]), torch.tensor(0.0), atol=1e-6, rtol=0)
    logits[0, 0, 0] = SURE                                               # one wrong connection, of three absent ones
    close(topology_loss(logits, [targets], [pair]), torch.tensor(0.75 * SURE / 3))
