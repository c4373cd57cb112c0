"""MapTR's permutation-equivalent matching and losses against the authors' own values."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from center_cases import Golden, read_golden

from perception.models.heads.point_set_targets import PointSetCriterion
from perception.models.matching.costs import focal_cost
from perception.models.matching.point_orders import order_distances, padded_orders
from perception.structures import Polylines, VectorMap

close = torch.testing.assert_close


def _matching(golden: Golden) -> None:
    config, inputs, out = golden.config, golden.inputs, golden.out
    low, high = config["pc_range"][:2], config["pc_range"][3:5]
    criterion = PointSetCriterion(
        (*low, *high), config["num_pts"], class_weight=config["loss_cls"], point_weight=config["loss_pts"],
        direction_weight=config["loss_dir"],
    )
    lines = Polylines.from_lines([inputs[f"gt_polyline{row}"] for row in range(len(inputs["labels"]))])
    truth = VectorMap(lines, inputs["labels"], tuple(f"class {label}" for label in range(config["num_classes"])))
    orders, is_order = padded_orders(lines, config["num_pts"], (*low, *high))
    assert torch.equal(is_order, (out["gt_shifts"] > config["padding_value"]).all(dim=3).all(dim=2))
    close(orders[is_order].float(), out["gt_shifts"][is_order], atol=1e-5, rtol=1e-5)

    logits, points = inputs["cls_logits"].requires_grad_(), inputs["pts_pred"].requires_grad_()
    targets = criterion.targets(truth)
    distances = config["pts_cost"] * order_distances(points, targets.orders, targets.is_order)
    real = is_order.expand_as(distances)
    close(distances[real], out["order_cost"][real], atol=1e-5, rtol=1e-5)
    assert torch.equal(distances.argmin(dim=2), out["order_index"])
    close(config["cls_cost"] * focal_cost(logits, truth.labels), out["cost_cls"], atol=1e-5, rtol=1e-5)

    match = criterion.match(logits, points, targets)
    assigned = torch.zeros(len(logits), dtype=torch.int64)
    assigned[match.queries] = match.lines + 1
    assert torch.equal(assigned, out["assigned_gt_inds"])
    assert torch.equal(match.order[match.lines.argsort()], out["chosen_order"])
    losses = criterion.sums(logits, points, targets, match) / max(len(match.queries), 1)
    for value, name in zip(losses, ("cls", "pts", "dir"), strict=True):
        close(value, out[f"loss_{name}"].squeeze(), atol=1e-5, rtol=1e-5)
    losses.sum().backward()
    close(points.grad, golden.grad["pts_pred"], atol=1e-5, rtol=1e-4)
    close(logits.grad, golden.grad["cls_logits"], atol=1e-5, rtol=1e-4)


CASES = {"matching": _matching}


@pytest.mark.golden_files("maptr")
def test_maptr_file(golden_file: Path) -> None:
    golden = read_golden(golden_file)
    assert golden.case in CASES, f"unknown case {golden.case}"
    CASES[golden.case](golden)
