"""Bytes and operations of calls whose figures are known."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from perception.engine.benchmark.flops import count_flops
from perception.engine.benchmark.memory import MIB, peak_mib
from perception.engine.benchmark.peaks import copy_gbps, multiply_gflops
from perception_ops import group_attention

CPU = torch.device("cpu")


def test_the_peak_is_what_is_held_at_one_time():
    x = torch.ones(MIB // 4)                               # 1 MiB

    def chain() -> torch.Tensor:
        y = x + 1
        y = y + 1                                          # two held here, one released then
        return y + 1

    assert peak_mib(chain, CPU) == pytest.approx(2.0, abs=0.01)


def test_what_was_held_before_is_not_counted():
    held = [torch.ones(MIB)]                               # 4 MiB
    assert peak_mib(held.clear, CPU) == 0.0


def test_memory_inside_an_operator_is_counted():
    x = torch.rand(MIB // 4).double()                      # 2 MiB
    assert peak_mib(lambda: x.sort(), CPU) >= 4.0          # values and indices, and what the sort needs


def test_a_matrix_product_counts_two_for_each_multiply_add():
    assert count_flops(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 2 * 3 * 5 * 7


def test_a_module_that_is_given_a_parameter_is_counted_without_gradients():
    layer, query = torch.nn.Linear(5, 7, bias=False), torch.nn.Parameter(torch.ones(3, 5))
    with torch.inference_mode():
        assert count_flops(lambda: layer(query)) == 2 * 3 * 5 * 7


def test_attention_of_groups_counts_as_much_as_attention_on_gathered_groups():
    N, C, heads, S = 24, 16, 2, 8
    slots = torch.arange(N)
    with torch.inference_mode():
        ours = count_flops(
            lambda: group_attention(
                torch.randn(N, 2 * C), torch.randn(N, C), slots, slots, group_size=S, num_heads=heads
            )
        )
        q = torch.randn(N // S, heads, S, C // heads)
        assert ours == count_flops(lambda: F.scaled_dot_product_attention(q, q, q)) == 4 * N * S * C


def test_gradients_of_attention_cost_two_and_a_half_times_as_much():
    N, C, heads, S = 24, 16, 2, 8
    slots = torch.arange(N)
    qk, v = torch.randn(N, 2 * C, requires_grad=True), torch.randn(N, C, requires_grad=True)
    out = group_attention(qk, v, slots, slots, group_size=S, num_heads=heads)
    assert count_flops(lambda: out.sum().backward()) == 10 * N * S * C


def test_the_machine_has_limits():
    assert 0.0 < copy_gbps(CPU) < 1e5
    assert 0.0 < multiply_gflops(torch.float32, CPU) < 1e6
