"""The definitions of compression against an independent float64 implementation of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from center_cases import Golden, read_golden
from torch import Tensor, nn
from torch.nn import functional as F

from perception.compression.hidden_units import keep_units, most_important, unit_importance
from perception.compression.int4_groups import dequantize_groups, quantize_groups
from perception.compression.int8 import linear_dynamic, linear_static, quantize_range, quantize_rows, range_of
from perception.compression.low_rank import low_rank_factors
from perception.compression.magnitude import global_magnitude_masks, two_of_four_mask
from perception.compression.pareto import pareto_front
from perception.compression.smooth_scale import smooth_scale
from perception.models.losses.distillation import (
    attention_transfer,
    channel_distillation,
    dense_distillation,
    heatmap_distillation,
    logit_distillation,
    total_distillation,
)


def check(found: Mapping[str, Tensor], golden: Golden) -> None:
    """Every output of the file: whole numbers exactly, others within 1e-5 (1 + their largest)."""
    assert found.keys() == golden.out.keys()
    for name, expected in golden.out.items():
        value = found[name].detach()
        if expected.is_floating_point():
            limit = 1e-5 * (1 + expected.abs().max().item())
            torch.testing.assert_close(value.float().view_as(expected), expected, rtol=0, atol=limit, msg=name)
        else:
            assert torch.equal(value.to(expected.dtype).view_as(expected), expected), name


def _distill(golden: Golden) -> None:
    x, temperature = golden.inputs, golden.config["T"]
    pairs = {kind: (x[f"student_{kind}"], x[f"teacher_{kind}"]) for kind in ("dense", "feat", "heat")}
    student = x["student_logits"].clone().requires_grad_()
    total = total_distillation(
        student, x["teacher_logits"], x["labels"], alpha=golden.config["alpha"], temperature=temperature
    )
    check({
        "kd": logit_distillation(student, x["teacher_logits"], temperature),
        "ce": F.cross_entropy(student, x["labels"]),
        "total": total,
        "dense_kd": dense_distillation(*pairs["dense"], x["mask"], temperature),
        "attention_transfer": attention_transfer(*pairs["feat"]),
        "channel_wise": channel_distillation(*pairs["feat"], temperature),
        "heatmap": heatmap_distillation(*pairs["heat"]),
    }, golden)
    total.backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, golden.grad["student_logits"], rtol=0, atol=1e-5)


def _quantize(golden: Golden) -> None:
    x, w, b = (golden.inputs[name].double() for name in "xwb")         # as the file was made: no tie turns
    rows, of = quantize_rows(w), range_of(x.min(), x.max())
    groups = quantize_groups(w, golden.config["group"])
    check({
        "w_int8": rows.codes, "w_scale": rows.scale,
        "x_uint8": quantize_range(x, of), "x_scale": of.scale, "x_zero": of.zero,
        "y_static": linear_static(x, of, rows, b), "y_dynamic": linear_dynamic(x, rows, b),
        "w_int4": groups.codes, "w4_scale": groups.scale, "w4_zero": groups.zero,
        "w4_dequant": dequantize_groups(groups),
        "smooth_scale": smooth_scale(x.abs().amax(0), w.abs().amax(0), golden.config["smooth_alpha"]),
    }, golden)


def _prune(golden: Golden) -> None:
    x, config = golden.inputs, golden.config
    masks = global_magnitude_masks([x["w0"], x["w1"]], config["sparsity"])
    importance = unit_importance(x["fc1"], x["fc1_bias"], x["fc2"])
    kept = most_important(importance, config["keep"])
    fc1, fc2 = nn.Linear(*x["fc1"].T.shape), nn.Linear(*x["fc2"].T.shape, bias=False)
    fc1.load_state_dict({"weight": x["fc1"], "bias": x["fc1_bias"]})
    fc2.load_state_dict({"weight": x["fc2"]})
    keep_units(fc1, fc2, kept)
    factors = low_rank_factors(x["w"], config["rank"])
    check({
        "global_mask0": masks[0], "global_mask1": masks[1], "mask_2_4": two_of_four_mask(x["w"]),
        "importance": importance, "keep": kept, "y_pruned": fc2(F.gelu(fc1(x["x"]))),
        "low_rank": factors.left @ factors.right, "singular_values": torch.linalg.svdvals(x["w"]),
    }, golden)


def _pareto(golden: Golden) -> None:
    check({"front": torch.tensor(pareto_front(golden.inputs["points"].tolist()))}, golden)


CASES: dict[str, Callable[[Golden], None]] = {
    "distill": _distill, "quantize": _quantize, "prune": _prune, "pareto": _pareto,
}


@pytest.mark.golden_files("compression_survey")
def test_compression_survey(golden_file: Path):
    golden = read_golden(golden_file)
    assert golden.case in CASES, f"no test knows the case {golden.case}"
    CASES[golden.case](golden)
