import pytest
import torch
from test_group_attention import inputs

from perception_ops import GroupLayerWeights, group_layer, native_kernels, serves_group_layer
from perception_ops.group_layer import group_layer_reference

needs_native = pytest.mark.skipif("group_layer" not in native_kernels(), reason="native kernels are not in use")


def layer(counts: list[int], size: int, heads: int, width: int, hidden: int, seed: int = 0):
    """Tokens, position code, slots, back, valid, weights."""
    _, tokens, slots, back, valid = inputs(counts, size, heads, width, seed=seed)
    draw, C, H = torch.Generator().manual_seed(seed), heads * width, hidden
    shapes = ((3 * C, C), (3 * C,), (C, C), (C,), (C,), (C,), (H, C), (H,), (C, H), (C,), (C,), (C,))
    weights = GroupLayerWeights(*(torch.randn(shape, generator=draw) / shape[-1] ** 0.5 for shape in shapes))
    return tokens, torch.randn(tokens.shape, generator=draw), slots, back, valid, weights


@needs_native
@pytest.mark.parametrize(
    ("counts", "size", "heads", "width", "hidden"),
    [
        ([300, 5, 0, 431], 69, 4, 16, 128), ([500], 144, 8, 16, 256), ([33, 40], 7, 1, 32, 32), ([9], 13, 3, 32, 64),
        ([200], 150, 2, 16, 96), ([12, 1], 1, 4, 8, 32),
    ],
)
@pytest.mark.parametrize("is_masked", [False, True])
def test_native_equals_the_steps_one_by_one(counts, size, heads, width, hidden, is_masked):
    *tensors, valid, weights = layer(counts, size, heads, width, hidden)
    arguments = (*tensors, valid if is_masked else None, weights)
    ours = group_layer(*arguments, group_size=size, num_heads=heads)
    expected = group_layer_reference(*arguments, size, heads, 1e-5)
    torch.testing.assert_close(ours, expected, atol=3e-5, rtol=3e-5)         # sums in another order, twice normalised


def test_every_instruction_set_of_this_processor_gives_the_same(instruction_set):
    *arguments, weights = layer([100, 3], 23, 2, 16, 64)
    ours = group_layer(*arguments, weights, group_size=23, num_heads=2)
    torch.testing.assert_close(ours, group_layer_reference(*arguments, weights, 23, 2, 1e-5), atol=3e-5, rtol=3e-5)


@needs_native
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_number_of_threads_changes_nothing(threads):
    *arguments, weights = layer([500, 31], 64, 2, 16, 64)
    expected, before = group_layer(*arguments, weights, group_size=64, num_heads=2), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        ours = group_layer(*arguments, weights, group_size=64, num_heads=2)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(ours, expected)


def test_nan_stays_within_its_group():
    tokens, *arguments, weights = layer([40], 8, 2, 16, 32)
    slots, back = arguments[1], arguments[2]
    tokens[slots[20]] = torch.nan
    out = group_layer(tokens, *arguments, weights, group_size=8, num_heads=2)
    assert torch.equal(out.isnan().any(1), back // 8 == 20 // 8)


@pytest.mark.parametrize("hidden", [32, 33], ids=["kernel", "reference"])
def test_widths_that_no_kernel_takes_and_no_tokens_are_served_too(hidden):
    for counts in ([17], [0]):
        *arguments, weights = layer(counts, 8, 2, 16, hidden)
        ours = group_layer(*arguments, weights, group_size=8, num_heads=2)
        torch.testing.assert_close(ours, group_layer_reference(*arguments, weights, 8, 2, 1e-5), atol=3e-5, rtol=3e-5)


@needs_native
def test_the_kernel_is_offered_for_inference_in_float32_alone():
    tokens = torch.zeros(4, 64)
    assert not serves_group_layer(tokens, 128)                               # gradients are on
    with torch.inference_mode():
        assert serves_group_layer(tokens, 128)
        assert not serves_group_layer(tokens.bfloat16(), 128)
        assert not serves_group_layer(tokens, 100)
        assert not serves_group_layer(torch.zeros(4, 48), 128)
        with torch.autocast("cpu", torch.bfloat16):
            assert not serves_group_layer(tokens, 128)


def test_opcheck_passes():
    *arguments, weights = layer([21, 3], 5, 2, 16, 32)
    torch.library.opcheck(
        torch.ops.perception.group_layer.default, (*arguments, list(weights), 5, 2, 1e-5),
        test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_dynamic"),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": torch.zeros(10, 32).double()}, r"tokens must be torch.float32 \(N, C\), got torch.float64"),
        ({"position": torch.zeros(10, 31)}, r"position must be torch.float32 \(10, 32\)"),
        ({"slots": torch.arange(14)}, r"slots must have a length that group_size \(5\) divides, got 14"),
        ({"num_heads": 3}, r"tokens must have channels that num_heads \(3\) divides, got 32"),
        ({"slots": torch.arange(15)}, "slots must lie in"),
        ({"back": torch.full((10,), 15)}, "back must"),
        ({"valid": torch.ones(14, dtype=torch.bool)}, r"valid must be torch.bool \(15,\)"),
        ({"group_size": 0}, "group_size must be at least 1, got 0"),
        ({"fc2": torch.zeros(32, 63)}, r"weights.fc2 must be torch.float32 \(32, 64\), got torch.float32 \(32, 63\)"),
    ],
)
def test_bad_arguments_are_refused(change, message):
    *_, weights = layer([10], 5, 2, 16, 64)
    arguments = {
        "tokens": torch.zeros(10, 32), "position": torch.zeros(10, 32), "slots": torch.arange(15) % 10,
        "back": torch.arange(10), "valid": None, "group_size": 5, "num_heads": 2,
    }
    weights = weights._replace(**{name: value for name, value in change.items() if name in weights._fields})
    changed = {name: value for name, value in change.items() if name in arguments}
    with pytest.raises(ValueError, match=message):
        group_layer(**arguments | changed, weights=weights)
