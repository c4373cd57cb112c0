"""Two models of one architecture fused into a third: a map for each set of units, from what both say on the same data.

Unlike the published procedure, which goes from layer to layer, the maps follow from activations alone, and a residual
stream has one map; so a model whose units are in another order is recognised whatever its depth.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..norm_statistics import estimate_statistics
from .declare import plan_of
from .heads import head_plans
from .matching import Matching
from .observe import Run, features_by_units
from .plan import FusionPlan, Side, join, named_tensors

HEADS = ("whole", "mixed")
MAX_LISTED = 4                                     # names in an error
VARIANCE_EPS = 1e-6                                # of units that are silent in the samples
Plans = tuple[FusionPlan, FusionPlan]


@dataclass(frozen=True)
class FusedModels:
    """What became of two models.

    Args:
        model: has the anchor's shapes.
        transports: map (n0, n1) of each set of units that was matched.
        pinned: sets of units that kept their places.
        undeclared: parts with parameters of their own that no declaration covers, averaged as they are.
    """

    model: nn.Module
    transports: dict[str, Tensor]
    pinned: tuple[str, ...]
    undeclared: tuple[str, ...]


def fuse_models(
    first: nn.Module, anchor: nn.Module, batches: Iterable[Any], *, run: Run, matching: Matching | None = None,
    alpha: float = 0.5, heads: str = "whole", statistics: bool = True, rows: int = 1024,
) -> FusedModels:
    """Fuse model 0 into the anchor. Both stay as they are, but for going to evaluation mode.

    What is matched: residual streams of declared parts (see `declare`), hidden channels of feed-forward parts, heads
    and their channels, channels of convolutions. What other parts read keeps its order, and so does what cannot be
    heard where a module is called. A residual stream to which a fixed position code is added has no other order that
    does the same; it is matched, but not exactly recovered.

    Args:
        first: model 0.
        anchor: model 1, of the same depth; widths may differ where units are matched.
        batches: samples, read twice and once more for the statistics.
        run: calls a model with a batch.
        matching: how; None is soft and balanced.
        alpha: weight of the anchor, everywhere.
        heads: "whole", or "mixed" as released, where channels are matched without regard to heads.
        statistics: correct the running statistics of batch normalisations, since those of averaged weights are not the
            averages: by what the samples tell of the fused model against what they tell of its parents. Statistics of
            a training, which saw more and other samples, are thus not thrown away.
        rows: tokens or cells compared of each call of a part.

    Raises:
        ValueError: the models are built differently, or units that must keep their places differ in number; ``alpha``
            lies outside [0, 1], or ``heads`` is another word.
        MissingExtraError: POT is not installed.
    """
    if not 0.0 <= alpha <= 1.0:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if heads not in HEADS:
        raise ValueError(f"heads must be one of {', '.join(HEADS)}, got {heads!r}")
    samples, matching = list(batches), matching or Matching()
    models = (first.eval(), anchor.eval())
    plans = (plan_of(first), plan_of(anchor))
    _check_alike(*plans)
    heard = [
        features_by_units(model, plan, samples, run, rows=rows) for model, plan in zip(models, plans, strict=True)
    ]
    transports = _transports(plans, heard, matching, whole=heads == "whole")
    fused = _combined(models, plans, transports, matching, alpha, samples if statistics else (), run)
    kept = tuple(name for name in plans[1].units if name not in transports)
    return FusedModels(fused, transports, kept, tuple(plans[1].undeclared))


def fuse_chain(models: Sequence[nn.Module], batches: Iterable[Any], *, run: Run, **options: Any) -> FusedModels:
    """Fuse several models pair by pair, each with an equal share in the last; ``options`` as for `fuse_models`.

    Raises:
        ValueError: there are fewer than two, or as for `fuse_models`.
    """
    if len(models) < 2:
        raise ValueError(f"at least two models can be fused, got {len(models)}")
    samples = list(batches)
    result = fuse_models(models[0], models[1], samples, run=run, alpha=1 / 2, **options)
    for count, model in enumerate(models[2:], 3):
        result = fuse_models(result.model, model, samples, run=run, alpha=1 / count, **options)
    return result


def average_models(
    first: nn.Module, anchor: nn.Module, batches: Iterable[Any] = (), *, run: Run | None = None, alpha: float = 0.5
) -> nn.Module:
    """The plain average of two models ("vanilla fusion"), which fusion is compared with; statistics from ``batches``.

    Raises:
        ValueError: the models differ in a name or a shape.
    """
    plans = (FusionPlan(), FusionPlan())
    return _combined((first.eval(), anchor.eval()), plans, {}, Matching(), alpha, list(batches), run)


def _check_alike(first: FusionPlan, anchor: FusionPlan) -> None:
    differing = sorted({name for name, _ in first.sides.items() ^ anchor.sides.items()})
    differing = differing or sorted(first.units.keys() ^ anchor.units.keys())
    if differing:
        raise ValueError(f"models of one architecture and depth can be fused; these differ in {_listed(differing)}")


def _transports(
    plans: Plans, heard: Sequence[Mapping[str, Tensor]], matching: Matching, *, whole: bool
) -> dict[str, Tensor]:
    """The map of each set of units that need not keep its places and was heard."""
    units, found = plans[1].units, dict[str, Tensor]()
    for group in _groups(plans, heard):
        costs = [matching.metric(heard[0][name], heard[1][name]) for name in group]
        if whole and units[group[0]].tied is not None:
            made = head_plans(costs, (plans[0].units[group[0]].heads, units[group[0]].heads), matching)
        else:
            made = [matching.plan(cost) for cost in costs]
        found |= {name: matching.scaled(plan) for name, plan in zip(group, made, strict=True)}
    return found


def _groups(plans: Plans, heard: Sequence[Mapping[str, Tensor]]) -> list[list[str]]:
    """Sets of units that are matched together: those of one attention, any other by itself."""
    groups: dict[str, list[str]] = {}
    for name, units in plans[1].units.items():
        groups.setdefault(units.tied or name, []).append(name)
    pinned = plans[0].pinned | plans[1].pinned
    return [
        group for group in groups.values()
        if not any(name in pinned or any(name not in features for features in heard) for name in group)
    ]


def _combined(
    models: tuple[nn.Module, nn.Module], plans: Plans, transports: Mapping[str, Tensor], matching: Matching,
    alpha: float, samples: Sequence[Any], run: Run | None,
) -> nn.Module:
    """The average of both, with statistics corrected by the samples, if there are any."""
    fused = copy.deepcopy(models[1])
    _average(models, fused, plans, transports, matching, alpha)
    if samples:
        seen = (_estimated(models[0], samples, run), _estimated(models[1], samples, run))
        expected = copy.deepcopy(models[1])
        _average(seen, expected, plans, transports, matching, alpha)
        _correct_statistics(fused, expected, _estimated(fused, samples, run))
    return fused


@torch.no_grad()
def _average(
    models: tuple[nn.Module, nn.Module], fused: nn.Module, plans: Plans, transports: Mapping[str, Tensor],
    matching: Matching, alpha: float,
) -> None:
    """Write the average of both models into ``fused``, model 0 re-expressed; whole numbers stay the anchor's."""
    first, anchor = named_tensors(models[0]), named_tensors(models[1])
    if first.keys() != anchor.keys():
        differing = sorted(first.keys() ^ anchor.keys())
        raise ValueError(f"models of one architecture can be fused; these differ in {_listed(differing)}")
    for name, target in named_tensors(fused).items():
        moved = first[name]
        if not moved.is_floating_point():
            continue
        for dim, side in enumerate(plans[1].sides.get(name, ())):
            if side.axis:
                matrix = _matrix(side, plans, transports, matching).to(moved)
                moved = torch.tensordot(moved, matrix, dims=([dim], [0])).movedim(-1, dim)
        if moved.shape != target.shape:
            raise ValueError(f"{name} must keep its places, so both models need one shape, got "
                             f"{tuple(first[name].shape)} and {tuple(target.shape)}")
        target.copy_(torch.lerp(moved, anchor[name], alpha))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else ""
    return ", ".join(names[:MAX_LISTED]) + more


def _matrix(side: Side, plans: Plans, transports: Mapping[str, Tensor], matching: Matching) -> Tensor:
    """The map of one dimension: of each set of units in turn, the identity for those that keep their places."""
    blocks = []
    for name in side.axis:
        if name in transports:
            blocks.append(matching.incoming(transports[name]) if side.reads else transports[name])
        else:
            blocks.append(torch.eye(plans[0].units[name].size))
    return torch.block_diag(*blocks)


def _estimated(model: nn.Module, samples: Sequence[Any], run: Run | None) -> nn.Module:
    """A copy with the running statistics of the samples."""
    seen = copy.deepcopy(model)
    estimate_statistics(seen, samples, run)
    return seen


def _correct_statistics(fused: nn.Module, expected: nn.Module, seen: nn.Module) -> None:
    """Shift means and scale variances of ``fused`` by how what was ``seen`` of it differs from the ``expected``."""
    wanted, found = _statistics(expected), _statistics(seen)
    for name, value in _statistics(fused).items():
        if name.endswith("running_mean"):
            value.add_(found[name] - wanted[name])
        elif name.endswith("running_var"):
            value.mul_((found[name] + VARIANCE_EPS) / (wanted[name] + VARIANCE_EPS))


def _statistics(model: nn.Module) -> dict[str, Tensor]:
    """The running means and variances of all batch normalisations by name."""
    return {
        join(name, key): value
        for name, module in model.named_modules() if isinstance(module, _BatchNorm)
        for key, value in module.named_buffers() if key in ("running_mean", "running_var")
    }
