"""Blockwise compression against an independent float64 implementation of our reading of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from center_cases import Golden, read_golden
from torch import Tensor

from perception.compression.block_accounting import stored_bits
from perception.compression.block_encoder import block_encoder_layer
from perception.compression.block_matmul import block_matmul
from perception.compression.block_quantize import BlockFormat, block_dequantize, block_quantize


def _formats(golden: Golden) -> dict[str, BlockFormat]:
    block, config = tuple(golden.config["block"]), golden.config
    return {f"{mode}{bits}": BlockFormat(bits, block, mode) for mode in config["modes"] for bits in config["bits"]}


def _exact(x: Tensor, how: BlockFormat) -> Tensor:
    """Shifts are exact in float32; quotients by a step are taken as the file was made, so that no tie turns."""
    return x if how.mode == "shift" else x.double()


def _block_quant(golden: Golden) -> None:
    formats = _formats(golden)
    assert len(golden.out) == 3 * len(formats)
    for name, how in formats.items():
        blocks = block_quantize(_exact(golden.inputs["x"], how), how)
        codes, meta = golden.out[f"{name}.codes"], golden.out[f"{name}.{how.mode}"]
        wrong = blocks.codes.to(codes.dtype) != codes
        if how.mode == "shift":
            assert not wrong.any()
            assert torch.equal(blocks.meta.to(meta.dtype), meta)
            assert torch.equal(block_dequantize(blocks), golden.out[f"{name}.dequant"])
        else:
            torch.testing.assert_close(blocks.meta, meta, rtol=1e-6, atol=0)
            torch.testing.assert_close(block_dequantize(blocks), golden.out[f"{name}.dequant"], rtol=1e-6, atol=0)
            assert not wrong.any()


def _block_matmul(golden: Golden) -> None:
    a, w = golden.inputs["a"], golden.inputs["w"]
    formats = _formats(golden)
    assert golden.out.keys() == {"float", *formats}
    for name, how in formats.items():
        found = block_matmul(*(block_quantize(_exact(x, how), how) for x in (a, w)))
        limit = 1e-5 * golden.out[name].abs().max().item()
        torch.testing.assert_close(found, golden.out[name], rtol=0, atol=limit, msg=name)
    torch.testing.assert_close(a @ w.T, golden.out["float"], rtol=1e-5, atol=1e-5)


def _encoder_layer(golden: Golden) -> None:
    config, expected = golden.config, dict(golden.out)
    del expected["float"]
    for weight_bits, act_bits in config["weight_act_bits"]:
        block, mode = tuple(config["block"]), config["mode"]
        trace = block_encoder_layer(
            golden.inputs["x"], golden.state, heads=config["heads"], weights=BlockFormat(weight_bits, block, mode),
            activations=BlockFormat(act_bits, block, mode), bias_bits=config["bias_bits"], eps=config["ln_eps"],
        )
        found: dict[str, Tensor] = {name: getattr(trace, name) for name in ("y", "context", "after_ln1", "hidden")}
        found |= {f"prob{head}": prob for head, prob in enumerate(trace.prob)}
        for name, value in found.items():
            difference = (value - expected.pop(f"w{weight_bits}a{act_bits}.{name}")).abs()
            assert difference.mean() < 1e-3, name
            assert (difference < 1e-4).float().mean() >= 0.999, name
    assert not expected


def _accounting(golden: Golden) -> None:
    assert golden.config["columns"] == [
        "bits", "block_rows", "block_cols", "meta_bits", "elements", "blocks", "ratio",
    ]
    for row in golden.out["rows"].tolist():
        bits, block_rows, block_columns, meta_bits = (int(value) for value in row[:4])
        found = stored_bits(golden.config["tensor_shapes"], bits, (block_rows, block_columns), meta_bits)
        assert [found.elements, found.blocks, found.ratio] == pytest.approx(row[4:], rel=1e-6)


CASES: dict[str, Callable[[Golden], None]] = {
    "block_quant": _block_quant, "block_matmul": _block_matmul, "encoder_layer": _encoder_layer,
    "accounting": _accounting,
}


@pytest.mark.golden_files("bct")
def test_bct(golden_file: Path):
    golden = read_golden(golden_file)
    assert golden.case in CASES, f"no test knows the case {golden.case}"
    CASES[golden.case](golden)
