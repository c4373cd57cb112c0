"""Operations and energy of EcoFormer beside softmax attention, against the published and recomputed figures."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import nn

from perception.engine.config import load_config
from perception.registry import MODELS
from perception_plugins.ecoformer import EcoFormerPVTv2, Operations, count_operations
from perception_plugins.ecoformer.energy import hash_operations, softmax_operations

ROOT = Path(__file__).resolve().parents[2]
FIGURES = {                                          # 1e9 multiplications, additions, pJ, from the formulas
    "pvt_v2_b0_ecoformer": (0.530, 0.559, 2.46), "pvt_v2_b1_ecoformer": (2.02, 2.08, 9.34),
    "pvt_v2_b2_ecoformer": (3.84, 3.95, 17.74), "pvt_v2_b0_msa": (2.01, 1.99, 9.23),
}
PUBLISHED = {                                        # with normalisation and activations
    "pvt_v2_b0_ecoformer": (0.54, 0.56, 2.5), "pvt_v2_b1_ecoformer": (2.03, 2.09, 9.4),
    "pvt_v2_b2_ecoformer": (3.85, 3.97, 17.8), "pvt_v2_b3_ecoformer": (6.54, 6.75, 30.25),
    "pvt_v2_b4_ecoformer": (9.57, 9.82, 44.25), "twins_svt_s_ecoformer": (2.72, 2.81, 12.6),
}


@cache
def figures(config: str) -> list[float]:
    with torch.device("meta"):
        network = MODELS.build(load_config(ROOT / f"configs/ecoformer/{config}.py").model).network
    found = count_operations(network, (224, 224))
    return [value / 1e9 for value in (found.multiplications, found.additions, found.energy_pj)]


@pytest.mark.parametrize("config", list(FIGURES))
def test_a_network_has_the_operations_of_the_formulas(config):
    assert figures(config) == pytest.approx(FIGURES[config], rel=2.5e-3)                   # they have three digits


@pytest.mark.parametrize("config", list(PUBLISHED))
def test_the_published_figures_are_a_little_higher(config):
    for found, published in zip(figures(config), PUBLISHED[config], strict=True):
        assert 0.975 * published < found < 1.005 * published


def test_operations_of_one_attention_by_hand():
    assert softmax_operations(10, 8, 2) == Operations(2 * 100 * 8 + 2 * 100, 2 * 100 * 8)
    assert softmax_operations(10, 8, 2, keys=5) == Operations(2 * 50 * 8 + 2 * 50, 2 * 50 * 8)
    found = hash_operations(10, 8, 2, bits=3, anchors=5)                                   # 20 rows of width 4
    assert found.additions == 20 * (2 * 5 * 4 + 5 * 3 + 3 + 3 + 3 * 4 + 3 * 4 + 4)
    assert found.multiplications == 20 * (2 * 5 + 5 * 3 + 3 + 1 + 4)


def test_a_multiplication_costs_more_than_an_addition():
    assert Operations(10, 100).energy_pj == pytest.approx(37 + 90)
    assert Operations(1, 2) + Operations(3, 4) == Operations(4, 6)


def test_codes_cost_in_proportion_to_the_tokens_and_softmax_to_their_square():
    assert hash_operations(2048, 64, 2) == hash_operations(1024, 64, 2) + hash_operations(1024, 64, 2)
    assert softmax_operations(2048, 64, 2).additions == 4 * softmax_operations(1024, 64, 2).additions


def test_reduced_attention_sees_as_many_keys_as_windows_fit():
    options = {"widths": (8,), "depths": (1,), "heads": (1,), "ratios": (1,), "out_indices": (0,)}
    with torch.device("meta"):
        full, reduced = (
            EcoFormerPVTv2(**options, attention="sra", reductions=(ratio,)) for ratio in (1, 3)
        )
    found, whole = count_operations(reduced, (32, 40)), count_operations(full, (32, 40))   # a map of 8 x 10 tokens
    convolution, keys_and_values = 6 * 8 * 8 * 9, (80 - 6) * 8 * 16
    attention = softmax_operations(80, 8, 1).additions - softmax_operations(80, 8, 1, keys=6).additions
    assert whole.additions - found.additions == attention + keys_and_values - convolution


def test_counting_leaves_no_trace():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(2)).train()
    assert count_operations(network, (5, 6)) == Operations(4 * 12 * 27, 4 * 12 * 27)
    assert network.training
    assert not network[0]._forward_hooks
