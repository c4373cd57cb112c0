"""What we tell torch's ONNX exporter about sorting, sums of rows and attention, run by onnxruntime beside torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from perception.deployment import onnx_graph
from perception.deployment.graph_files import open_graph, trace, write_graph
from perception.errors import ConfigError, MissingExtraError

pytest.importorskip("onnxruntime", reason="needs the extra [deploy]")
pytest.importorskip("onnxscript", reason="needs the extra [deploy]")


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return (self.function(inputs["x"]),)


def onnx(function: Callable[[Tensor], Tensor], x: Tensor, path: Path) -> Tensor:
    """What the function gives of x as an ONNX file that was traced with other numbers."""
    traced = trace(Function(function).eval(), {"x": x.flip(0) + 1}, {"x": {0: torch.export.Dim.DYNAMIC}})
    write_graph(traced, "onnx", path / "net.onnx", ["x"], ["y"])
    (got,) = open_graph(path / "net.onnx", "onnx")({"x": x})
    return got


@pytest.mark.parametrize("descending", [False, True])
def test_equal_numbers_keep_their_order(descending, tmp_path):
    x = torch.tensor([[3, 1, 3, 1], [2, 2, 2, 2], [0, 5, 0, 5]])
    order = onnx(lambda x: x.argsort(dim=1, stable=True, descending=descending), x, tmp_path)
    assert order.tolist() == [[0, 2, 1, 3] if descending else [1, 3, 0, 2], [0, 1, 2, 3],
                              [1, 3, 0, 2] if descending else [0, 2, 1, 3]]


@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 3, 5, 8), (2, 4, 3, 5, 8)], ids=str)
@pytest.mark.parametrize("mask", [None, torch.eye(5) == 0, torch.eye(5) - 2], ids=["none", "bool", "float"])
def test_attention_of_any_rank_is_torchs(shape, mask, tmp_path):
    def mixed(x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x + 1, 2 * x, attn_mask=mask)

    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(onnx(mixed, x, tmp_path), mixed(x))


def test_a_scale_of_its_own_is_kept(tmp_path):
    x = torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(0))
    got = onnx(lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.7), x, tmp_path)
    torch.testing.assert_close(got, F.scaled_dot_product_attention(x, x, x, scale=0.7))


@pytest.mark.parametrize(("dim", "alpha"), [(0, 1), (0, -2), (1, 1)])
def test_rows_that_share_an_index_all_count(dim, alpha, tmp_path):
    x = torch.randint(-9, 9, (100_000, 3), generator=torch.Generator().manual_seed(0)).float()

    def summed(x: Tensor) -> Tensor:
        source = x if dim == 0 else x.T
        index = torch.arange(source.shape[dim]) % 5
        return source.new_ones(5, 3).movedim(0, dim).contiguous().index_add(dim, index, source, alpha=alpha)

    for _ in range(3):                             # threads that overwrite each other do not do so each time
        assert torch.equal(onnx(summed, x, tmp_path), summed(x))


def test_what_has_no_translation_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written as onnx: causal attention and shared keys"):
        onnx(lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), torch.rand(2, 3, 5, 8), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_graph, "MODULES", ("onnx", "no_such_module"))
    with pytest.raises(MissingExtraError, match=r"ONNX needs an optional dependency: .*perception\[deploy\]"):
        open_graph(Path(__file__), "onnx")
