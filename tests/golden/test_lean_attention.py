"""Stream-K attention against partial and whole results that were made in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from center_cases import Golden, read_golden
from torch import Tensor

from perception_ops import lean_decode
from perception_ops.softmax_parts import SoftmaxPart, finalize, merge, partial_attention
from perception_ops.stream_k import plan, segments

TOLERANCE = 1e-5


def assert_near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Equal names, infinities where they belong, and finite numbers within the tolerance of 1 + the largest."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        finite = value.isfinite()
        assert found[name].shape == value.shape, name
        assert torch.equal(found[name][~finite], value[~finite]), name
        if finite.any():
            error = (found[name] - value)[finite].abs().max().item()
            assert error <= TOLERANCE * (1 + value[finite].abs().max().item()), f"{name}: {error}"


def _parts(prefix: str, part: SoftmaxPart) -> dict[str, Tensor]:
    return {f"{prefix}_{letter}": value for letter, value in zip("mlo", part, strict=True)}


def _stacked(parts: list[SoftmaxPart]) -> SoftmaxPart:
    return SoftmaxPart(*(torch.stack(values) for values in zip(*parts, strict=True)))


def _stream_k(golden: Golden) -> None:
    config, (q, k, v) = golden.config, (golden.inputs[name] for name in "qkv")
    tile, scale, (B, Hk, T) = config["tile"], config["scale"], k.shape[:3]
    cut = list(segments([-(-T // tile)] * (B * Hk), config["workers"]))
    assert [list(segment) for segment in cut] == golden.out["segments"].tolist()
    rows = q.reshape(B * Hk, -1, q.shape[3])
    parts = []
    for segment in cut:
        keys = slice(segment.first * tile, segment.end * tile)
        group = divmod(segment.group, Hk)
        parts.append(partial_attention(rows[segment.group], k[group][keys], v[group][keys], scale))
    out, lse = lean_decode(q, k, v, scale=scale, workers=config["workers"], tile=tile, return_lse=True)
    found = {**_parts("partial", _stacked(parts)), "o": out, "lse": lse}
    assert_near(found, {name: value for name, value in golden.out.items() if name != "segments"})
    for group in range(B * Hk):
        own = [part for part, segment in zip(parts, cut, strict=True) if segment.group == group]
        merged = own[0]
        for part in own[1:]:
            merged = merge(merged, part)
        assert_near(
            {"o": finalize(merged)[0], "lse": finalize(merged)[1]},
            {"o": golden.out["o"].reshape(rows.shape)[group], "lse": golden.out["lse"].reshape(rows.shape[:2])[group]},
        )


def _uneven_merge(golden: Golden) -> None:
    q, k, v, mask = (golden.inputs[name] for name in ("q", "k", "v", "mask"))
    scale, cuts = golden.config["scale"], golden.inputs["cuts"].tolist()
    parts = [
        partial_attention(q, k[:, :, first:end], v[:, :, first:end], scale, mask[..., first:end])
        for first, end in pairwise(cuts)
    ]
    merged = parts[-1]
    for part in parts[-2::-1]:
        merged = merge(part, merged)
    found = {**_parts("partial", _stacked(parts)), **_parts("merged", merged), "o": finalize(merged)[0]}
    assert_near(found, golden.out)
    assert_near({"o": lean_decode(q, k, v, None, mask, scale=scale, tile=5, workers=3)}, {"o": golden.out["o"]})


def _ragged(golden: Golden) -> None:
    q, k, v, kv_len = (golden.inputs[name] for name in ("q", "k", "v", "kv_len"))
    for tile in (None, 8):
        out, lse = lean_decode(q, k, v, kv_len, scale=golden.config["scale"], tile=tile, workers=3, return_lse=True)
        assert_near({"o": out}, golden.out)
        assert torch.equal(lse[kv_len == 0], torch.full_like(lse[kv_len == 0], -torch.inf))


def _grad(golden: Golden) -> None:
    q, k, v = (golden.inputs[name].requires_grad_() for name in "qkv")
    mask = golden.inputs.get("mask")
    out, lse = lean_decode(q, k, v, None, mask, scale=golden.config["scale"], tile=16, return_lse=True)
    (out * golden.inputs["cotangent"]).sum().backward()
    assert_near({"o": out.detach(), "lse": lse.detach()}, golden.out)
    assert_near({"q": q.grad, "k": k.grad, "v": v.grad}, golden.grad)


def _plan_table(golden: Golden) -> None:
    given = ("batch", "heads", "kv_heads", "head_dim", "kv_len", "sms", "q_len", "causal")
    for row in golden.out["rows"].tolist():
        told = dict(zip(golden.config["columns"], row, strict=True))
        ours = plan(**{name: told[name] for name in given})
        computed = {name: value for name, value in told.items() if name not in given}
        assert {name: getattr(ours, name) for name in computed} == computed
        read = list(ours.segments())
        assert sum(segment.end - segment.first for segment in read) == ours.total_tiles
        if told["q_len"] <= ours.block_m:                      # else a head has several rows of tiles
            pieces = torch.bincount(torch.tensor([segment.group for segment in read]))
            assert pieces.max() <= ours.num_splits


CASES: dict[str, Callable[[Golden], None]] = {
    "streamk_decode": _stream_k, "uneven_merge": _uneven_merge, "ragged_decode": _ragged, "grad": _grad,
    "plan_table": _plan_table,
}


@pytest.mark.golden_files("lean_attention")
def test_lean_attention_equals_softmax_attention(golden_file: Path):
    golden = read_golden(golden_file)
    CASES[golden.case](golden)
