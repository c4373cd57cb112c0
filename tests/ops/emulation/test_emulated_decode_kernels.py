"""The CUDA kernels of decode attention and of table reads, executed on the host, against the plain forms."""

from __future__ import annotations

import pytest
import torch
from decode_inputs import CLOSE, decode_inputs, lookup_inputs, plain_attention, plain_lookup
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perception_ops import cuda
from perception_ops.hash_lookup import hash_lookup_backward_reference

DEFAULT_STREAM = 0
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
close = torch.testing.assert_close


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "key_heads", "queries", "keys", "width"), [
    (1, 1, 1, 1, 1), (4, 2, 1, 257, 64), (6, 2, 3, 65, 20), (2, 1, 5, 140, 128), (1, 1, 2, 40, 250),
])
def test_it_is_softmax_attention(shuffled, heads, key_heads, queries, keys, width, dtype):
    q, k, v = decode_inputs(2, heads, key_heads, queries, keys, width, dtype)
    expected, expected_lse = plain_attention(q, k, v)
    for workers, tile in ((0, 128), (5, 16)):
        out, lse = cuda.lean_decode(shuffled, DEFAULT_STREAM, q, k, v, None, None, width**-0.5, workers, tile)
        close(out.double(), expected, atol=CLOSE[dtype], rtol=CLOSE[dtype])
        close(lse.double(), expected_lse, atol=1e-5, rtol=1e-5)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_lengths_and_masks_hide_keys_however_the_line_is_cut(emulated, data):
    keys = data.draw(st.sampled_from([0, 1, 33, 90]))
    q, k, v = decode_inputs(3, 4, 2, data.draw(st.sampled_from([1, 2])), keys, 12)
    draw = torch.Generator().manual_seed(data.draw(st.integers(0, 99)))
    kv_len = torch.randint(0, keys + 1, (3,), generator=draw) if data.draw(st.booleans()) else None
    mask = torch.rand(3, 1, 1, keys, generator=draw) < 0.3 if data.draw(st.booleans()) else None
    workers, tile = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1, 7, 64]))
    out, lse = cuda.lean_decode(emulated, DEFAULT_STREAM, q, k, v, kv_len, mask, 12**-0.5, workers, tile)
    expected, expected_lse = plain_attention(q, k, v, kv_len, mask)
    close(out.double(), expected, atol=2e-6, rtol=1e-5)
    close(lse.double(), expected_lse, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [(0, 3, 4, 5), (1, 1, 1, 1), (7, 3, 8, 33), (70, 2, 16, 64)])
def test_table_reads_and_their_gradients(shuffled, size, dtype):
    scores, codes, tables = lookup_inputs(*size, dtype=dtype)
    y = cuda.hash_lookup(shuffled, DEFAULT_STREAM, scores, codes, tables)
    close(y.double(), plain_lookup(scores, codes, tables), atol=10 * CLOSE[dtype], rtol=10 * CLOSE[dtype])
    grad = torch.randn(size[0], size[3], generator=torch.Generator().manual_seed(3)).to(dtype)
    ours = cuda.hash_lookup_backward(shuffled, DEFAULT_STREAM, grad, scores, codes, tables)
    for found, expected in zip(ours, hash_lookup_backward_reference(grad, scores, codes, tables), strict=True):
        close(found, expected, atol=20 * CLOSE[dtype], rtol=20 * CLOSE[dtype])


@pytest.mark.parametrize("wrong", [4, -1, 2**40])
def test_a_code_out_of_range_ends_the_launch(emulated, wrong):
    scores, tables = torch.ones(1, 2), torch.ones(8, 3)
    with pytest.raises(RuntimeError, match=r"read_rows.*device_check"):
        cuda.hash_lookup(emulated, DEFAULT_STREAM, scores, torch.tensor([[0, wrong]]), tables)
