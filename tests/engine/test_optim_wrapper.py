"""Mixed precision where there is no GPU, accumulation, and weight decay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import toy_runner

from perception.engine.optim_wrapper import AutocastOptimWrapper, DecayGroupsConstructor, split_by_decay


def wrapper_of(model: nn.Module, **kwargs: object) -> AutocastOptimWrapper:
    return AutocastOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=1.0), **kwargs)     # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dtype", "expected"), [(None, torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_the_forward_pass_runs_in_the_dtype_asked_for(dtype: str | None, expected: torch.dtype):
    model = nn.Linear(4, 2)
    with wrapper_of(model, dtype=dtype).optim_context(model):
        assert model(torch.ones(1, 4)).dtype == expected


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bfloat16_only_where_the_device_computes_in_it(
    native: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    model = nn.Linear(4, 2)
    with wrapper_of(model, dtype="auto").optim_context(model):
        assert model(torch.ones(1, 4)).dtype == expected


@pytest.mark.parametrize("dtype", [None, "bfloat16", "float16"])
def test_a_step_moves_the_weights_by_the_gradient(dtype: str | None):
    model = nn.Linear(2, 1, bias=False)
    wrapper, before = wrapper_of(model, dtype=dtype), model.weight.detach().clone()
    with wrapper.optim_context(model):
        loss = model(torch.tensor([[0.5, 0.25]])).float().sum()
    wrapper.update_params(loss)
    torch.testing.assert_close(before - model.weight, torch.tensor([[0.5, 0.25]]))     # exact in every dtype
    assert model.weight.dtype == torch.float32


def test_accumulated_small_batches_step_like_one_large_batch():
    torch.manual_seed(0)
    inputs = torch.rand(8, 3)
    large, small = nn.Linear(3, 1), nn.Linear(3, 1)
    small.load_state_dict(large.state_dict())
    for model, parts in ((large, 1), (small, 4)):
        wrapper = wrapper_of(model, accumulative_counts=parts, clip_grad={"max_norm": 0.1})
        wrapper.initialize_count_status(model, 0, parts)
        for batch in inputs.chunk(parts):
            wrapper.update_params(model(batch).square().mean())
    torch.testing.assert_close(small.weight, large.weight, atol=1e-7, rtol=0)     # sums in another order


def test_the_state_of_the_loss_scaler_survives():
    model = nn.Linear(2, 1)
    saved, restored = wrapper_of(model, dtype="float16"), wrapper_of(model, dtype="float16")
    saved.update_params(model(torch.ones(1, 2)).sum())
    saved.scaler.update(new_scale=64.0)
    restored.load_state_dict(saved.state_dict())
    assert restored.scaler.get_scale() == 64.0


def test_norms_and_names_with_norm_get_no_decay():
    model = nn.ModuleDict({"conv": nn.Conv2d(3, 4, 1), "bn": nn.BatchNorm2d(4), "norm_scale": nn.Linear(1, 1)})
    config = {"optimizer": {"type": "AdamW", "lr": 0.1, "weight_decay": 0.05}}
    groups = DecayGroupsConstructor(config)(model).optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]
    assert [len(group["params"]) for group in groups] == [2, 4]
    assert isinstance(DecayGroupsConstructor(config)(model), AutocastOptimWrapper)


def test_frozen_parameters_are_left_out():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    decayed, free = split_by_decay(model, ("bias",))
    assert [p.shape for p in decayed] == [(1, 2)]
    assert [p.shape for p in free] == [(1,)]


def test_a_model_without_trainable_parameters_is_refused():
    with pytest.raises(ValueError, match="ReLU has no trainable parameter"):
        split_by_decay(nn.ReLU(), ())


def test_an_unknown_dtype_is_refused():
    with pytest.raises(ValueError, match="dtype must be auto, bfloat16, float16 or None, got 'int8'"):
        wrapper_of(nn.Linear(1, 1), dtype="int8")


def test_an_unknown_paramwise_setting_is_refused():
    with pytest.raises(ValueError, match=r"takes no_decay and lr_mult, got \['norm_decay_mult'\]"):
        DecayGroupsConstructor({}, {"norm_decay_mult": 0.0})


def test_amp_trains_in_bfloat16_on_the_cpu(tmp_path: Path):
    runner = toy_runner(tmp_path, "train_cfg.max_iters=6", amp=True)
    runner.train()
    assert runner.optim_wrapper.dtype == torch.bfloat16
    assert all(torch.isfinite(value).all() for value in runner.model.state_dict().values())


def test_a_one_cycle_schedule_lasts_as_long_as_the_training(tmp_path: Path):
    one_cycle = "param_scheduler=[{'type': 'OneCycleLR', 'eta_max': 0.1, 'by_epoch': False, 'pct_start': 0.25}]"
    runner = toy_runner(tmp_path, one_cycle)
    runner.train()
    rates = runner.message_hub.get_scalar("train/lr").data[0]
    assert len(rates) == 12
    assert rates.argmax() == 2
    assert rates[-1] < 1e-3 * rates.max()


def test_a_part_of_a_model_can_learn_slower_with_and_without_decay():
    model = nn.ModuleDict({"backbone": nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), "head": nn.Linear(3, 1)})
    config = {"optimizer": {"type": "AdamW", "lr": 0.5, "weight_decay": 0.05}}
    wrapper = DecayGroupsConstructor(config, {"no_decay": ["bias"], "lr_mult": {"backbone.": 0.1}})(model)
    rows = {
        (group["lr"], group["weight_decay"]): sum(p.numel() for p in group["params"])
        for group in wrapper.optimizer.param_groups
    }
    assert rows == {(0.05, 0.05): 6, (0.5, 0.05): 3, (0.05, 0.0): 3 + 6, (0.5, 0.0): 1}


def test_a_factor_for_no_parameter_is_refused():
    with pytest.raises(ValueError, match="lr_mult names 'neck', which is in no parameter of Linear"):
        DecayGroupsConstructor({"optimizer": {"type": "SGD", "lr": 0.1}}, {"lr_mult": {"neck": 0.1}})(nn.Linear(2, 2))
