"""Map elements from every cell: targets, peaks, and that a short training finds what is there."""

from __future__ import annotations

import torch

from perception.models.heads.element_proposals import DenseElements, ElementProposals, cell_centers

close = torch.testing.assert_close


def tiny(num_classes: int = 2, num_points: int = 2, **options) -> ElementProposals:
    torch.manual_seed(0)
    return ElementProposals(4, num_classes, num_points, channels=8, **options)


def found_by(points: torch.Tensor, logit: float = -4.0) -> DenseElements:
    """What a head of two classes would say that gives the same (P, 2) points in each of 6 x 10 cells."""
    return DenseElements(torch.full((1, 2, 6, 10), logit), points.expand(1, 6, 10, -1, -1))


def test_points_begin_at_the_cell_that_gives_them() -> None:
    head = tiny()
    torch.nn.init.zeros_(head.output.weight)
    torch.nn.init.zeros_(head.output.bias)
    points = head(torch.randn(1, 4, 6, 10)).points
    close(points[0, 2, 7], torch.tensor([[0.75, 2.5 / 6]]).expand(2, 2))


def test_true_points_cost_nothing_and_a_cell_beside_them_costs_its_weight() -> None:
    head, line = tiny(point_weight=0.5), torch.tensor([[0.1, 0.3], [0.7, 0.9]])
    truth = [torch.tensor([1])], [line[None]]
    close(head.loss(found_by(line), *truth)["points"], torch.tensor(0.0))
    close(head.loss(found_by(line + torch.tensor([0.1, 0.0])), *truth)["points"], torch.tensor(0.5 / 2))


def test_the_heat_is_asked_for_in_the_middle_of_the_bounds() -> None:
    head, line = tiny(), torch.tensor([[0.05, 0.25], [0.65, 0.75]])              # middle: column 3.5, row 3 of 10 x 6
    best = None
    for row in range(6):
        for column in range(10):
            logits = torch.full((1, 2, 6, 10), -4.0)
            logits[0, 1, row, column] = 4.0
            heat = head.loss(DenseElements(logits, found_by(line).points), [torch.tensor([1])], [line[None]])["heat"]
            best = min(best, (float(heat), row, column)) if best else (float(heat), row, column)
    assert best[1:] == (3, 3)


def test_the_best_are_peaks_of_any_class_in_order() -> None:
    logits = torch.full((1, 2, 6, 10), -9.0)
    logits[0, 0, 1, 1], logits[0, 0, 1, 2], logits[0, 1, 4, 8] = 3.0, 2.0, 2.5   # the second stands beside the first
    points = cell_centers(6, 10)[None, :, :, None].expand(-1, -1, -1, 2, -1)
    best = tiny().best(DenseElements(logits, points), 2)
    assert best.cells.tolist() == [[11, 48]]
    close(best.logits[0], torch.tensor([[3.0, -9.0], [-9.0, 2.5]]))
    close(best.points[0, :, 0], torch.tensor([[1.5, 1.5], [8.5, 4.5]]))


def test_frames_without_elements_have_a_heat_and_no_points() -> None:
    head = tiny()
    nothing = [torch.zeros(0, dtype=torch.int64)] * 2, [torch.zeros(0, 2, 2)] * 2
    losses = head.loss(head(torch.randn(2, 4, 6, 10)), *nothing)
    assert losses["points"] == 0
    assert losses["heat"] > 0


def test_it_learns_where_two_elements_are() -> None:
    head, bev = tiny(), torch.randn(1, 4, 6, 10, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1])
    points = torch.tensor([[[0.1, 0.1], [0.4, 0.4]], [[0.6, 0.5], [0.9, 0.9]]])
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        loss = torch.stack(list(head.loss(head(bev), [labels], [points]).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    best = head.eval().best(head(bev), 2)
    order = best.logits[0].argmax(dim=1).argsort()
    assert best.logits[0].argmax(dim=1)[order].tolist() == [0, 1]
    close(best.points[0, order], points, atol=0.05, rtol=0)
