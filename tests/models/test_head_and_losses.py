from __future__ import annotations

import math

import pytest
import torch
from random_frames import CLASSES, random_frame
from torch.multiprocessing import start_processes

from perception.errors import ConfigError
from perception.models.heads.box_overlap import aligned_iou_3d
from perception.models.heads.center_head import CenterHead
from perception.models.losses.gaussian_focal import GaussianFocalLoss
from perception.models.losses.iou_branch import IoUBranchLoss
from perception.models.losses.l1_box import L1BoxLoss

TASKS = (CLASSES[:1], CLASSES[1:5], CLASSES[5:])
BRANCHES = {
    "reg": (2, 1), "height": (1, 1), "dim": (3, 1), "rot": (2, 1), "vel": (2, 1), "iou": (1, 1), "axis": (2, 1)
}
GEOMETRY = {"voxel_size": (2.0, 2.0), "point_range": (-24.0, -24.0)}


def small_head(**options: object) -> CenterHead:
    torch.manual_seed(0)
    defaults = {
        "tasks": TASKS, "coder": {"type": "CenterCoder", **GEOMETRY}, "nms": {"type": "RotateNMS"},
        "common_heads": BRANCHES, "shared_channels": 8, "head_channels": 8, "loss_iou": {"type": "IoUBranchLoss"},
        "loss_axis": {"type": "L1BoxLoss"},
        "max_objects": 50,
    }
    return CenterHead(4, **{**defaults, **options})


def head_gradient(head: CenterHead, samples: slice) -> torch.Tensor:
    """Gradient of the summed losses with respect to all parameters, statistics frozen."""
    frames = [random_frame(seed, boxes=count) for seed, count in enumerate((30, 2))][samples]
    canvas = torch.rand(2, 4, 24, 24, generator=torch.Generator().manual_seed(9))[samples]
    maps = head.eval()(canvas)
    losses = head.loss(maps, head.targets([frame.annotations for frame in frames], (24, 24)))
    grads = torch.autograd.grad(sum(losses.values()), list(head.parameters()))
    return torch.cat([grad.flatten() for grad in grads])


def test_branches_that_are_computed_together_equal_each_on_its_own():
    branches = small_head(common_heads={**BRANCHES, "height": (1, 2)}).eval().task_heads[0]
    x = torch.rand(2, 8, 5, 7, generator=torch.Generator().manual_seed(1))
    together = branches(x)
    assert list(together) == list(branches)
    for name, branch in branches.items():
        torch.testing.assert_close(together[name], branch(x), atol=1e-6, rtol=1e-5)


def gradient_of_rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    gradient = head_gradient(small_head(), slice(rank, rank + 1))
    torch.distributed.all_reduce(gradient)
    if rank == 0:
        torch.save(gradient / 2, f"{folder}/mean.pt")
    torch.distributed.destroy_process_group()


def test_two_ranks_with_unlike_frames_give_the_gradient_of_one_process(tmp_path):
    start_processes(gradient_of_rank, args=(str(tmp_path),), nprocs=2, start_method="spawn")
    alone = head_gradient(small_head(), slice(0, 2))
    torch.testing.assert_close(torch.load(tmp_path / "mean.pt"), alone, atol=1e-5, rtol=1e-4)


def test_every_task_has_its_losses():
    head, frame = small_head(), random_frame()
    losses = head.loss(head(torch.rand(1, 4, 24, 24)), head.targets([frame.annotations], (24, 24)))
    assert set(losses) == {f"task{t}.loss_{name}" for t in range(3) for name in ("heatmap", "box", "iou", "axis")}


def test_labels_of_decoded_boxes_count_over_all_tasks():
    head = small_head(nms={"type": "RotateNMS", "threshold": 1.0, "score_threshold": 0.0}).eval()
    head.coder.score_threshold = 0.0
    labels = head.decode(head(torch.rand(1, 4, 24, 24)))[0].labels
    assert labels.min() == 0
    assert labels.max() == 9
    task_of_label = torch.repeat_interleave(torch.arange(3), torch.tensor([len(task) for task in TASKS]))
    assert (task_of_label[labels].diff() >= 0).all()


def test_heatmaps_begin_low():
    heat = small_head()(torch.zeros(1, 4, 8, 8))[0]["heatmap"].sigmoid()
    torch.testing.assert_close(heat.mean(), torch.tensor(0.1), atol=0.05, rtol=0)


def test_focal_loss_worked_by_hand():
    logits, target = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5])
    expected = math.log(2) * 0.25 + math.log(2) * 0.25 * 0.5**4
    assert GaussianFocalLoss()(logits, target, 1.0).item() == pytest.approx(expected, rel=1e-5)


def test_focal_loss_of_extreme_logits_is_finite():
    logits = torch.tensor([1e4, -1e4]).requires_grad_()
    loss = GaussianFocalLoss()(logits, torch.tensor([0.0, 1.0]), 1.0)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()


def test_box_loss_leaves_unknown_velocities_out():
    codes = torch.ones(1, 2, 4, requires_grad=True)
    target = torch.tensor([[[0.0, 0.0, 0.0, math.nan], [5.0, 5.0, 5.0, 5.0]]])
    loss = L1BoxLoss((1.0, 1.0, 0.5, 1.0), loss_weight=2.0)(codes, target, torch.tensor([[True, False]]), 1.0)
    loss.backward()
    assert loss.item() == pytest.approx(2.0 * 2.5)
    assert codes.grad[0].tolist() == [[2.0, 2.0, 1.0, 0.0], [0.0] * 4]


def test_box_loss_refuses_weights_of_another_code():
    with pytest.raises(ValueError, match="code_weights has 2 columns for codes of 3"):
        L1BoxLoss((1.0, 1.0))(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3), torch.ones(1, 1, dtype=torch.bool), 1.0)


def test_iou_loss_worked_by_hand():
    predicted, target, mask = torch.tensor([[0.5, 9.0]]), torch.tensor([[0.75, 0.0]]), torch.tensor([[True, False]])
    assert IoUBranchLoss(2.0)(predicted, target, mask, 0.5).item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shift", "height", "raised", "expected"),
    [((0, 0, 0), 2.0, False, 1.0), ((1, 0, 0), 2.0, False, 1 / 3), ((0, 0, 1), 2.0, False, 1 / 3),
     ((0, 0, 3), 2.0, False, 0.0), ((0, 0, 1), 4.0, False, 0.5), ((0, 0, 1), 4.0, True, 4 / 20)],
    ids=["same", "half_along_x", "half_in_height", "above", "on_one_floor", "on_one_floor_raised"],
)
def test_overlap_of_cubes_worked_by_hand(shift, height, raised, expected):
    cube = torch.tensor([[0.0, 0, 0, 2, 2, 2, 0]])
    other = torch.tensor([[*map(float, shift), 2, 2, height, 0]])
    assert aligned_iou_3d(cube, other, raised=raised).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tasks": [("car",), ("car",)]}, "must name every class once"),
        ({"tasks": []}, "must name every class once"),
        ({"loss_iou": None}, 'branch "iou" and loss_iou together'),
        ({"loss_axis": None}, 'branch "axis" and loss_axis together'),
        ({"common_heads": {"reg": (2, 1)}}, "needs the branch 'height'"),
        ({"common_heads": {**BRANCHES, "dim": (2, 1)}}, "branch 'dim' of a CenterHead has 3 channels, got 2"),
        ({"nms": {"type": "RotatedNMS"}}, 'did you mean "RotateNMS"'),
    ],
)
def test_a_head_that_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        small_head(**options)
