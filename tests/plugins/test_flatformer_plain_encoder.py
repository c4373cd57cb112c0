"""The encoder that FlatFormer is timed against gives what FlatFormer gives."""

from __future__ import annotations

import pytest
import torch

from perception.engine.benchmark.clouds import street_pillars
from perception.engine.benchmark.encoder import benchmark_encoder
from perception.engine.benchmark.setting import Setting
from perception.errors import PerceptionError
from perception_plugins.flatformer.encoder import FlatFormer
from perception_plugins.flatformer.plain_encoder import plain_encode

SETTING = Setting(torch.float32, torch.device("cpu"), gbps=1.0, gflops=1.0)


def encoder(**options: object) -> FlatFormer:
    torch.manual_seed(0)
    defaults = {"window": (5, 4), "group_size": 12, "num_blocks": 2, "num_heads": 4}
    return FlatFormer(16, (24, 20), **{**defaults, **options}).eval()


@pytest.mark.parametrize("options", [{}, {"normalize_position": True}, {"group_size": 7, "num_heads": 2}])
@pytest.mark.parametrize("pillars", [5, 100, 500])                             # less than a group, one sample, three
def test_plain_torch_gives_the_same(options: dict, pillars: int):
    net = encoder(**options)
    coords, samples = street_pillars(pillars, net.grid)
    features = torch.randn(pillars, 16, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, plain = net.encode(features, coords, samples), plain_encode(net, features, coords, samples)
    torch.testing.assert_close(ours, plain, atol=2e-5, rtol=2e-5)              # sums in another order, eight layers


def test_encoder_plain_form_and_index_work_are_timed():
    rows = list(benchmark_encoder(encoder(), plain_encode, 200, SETTING, repeats=2))
    assert [row.name for row in rows] == [
        "encoder", "encoder in plain torch", "window_partition", "orders of all blocks",
    ]
    assert all(row.gflop and row.fraction_of_peak and row.peak_mib and row.reference_ms for row in rows[:2])
    assert all(row.share and row.size == 200 for row in rows[2:])


def test_encoders_that_disagree_are_not_compared():
    other = encoder()
    torch.nn.init.zeros_(other.blocks[0].layers[0].norm1.weight)
    with pytest.raises(PerceptionError, match=r"differs from plain torch by .*, expected at most 1e-05"):
        list(benchmark_encoder(encoder(), lambda _, *tokens: plain_encode(other, *tokens), 200, SETTING, repeats=1))
