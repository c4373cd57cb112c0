"""AxFormer's masks and search against the released code."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from axformer_bert import Bert, load_official
from center_cases import Golden, load_state, read_golden
from torch import Tensor
from torch.nn import functional as F

from perception.compression.pruning.apply import PrunableModel, apply_masks
from perception.compression.pruning.layers import prunable_layers
from perception.compression.pruning.masks import PruningMasks
from perception.compression.pruning.search import AccuracyDrivenPruner

ATOL = 1e-4


def _network(golden: Golden) -> Bert:
    network = Bert(golden.config)
    load_state(network, load_official(golden.state))
    return network


def _masks(row: Tensor, config: Mapping[str, Any]) -> PruningMasks:
    """Masks from one row of a file."""
    L, groups, heads = config["layers"], config["ffn_groups"], config["heads"]
    blocks, fine, coarse = row.bool().split([3 * L, groups * L, heads * L])
    rows: list[Any] = [block.tolist() for block in blocks.view(3, L)]
    names = ("hard_attn", "ffn_prune", "attn_prune", "ffn_approx", "attn_approx")
    rows += [part.view(L, -1).tolist() for part in (fine, coarse)]
    return PruningMasks.from_dict(dict(zip(names, rows, strict=True)))


def _check_outputs(network: Bert, golden: Golden) -> None:
    ids, mask = golden.inputs["ids"], golden.inputs["attention_mask"]
    for number, hidden in enumerate(network.hidden(ids, mask)):
        torch.testing.assert_close(hidden, golden.out[f"hidden{number}"], atol=ATOL, rtol=0)
    torch.testing.assert_close(network(ids, mask), golden.out["logits"], atol=ATOL, rtol=0)


def _forward_masked(golden: Golden) -> None:
    config = golden.config
    masks = _masks(golden.inputs["masks"], config)
    assert masks.flat() == golden.inputs["masks"].bool().tolist()
    for mode in ("mask", "remove"):
        options = {"num_groups": config["ffn_groups"], "top_k": config["top_k"]}
        _check_outputs(apply_masks(_network(golden), masks, mode, **options), golden)


def _batches(golden: Golden) -> Sequence[tuple[Tensor, Tensor, Tensor]]:
    columns = (golden.inputs[name].split(golden.config["batch_size"]) for name in ("ids", "attention_mask", "labels"))
    return list(zip(*columns, strict=True))


def _search(golden: Golden) -> None:
    config, network = golden.config, _network(golden)

    def losses(batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        ids, mask, labels = batch
        return F.cross_entropy(network(ids, mask), labels, reduction="none")

    layers = PrunableModel(prunable_layers(network), config["ffn_groups"], config["top_k"])
    pruner = AccuracyDrivenPruner(
        layers, losses, _batches(golden), refine_factor=config["refine_factor"], legacy_mean=True
    )
    result = pruner.search()
    trace = golden.out["trace_masks"].bool().tolist()
    assert [step.masks.flat() for step in result.trace] == trace
    assert [step.count for step in result.trace] == golden.out["trace_count"].tolist()
    means = torch.tensor([step.loss for step in result.trace])
    torch.testing.assert_close(means, golden.out["trace_loss"], atol=ATOL, rtol=0)
    torch.testing.assert_close(result.base_losses, golden.out["base_samplewise"], atol=ATOL, rtol=0)
    torch.testing.assert_close(torch.tensor([result.loss]), golden.out["min_loss"], atol=ATOL, rtol=0)
    assert result.masks.flat() == golden.out["final_mask"].bool().tolist()
    given = (golden.inputs["ids"], golden.inputs["attention_mask"])
    torch.testing.assert_close(network(*given), golden.out["logits_base"], atol=ATOL, rtol=0)
    layers.remove(result.masks)
    torch.testing.assert_close(network(*given), golden.out["logits_final"], atol=ATOL, rtol=0)


CASES: dict[str, Callable[[Golden], None]] = {"forward_masked": _forward_masked, "search": _search}


@pytest.mark.golden_files("axformer")
def test_golden(golden_file: Path):
    golden = read_golden(golden_file)
    assert golden.case in CASES, f"no test for the case {golden.case}"
    CASES[golden.case](golden)
