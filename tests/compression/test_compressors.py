"""Every compressor: what it keeps of the outputs, and that its config builds what its weights load into."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_task_model import SmallTaskModel, calibration, small_model
from torch import nn

from perception.compression.compressed import changed_config
from perception.compression.compressor import Calibration, Compression, ConfigChanges
from perception.compression.head_compressor import keep_heads
from perception.compression.model_size import num_bytes, num_numbers
from perception.compression.stored_forms import BlockTensor, Int8Tensor
from perception.errors import ConfigError
from perception.models.mixers.attention import AttentionMixer
from perception.registry import COMPRESSORS, MODELS

# how far outputs (of about 1) may move, and how many times smaller the weights are at least
METHODS: dict[str, tuple[dict[str, Any], float, float]] = {
    "fold": ({"type": "FoldBatchNorm"}, 1e-5, 1.0),
    "int8": ({"type": "Int8Weights"}, 0.02, 1.9),
    "int8_all": ({"type": "Int8Weights", "keep": [], "smallest": 1}, 0.03, 2.6),
    "int4": ({"type": "Int4Weights", "group": 8}, 0.4, 2.0),
    "dynamic": ({"type": "Int8Dynamic"}, 0.05, 1.9),
    "static": ({"type": "Int8Static"}, 0.1, 1.9),
    "aware": ({"type": "QuantizeAware"}, 0.1, 0.9),
    "smooth": ({"type": "SmoothScale"}, 1e-5, 0.9),
    "bct8": ({"type": "BCT", "block": (1, 16)}, 0.05, 2.0),
    "bct4": ({"type": "BCT", "bits": 4, "block": (1, 16)}, 0.5, 2.5),
    "bct_scale": ({"type": "BCT", "block": (4, 16), "mode": "scale"}, 0.05, 2.0),
    "bct_activations": ({"type": "BCT", "parts": "activations"}, 0.1, 2.0),
    "bct_nonlinear": ({"type": "BCT", "parts": "nonlinear"}, 0.1, 2.0),
    "bct_integer": ({"type": "BCT", "parts": "nonlinear", "integer": True}, 0.1, 2.0),
    "low_rank": ({"type": "LowRank", "share": 0.9}, 1.5, 1.0),
    "magnitude": ({"type": "MagnitudeMask", "sparsity": 0.2}, 0.5, 1.0),
    "two_of_four": ({"type": "TwoOfFour"}, 1.5, 1.0),
    "hidden": ({"type": "PruneHidden", "share": 0.5}, 1.0, 1.05),
    "heads": ({"type": "PruneHeads", "share": 0.5}, 2.0, 1.05),
    "torchao": ({"type": "TorchAO"}, 0.02, 1.05),
    "torchao_dynamic": ({"type": "TorchAO", "kind": "int8_dynamic"}, 0.05, 1.05),
    "channels": ({"type": "TorchPruning", "parts": ["stem", "up"], "share": 0.25}, 3.0, 1.01),
}
PICTURES = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(9)) * 2 + 1


def _compress(name: str) -> tuple[SmallTaskModel, Compression]:
    method = METHODS[name][0]
    if method["type"].startswith("Torch"):
        pytest.importorskip("torchao" if method["type"] == "TorchAO" else "torch_pruning")
    model = small_model()
    compressor = COMPRESSORS.build(method)
    return model, compressor.apply(copy.deepcopy(model), calibration())


@torch.no_grad()
def _distance(a: nn.Module, b: nn.Module) -> float:
    own, other = a(PICTURES), b(PICTURES)
    return max((own[key] - other[key]).abs().max().item() for key in own)


@pytest.mark.parametrize("name", METHODS)
def test_outputs_stay_near_and_weights_get_smaller(name: str):
    model, result = _compress(name)
    _, limit, smaller = METHODS[name]
    assert _distance(model, result.model) <= limit
    assert num_bytes(model) / num_bytes(result.model) >= smaller
    assert result.report.compressed


@pytest.mark.parametrize("name", METHODS)
def test_the_config_builds_what_the_weights_load_into(name: str):
    _, result = _compress(name)
    cfg = changed_config({"type": "SmallTaskModel"}, result.changes)
    torch.manual_seed(5)
    built = MODELS.build(cfg)
    state = result.model.state_dict() if result.weights is None else result.weights
    assert built.training
    built.load_state_dict(dict(state), strict=True)
    assert type(built).__name__ == "SmallTaskModel"
    assert _distance(built.eval(), result.model) <= 1e-6
    assert num_bytes(built) == num_bytes(result.model)


@pytest.mark.parametrize("name", ["int8", "int4", "bct4", "low_rank", "aware"])
def test_whoever_reads_a_weight_gets_numbers(name: str):
    _, result = _compress(name)
    weight = result.model.get_submodule("mixer.in_proj").weight
    assert weight.shape == (48, 16)
    assert weight.is_floating_point()
    assert any(key.startswith("mixer.in_proj.stored_weight.") for key in result.model.state_dict())


def test_the_last_layers_stay_in_float_by_default():
    _, result = _compress("int8")
    assert {"box.weight", "box.bias", "score.weight", "score.bias"} <= set(result.report.left_float)
    assert result.changes.steps[0]["keep"] == ["box", "score"]
    assert isinstance(result.model.box.weight, nn.Parameter)


def test_without_data_none_are_kept_and_named_ones_are():
    report = COMPRESSORS.build({"type": "Int8Weights", "smallest": 1}).apply(small_model(), Calibration()).report
    assert {"box.weight", "score.weight"} <= set(report.compressed)
    kept = COMPRESSORS.build({"type": "Int8Weights", "keep": ["mixer"]}).apply(small_model(), Calibration()).report
    assert "mixer.in_proj.weight" in kept.left_float
    assert "ffn.fc1.weight" in kept.compressed


def test_a_transposed_convolution_has_a_scale_for_each_output():
    _, result = _compress("int8_all")
    stored = result.model.up.stored_weight
    assert isinstance(stored, Int8Tensor)
    weight = small_model().up.weight
    torch.testing.assert_close(stored.scale, weight.detach().abs().amax(dim=(0, 2, 3)) / 127)


def test_tied_weights_are_stored_once_and_stay_tied():
    _, result = _compress("int8_all")
    assert result.model.tied.stored_weight is result.model.again.stored_weight
    assert num_numbers(result.model) == num_numbers(small_model())


def test_blocks_lie_in_the_state_as_the_sheet_says():
    _, result = _compress("bct4")
    state = result.model.state_dict()
    own = {key.rpartition(".")[2]: value for key, value in state.items() if key.startswith("ffn.fc1.stored_weight.")}
    assert {key: (value.dtype, tuple(value.shape)) for key, value in own.items()} == {
        "codes": (torch.uint8, (32, 8)), "shift": (torch.int8, (32, 1)), "block": (torch.int32, (2,)),
        "bits": (torch.uint8, ()),
    }
    assert own["block"].tolist() == [1, 16]
    assert own["bits"] == 4


def test_vectors_have_eight_bits_whatever_the_weights_have():
    method = {"type": "BCT", "bits": 4, "smallest": 1, "keep": []}
    model = COMPRESSORS.build(method).apply(small_model(), Calibration()).model
    stored = {name: part for name, part in model.named_modules() if isinstance(part, BlockTensor)}
    assert {part.how.bits for part in stored.values() if len(part.shape) == 1} == {8}
    assert stored["norm.stored_weight"].how.block[0] == 1
    assert not list(model.parameters())


def test_the_report_of_blocks_counts_activations_too():
    notes = _compress("bct_activations")[1].report.notes
    assert notes["parts"] == "activations"
    assert notes["largest activation (bytes)"] == 2 * 64 * (32 + 1)       # 64 tokens of 32 hidden units, 2 pictures
    assert notes["times smaller"] > 3.5


def test_integers_and_rounded_floats_agree():
    floats, integers = (_compress(name)[1].model for name in ("bct_nonlinear", "bct_integer"))
    assert type(integers.ffn.fc1).__name__ == "IntegerLinear"
    assert _distance(floats, integers) <= 0.05                            # a tie may turn, and be carried on


def test_masks_are_told_and_change_no_config():
    _, result = _compress("magnitude")
    assert result.changes == ConfigChanges()
    assert result.report.notes["zero"] == pytest.approx(0.2, abs=1e-3)
    _, result = _compress("two_of_four")
    fours = result.model.stem.conv.weight, result.model.ffn.fc1.weight.unflatten(1, (-1, 4))
    assert fours[0].count_nonzero() == fours[0].numel()                   # three inputs are no four
    assert (fours[1] != 0).sum(-1).unique().tolist() == [2]


def test_hidden_units_go_from_feed_forward_parts_alone():
    _, result = _compress("hidden")
    assert result.changes.steps == ({"type": "PruneHidden", "widths": {"ffn": 16}},)
    assert (result.model.ffn.fc1.out_features, result.model.mixer.in_proj.out_features) == (16, 48)


def test_heads_that_go_are_as_if_they_gave_nothing():
    model, pruned = (AttentionMixer(12, heads=3, qkv_bias=True).eval() for _ in range(2))
    pruned.load_state_dict(model.state_dict())
    with torch.no_grad():
        model.out_proj.weight[:, 4:8] = 0
    keep_heads(pruned, torch.tensor([0, 2]))
    x, memory = torch.randn(2, 2, 5, 12, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pruned(x), model(x))
    crossed = [one.mix(one.query(x), *one.key_value(memory)) for one in (pruned, model)]
    torch.testing.assert_close(*crossed)


def test_the_lightest_head_goes():
    model = small_model()
    with torch.no_grad():
        model.mixer.out_proj.weight[:, :8] *= 0.1
        model.mixer.in_proj.weight[:8] *= 0.1
    result = COMPRESSORS.build({"type": "PruneHeads"}).apply(copy.deepcopy(model), Calibration())
    assert result.changes.steps == ({"type": "PruneHeads", "heads": {"mixer": 1}},)
    assert torch.equal(result.model.mixer.out_proj.weight, model.mixer.out_proj.weight[:, 8:])


def test_channels_go_where_they_depend_on_each_other():
    pytest.importorskip("torch_pruning")
    _, result = _compress("channels")
    shapes = result.changes.steps[0]["shapes"]
    assert shapes["stem.conv.weight"] == (12, 3, 3, 3)
    assert shapes["up.weight"] == (12, 16, 2, 2)                          # what it gives keeps its width


def test_training_goes_through_the_rounding():
    _, result = _compress("aware")
    model = result.model.train()
    model(PICTURES)["box"].square().sum().backward()
    value = dict(model.named_parameters())["ffn.fc1.stored_weight.value"]
    assert value.grad is not None
    assert value.grad.abs().sum() > 0


def test_layers_that_share_a_weight_are_not_scaled():
    _, result = _compress("smooth")
    assert set(result.report.compressed) == {"mixer.in_proj", "mixer.out_proj", "ffn.fc1", "ffn.fc2", "score"}


def test_steps_add_up():
    cfg: dict[str, Any] = {"type": "SmallTaskModel"}
    model: nn.Module = small_model()
    for method in ({"type": "FoldBatchNorm"}, {"type": "SmoothScale"}, {"type": "Int8Dynamic"}):
        model, changes, *_ = COMPRESSORS.build(method).apply(model, calibration())
        cfg = changed_config(cfg, changes)
    assert [step["type"] for step in cfg["steps"]] == ["FoldBatchNorm", "SmoothScale", "Int8Dynamic"]
    built = MODELS.build(cfg)
    built.load_state_dict(model.state_dict(), strict=True)
    assert _distance(built.eval(), model) <= 1e-6
    assert _distance(model, small_model()) <= 0.05


def test_overrides_go_into_the_inner_config():
    cfg = {"type": "Compressed", "model": {"type": "A", "parts": [{"width": 4}]}, "steps": [{"type": "FoldBatchNorm"}]}
    changed = changed_config(cfg, ConfigChanges({"parts.0.width": 2}, ({"type": "PruneHidden"},)))
    assert changed["model"]["parts"] == [{"width": 2}]
    assert [step["type"] for step in changed["steps"]] == ["FoldBatchNorm", "PruneHidden"]
    assert cfg["model"]["parts"] == [{"width": 4}]                        # the given one is left alone
    assert changed_config({"type": "A", "w": 1}, ConfigChanges({"w": 2})) == {"type": "A", "w": 2}


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ({"type": "BCT", "parts": "all"}, "parts must be one of weights, activations, nonlinear, got 'all'"),
        ({"type": "BCT", "integer": True}, "integer products want activations in blocks"),
        ({"type": "LowRank", "share": 1.0}, r"share must lie in \(0, 1\), got 1.0"),
        ({"type": "Int4Weights", "group": 0}, "one input or more, got 0"),
        ({"type": "PruneHidden", "share": 0}, r"share must lie in \(0, 1\], got 0"),
        ({"type": "PruneHeads", "share": 1.5}, r"share must lie in \(0, 1\], got 1.5"),
        ({"type": "TorchPruning", "share": 1}, r"share must lie in \(0, 1\), got 1"),
        ({"type": "TorchAO", "kind": "fp8"}, "kind must be one of int8_weights, int8_dynamic, got 'fp8'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(method: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        COMPRESSORS.build(method)


@pytest.mark.parametrize("name", ["Int8Static", "SmoothScale", "QuantizeAware"])
def test_missing_data_is_told(name: str):
    with pytest.raises(ValueError, match=f"{name} needs calibration data, got no batches"):
        COMPRESSORS.build({"type": name}).apply(small_model(), Calibration())


def test_a_model_with_nothing_to_compress_is_refused():
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(ValueError, match="no weight is left to compress"):
        COMPRESSORS.build({"type": "Int8Weights"}).apply(model, Calibration())
    with pytest.raises(ValueError, match="the model has no PackedAttention"):
        COMPRESSORS.build({"type": "PruneHeads"}).apply(model, Calibration())
    with pytest.raises(ValueError, match="no feed-forward part of two linear layers"):
        COMPRESSORS.build({"type": "PruneHidden"}).apply(model, Calibration())


def test_an_unknown_compressor_is_told_with_the_nearest_one():
    with pytest.raises(ConfigError, match=r'unknown compressor "Int8Weight" \(did you mean "Int8Weights"\?\)'):
        COMPRESSORS.build({"type": "Int8Weight"})


@pytest.mark.parametrize("name", ["fold", "int8", "int4", "dynamic", "static", "bct4", "bct_integer", "low_rank"])
def test_what_is_exported_gives_the_same(name: str):
    _, result = _compress(name)
    program = torch.export.export(result.model, (PICTURES,))
    assert _distance(program.module(), result.model) <= 1e-5


@pytest.mark.parametrize("name", ["int8", "int4", "dynamic", "bct_integer"])
def test_autocast_changes_little(name: str):
    _, result = _compress(name)
    expected = result.model(PICTURES)["box"]
    with torch.autocast("cpu", torch.bfloat16):
        found = result.model(PICTURES)["box"]
    assert (found.float() - expected).abs().max() <= 0.1
