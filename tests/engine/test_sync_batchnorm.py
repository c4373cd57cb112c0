"""Batch normalisation that stays as it is, and one over all processes (the processes: test_distributed_training)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from toy_training import toy_runner

from perception.engine.sync_batchnorm import AllReduceBatchNorm, FrozenBatchNorm, convert_batch_norms
from perception.errors import ConfigError

CPU = torch.device("cpu")


def trained_network() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12)))
    network(torch.rand(4, 2, 2, 2))
    return network


@pytest.mark.parametrize(("mode", "kind"), [("all_reduce", AllReduceBatchNorm), ("frozen", FrozenBatchNorm)])
def test_conversion_keeps_names_weights_and_answers(mode: str, kind: type[nn.Module]):
    network, inputs = trained_network(), torch.rand(4, 2, 2, 2)
    state, expected = {key: value.clone() for key, value in network.state_dict().items()}, network.eval()(inputs)
    converted = convert_batch_norms(network, mode, CPU)
    assert [type(module) for module in (converted[1], converted[2][1])] == [kind, kind]
    assert converted.state_dict().keys() == state.keys()
    assert torch.equal(converted.eval()(inputs), expected)


def test_frozen_batch_norm_is_the_same_in_training_and_learns_nothing():
    network, inputs = convert_batch_norms(trained_network(), "frozen", CPU), torch.rand(4, 2, 2, 2)
    expected, mean = network.eval()(inputs), network[1].running_mean.clone()
    assert torch.equal(network.train()(inputs), expected)
    assert torch.equal(network[1].running_mean, mean)
    assert not network[1].weight.requires_grad


def test_all_reduce_batch_norm_is_the_ordinary_one_in_a_single_process():
    ordinary, inputs = trained_network(), torch.rand(4, 2, 2, 2)
    converted = convert_batch_norms(trained_network(), "all_reduce", CPU)
    assert torch.equal(converted.train()(inputs), ordinary.train()(inputs))
    assert torch.equal(converted[1].running_var, ordinary[1].running_var)


def test_a_batch_norm_by_itself_is_replaced():
    assert isinstance(convert_batch_norms(nn.BatchNorm1d(3), "frozen", CPU), FrozenBatchNorm)


def test_none_leaves_the_network_alone():
    network = trained_network()
    assert convert_batch_norms(network, None, CPU) is network
    assert type(network[1]) is nn.BatchNorm2d


def test_a_flat_input_is_refused():
    with pytest.raises(ValueError, match=r"takes \(N, C, \.\.\.\), got \(3,\)"):
        AllReduceBatchNorm(3)(torch.ones(3))


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="sync_bn: expected \"all_reduce\", \"frozen\" or None, got 'torch'"):
        convert_batch_norms(nn.ReLU(), "torch", CPU)


def test_a_run_with_frozen_statistics_leaves_them(tmp_path: Path):
    runner = toy_runner(tmp_path, "train_cfg.max_iters=6", "sync_bn=frozen")
    runner.train()
    assert torch.equal(runner.model.norm.running_mean, torch.zeros(8))
